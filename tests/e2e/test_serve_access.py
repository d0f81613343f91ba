"""Who is let in, over a real socket."""

from collections.abc import Callable
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import pytest

from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_site import Site
from tests.e2e.raw_http import ask

LIST = "/api/sessions?visible_only=0&show_cli=1"
TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests
BROWSER = {
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept": "text/html",
}
SCRIPT = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.fixture
def guarded(serve: Callable[..., Site]) -> Site:
    return serve(GatewaySettings(token=TOKEN))


def origin_of(site: Site) -> str:
    return site.server.url.rstrip("/")


def post(site: Site, body: str, path: str = "/sign-in", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = site.connect()
    try:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(
            "POST", path, body, {**kind, **{name.replace("_", "-"): each for name, each in headers.items()}}
        )
        response = connection.getresponse()
        return response.status, {name.lower(): each for name, each in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_a_page_trades_the_token_for_a_cookie_that_no_script_reads(guarded: Site) -> None:
    # Proves W5.
    status, headers, _ = post(
        guarded, urlencode({"token": TOKEN}), Origin=origin_of(guarded), Accept="application/json"
    )

    cookie, *attributes = headers["set-cookie"].split("; ")
    name, _, value = cookie.partition("=")
    assert (status, name) == (204, f"hermes_cache_{urlsplit(guarded.server.url).port}")
    assert TOKEN not in value
    assert sorted(attributes) == ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Strict"]
    assert guarded.get(LIST, Cookie=f"other=1; {cookie}").status == 200
    assert guarded.get(LIST, Cookie=cookie[:-1]).status == 401


def test_a_form_without_a_script_is_answered_with_a_page(guarded: Site) -> None:
    # Proves W5.
    html = {"Accept": "text/html,*/*;q=0.8", "Origin": origin_of(guarded)}

    right = post(guarded, urlencode({"token": f" {TOKEN} "}), **html)
    wrong = post(guarded, urlencode({"token": "wrong"}), **html)

    assert (right[0], right[1]["location"]) == (303, "./")
    assert wrong[0] == 401
    assert b"This is not the token" in wrong[2]
    assert "set-cookie" not in wrong[1]


@pytest.mark.parametrize("body", ["", "token=", "token", "token=wrong", "&" * 500, "token=%ff%00", "{}"])
def test_without_the_token_there_is_no_cookie(guarded: Site, body: str) -> None:
    # Proves W5.
    status, headers, _ = post(guarded, body, Origin=origin_of(guarded))

    assert status == 401
    assert "set-cookie" not in headers


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://127.0.0.1:1"])
def test_a_foreign_page_cannot_sign_in_here(guarded: Site, origin: str) -> None:
    # Proves W5.
    status, headers, _ = post(guarded, urlencode({"token": TOKEN}), Origin=origin)

    assert status == 403
    assert "set-cookie" not in headers


def test_a_cookie_outlives_a_restart_but_not_its_token(serve: Callable[..., Site]) -> None:
    # Proves W5.
    first, second, other = (serve(GatewaySettings(token=each)) for each in (TOKEN, TOKEN, TOKEN[::-1]))
    value = post(first, urlencode({"token": TOKEN}))[1]["set-cookie"].split("; ")[0].partition("=")[2]

    def status_at(site: Site) -> int:
        return site.get(LIST, Cookie=f"hermes_cache_{urlsplit(site.server.url).port}={value}").status

    assert [status_at(site) for site in (first, second, other)] == [200, 200, 401]


def test_a_browser_without_the_token_gets_a_form_and_a_program_gets_json(guarded: Site) -> None:
    # Proves W5.
    page, deep = guarded.get("/", **BROWSER), guarded.get(LIST, **BROWSER)
    plain, script = guarded.get("/"), guarded.get(LIST, **SCRIPT)

    assert [each.status for each in (page, deep, plain, script)] == [200, 401, 401, 401]
    assert ["WWW-Authenticate" in each.headers for each in (page, deep)] == [False, True]
    assert b'action="./sign-in"' in page.body
    assert b'action="../sign-in"' in deep.body
    for form in (page, deep):
        assert form.headers["Content-Type"].startswith("text/html")
        assert form.headers["Cache-Control"] == "no-store"
    for refused in (plain, script):
        assert refused.json["error"]
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert all(guarded.get(f"/page/{name}").status == 200 for name in ("sign_in.js", "style.css", "icon.svg"))


def test_the_token_in_an_address_is_worth_nothing(guarded: Site) -> None:
    # Proves W5: what stands in an address also stands in logs.
    assert guarded.get(f"/api/sessions?token={TOKEN}").status == 401


def test_a_script_learns_whether_its_browser_is_signed_in(guarded: Site) -> None:
    # Proves W5.
    cookie = post(guarded, urlencode({"token": TOKEN}))[1]["set-cookie"].split("; ")[0]

    assert guarded.get("/sign-in", **SCRIPT).json == {"signed_in": False}
    assert guarded.get("/sign-in", **SCRIPT, Cookie=cookie).json == {"signed_in": True}
    assert b"<form" in guarded.get("/sign-in", **BROWSER).body


@pytest.mark.parametrize("path", ["/", LIST, "/api/nothing", "/page/app.js", "/sign-in", "/api/health"])
def test_every_answer_keeps_foreign_pages_out(site: Site, path: str) -> None:
    # Proves W5.
    answer = site.get(path)

    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
        ({}, 200),
    ],
)
def test_a_request_that_a_foreign_page_caused_reads_nothing(
    site: Site, headers: dict[str, str], status: int
) -> None:
    # Proves W5.
    answer = site.get(LIST, **headers)

    assert answer.status == status
    assert (b'"sessions"' in answer.body) == (status == 200)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["Host: localhost"], 200),
        (["HOST: localhost:1"], 200),
        ([], 400),
        (["Host:"], 400),
        (["Host: localhost", "Host: localhost"], 400),
        (["Host: localhost", "Host: evil.example"], 400),
        (["Host: local host"], 400),
        (["Host: evil.example"], 421),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_has_one_host_and_it_is_known(site: Site, hosts: list[str], status: int, version: str) -> None:
    # Proves W5.
    (answer,) = ask(site.server.url, f"GET /api/health HTTP/{version}", *hosts, "Connection: close")

    assert answer.status == status


def test_a_whole_address_as_target_names_the_host(site: Site) -> None:
    # Proves W5: RFC 9112 says that the Host header does not count then.
    def status(target: str, host: str) -> int:
        (answer,) = ask(site.server.url, f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close")
        return answer.status

    assert status("http://localhost/api/health", "evil.example") == 200
    assert status("http://evil.example/api/health", "localhost") == 421


@pytest.mark.parametrize("path", ["/hermes/api/sessions", "/api/sessions"])
def test_behind_a_proxy_with_a_prefix_it_does_not_matter_who_removes_it(
    serve: Callable[..., Site], path: str
) -> None:
    # Proves W5.
    site = serve(GatewaySettings(origins=("https://box.example",), root_path="/hermes", token=TOKEN))
    proxy = {"Host": "box.example", "X-Forwarded-For": "203.0.113.9"}

    answer = site.get(path, **proxy, Authorization=f"Bearer {TOKEN}")
    _, headers, _ = post(
        site, urlencode({"token": TOKEN}), "/hermes/sign-in", Origin="https://box.example", **proxy
    )

    assert answer.status == 200
    assert "; Path=/hermes/;" in headers["set-cookie"]
    assert headers["set-cookie"].endswith("; Secure")


def test_a_prefix_without_its_last_slash_leads_to_the_page(serve: Callable[..., Site]) -> None:
    # Proves W5: the addresses in the page are relative.
    site = serve(GatewaySettings(root_path="/hermes"))

    answer, asking = site.get("/hermes"), site.get("/hermes?all_profiles=1&source_filter=%C3%A4")

    assert (answer.status, answer.headers["Location"]) == (308, "/hermes/")
    assert (asking.status, asking.headers["Location"]) == (308, "/hermes/?all_profiles=1&source_filter=%C3%A4")
    assert site.get("/hermes/").status == 200


@pytest.mark.parametrize("path", ["/api/sessions/", "/hermes/api/sessions/", "/hermes/page"])
def test_no_path_is_led_to_an_address_that_the_proxy_does_not_serve(serve: Callable[..., Site], path: str) -> None:
    # Proves W5: a redirect would lack the prefix, and say http where the browser says https.
    site = serve(GatewaySettings(root_path="/hermes"))

    assert site.get(path).status == 404


def test_the_description_of_the_interface_names_the_prefix(serve: Callable[..., Site]) -> None:
    # Proves W1, W5.
    prefixed, plain = serve(GatewaySettings(root_path="/hermes")), serve()

    assert prefixed.get("/hermes/api/openapi.json").json["servers"] == [{"url": "/hermes"}]
    assert plain.get("/api/openapi.json").json["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["//evil.example/", "//evil.example", "/hermes//evil.example/"])
def test_a_path_that_a_browser_takes_for_another_host_is_unknown(serve: Callable[..., Site], path: str) -> None:
    # Proves W5: relative to it, a link or a script leads away from this gateway.
    site = serve(GatewaySettings(token=TOKEN, root_path="/hermes"))

    answer = site.get(path, **BROWSER)

    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")


def test_one_connection_serves_the_cookie_and_the_list(guarded: Site) -> None:
    # Proves W5: what a body is refused for does not end the connection of a client that goes on.
    connection: HTTPConnection = guarded.connect()
    try:
        connection.request("POST", "/sign-in", "token=wrong")
        refused = connection.getresponse()
        refused.read()
        connection.request("POST", "/sign-in", urlencode({"token": TOKEN}))
        let_in = connection.getresponse()
        let_in.read()
    finally:
        connection.close()

    assert (refused.status, let_in.status) == (401, 204)
