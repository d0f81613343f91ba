"""Who is let in."""

from dataclasses import replace

import pytest

from hermes_cache.gateway.access import Access, Facts, Refusal, cookie_name
from hermes_cache.gateway.origins import Origin
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.tokens import COOKIE_LIFE_S, cookie_for

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests
NOW_S = 1_800_000_000.0
LIST = Facts(
    method="GET",
    path="/api/sessions",
    scheme="http",
    address="127.0.0.1",
    port=8787,
    peer_is_local=True,
    hosts=("localhost:8787",),
)
NAVIGATION = replace(LIST, path="/", fetch_site="none", fetch_mode="navigate", fetch_dest="document")
WRITE = replace(LIST, method="POST", path="/api/events")


def access_by(settings: GatewaySettings | None = None) -> Access:
    return Access(settings or GatewaySettings(), lambda: NOW_S, writes=("/sign-in", "/api/events"))


def refused(facts: Facts, settings: GatewaySettings | None = None) -> Refusal:
    refusal = access_by(settings).refusal(facts)
    assert refusal is not None
    return refusal


def is_let_in(facts: Facts, settings: GatewaySettings | None = None) -> bool:
    return access_by(settings).refusal(facts) is None


WITH_TOKEN = GatewaySettings(token=TOKEN)
BEHIND_PROXY = GatewaySettings(token=TOKEN, origins=("https://box.example",))


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1:8787", "[::1]:8787", "[0:0:0:0:0:0:0:1]", "LOCALHOST:1", "localhost.", "Box.Lan:80"],
)
def test_a_request_under_an_allowed_name_is_let_in(host: str) -> None:
    # Proves W5.
    assert is_let_in(replace(LIST, hosts=(host,)), GatewaySettings(allowed_hosts=("box.lan",)))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "8.8.8.8", "[fd00::1]"])
def test_a_request_under_another_name_is_misdirected(host: str) -> None:
    # Proves W5: so a foreign name that points here reads nothing (DNS rebinding).
    assert refused(replace(LIST, hosts=(host,))).status == 421


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("localhost", "localhost"),
        ("localhost@evil.example",),
        ("[",),
        ("a b",),
        ("localhost:port",),
        ("é",),
    ],
)
def test_a_request_with_no_host_or_two_or_a_broken_one_is_bad(hosts: tuple[str, ...]) -> None:
    # Proves W5.
    assert refused(replace(LIST, hosts=hosts)).status == 400


def test_the_address_at_which_a_connection_arrives_is_a_name_of_the_gateway() -> None:
    # Proves W5: no foreign page can have a name that is an address of this machine.
    here = replace(LIST, address="192.168.1.5", hosts=("192.168.1.5:8787",), authorization=f"Bearer {TOKEN}")
    settings = GatewaySettings(host="0.0.0.0", token=TOKEN)  # noqa: S104 -- bound beyond loopback on purpose

    assert is_let_in(here, settings)
    assert is_let_in(replace(here, origin="http://192.168.1.5:8787"), settings)
    assert refused(replace(here, hosts=("192.168.1.6:8787",)), settings).status == 421


@pytest.mark.parametrize("site", ["cross-site", "same-site", "strange", "none, cross-site", ""])
def test_a_foreign_page_is_refused(site: str) -> None:
    # Proves W5.
    assert refused(replace(LIST, fetch_site=site)).status == 403
    assert refused(replace(LIST, fetch_site=site, method="OPTIONS")).status == 403
    assert refused(replace(LIST, fetch_site=site, authorization=f"Bearer {TOKEN}"), WITH_TOKEN).status == 403


@pytest.mark.parametrize("site", [None, "same-origin", "none"])
def test_the_page_itself_and_clients_that_are_no_browsers_are_let_in(site: str | None) -> None:
    # Proves W5.
    assert is_let_in(replace(LIST, fetch_site=site))


def test_a_link_on_a_foreign_page_opens_the_page_and_nothing_else() -> None:
    # Proves W5.
    link = replace(NAVIGATION, fetch_site="cross-site")

    assert is_let_in(link)
    assert refused(replace(link, path="/api/sessions")).status == 403
    assert refused(replace(link, fetch_dest="iframe")).status == 403
    assert refused(replace(link, fetch_mode="no-cors", fetch_dest="image")).status == 403
    assert refused(replace(link, fetch_mode=None, fetch_dest=None, accept="text/html")).status == 403
    assert refused(replace(link, method="POST", path="/sign-in", origin="https://evil.example")).status == 403


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "https://localhost:8787", "http://localhost", "http://localhost:8788",
     "http://localhost.evil.example:8787", "http://localhost:8787/path", "http://localhost:8787, http://localhost:8787",
     "ftp://localhost:8787"],
)  # fmt: skip
@pytest.mark.parametrize("facts", [LIST, WRITE])
def test_an_origin_that_differs_in_scheme_host_or_port_is_refused(facts: Facts, origin: str) -> None:
    # Proves W5.
    assert refused(replace(facts, origin=origin)).status == 403


def test_a_tunnel_at_another_port_gets_the_files_of_the_page_and_its_own_page_alone_does() -> None:
    # Proves W5: browsers send an Origin with modules, and Sec-Fetch-Site tells that they are the page's own.
    module = replace(LIST, path="/page/app.js", origin="http://localhost:9000", fetch_site="same-origin")

    assert is_let_in(module)
    assert is_let_in(module, WITH_TOKEN)
    for site in (None, "none", "same-site", "cross-site"):
        assert refused(replace(module, fetch_site=site)).status == 403
    assert refused(replace(module, path="/api/sessions")).status == 403
    assert refused(replace(module, method="POST", path="/api/events")).status == 403
    assert refused(replace(module, hosts=("evil.example:9000",))).status == 421


@pytest.mark.parametrize(
    "origin", ["http://localhost:8787", "http://127.0.0.1:8787", "http://[::1]:8787", "HTTP://LOCALHOST:8787"]
)
def test_the_gateways_own_origin_may_write(origin: str) -> None:
    # Proves W5.
    assert is_let_in(replace(WRITE, origin=origin))


def test_behind_a_proxy_its_origin_is_that_of_the_gateway() -> None:
    # Proves W5.
    write = replace(WRITE, hosts=("box.example",), cookies=(cookie_for(TOKEN, NOW_S),))

    assert is_let_in(replace(write, origin="https://box.example"), BEHIND_PROXY)
    assert is_let_in(replace(write, origin="https://box.example:443"), BEHIND_PROXY)
    for origin in ("http://box.example", "https://box.example:8443", "https://other.example"):
        assert refused(replace(write, origin=origin), BEHIND_PROXY).status == 403
    assert "--origin https://other.example" in refused(replace(WRITE, origin="https://other.example")).reason


def test_a_request_that_writes_needs_the_origin_or_the_token_and_a_cookie_is_not_enough() -> None:
    # Proves W5.
    cookie = replace(WRITE, cookies=(cookie_for(TOKEN, NOW_S),))

    assert refused(WRITE).status == 403
    assert refused(cookie, WITH_TOKEN).status == 403
    assert is_let_in(replace(cookie, origin="http://localhost:8787"), WITH_TOKEN)
    assert is_let_in(replace(WRITE, authorization=f"Bearer {TOKEN}"), WITH_TOKEN)
    assert refused(replace(WRITE, authorization="Bearer x"), WITH_TOKEN).status == 403
    assert refused(replace(WRITE, origin="http://localhost:8787"), WITH_TOKEN).status == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"])
def test_a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes(method: str) -> None:
    # Proves W5.
    refusal = refused(replace(LIST, method=method))

    assert refusal.status == 405
    assert refusal.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_the_token_lets_in_and_so_does_its_cookie(method: str) -> None:
    # Proves W5.
    asked = replace(LIST, method=method)

    assert is_let_in(replace(asked, authorization=f"Bearer {TOKEN}"), WITH_TOKEN)
    assert is_let_in(replace(asked, authorization=f"bearer  {TOKEN} "), WITH_TOKEN)
    assert is_let_in(replace(asked, cookies=("old", cookie_for(TOKEN, NOW_S))), WITH_TOKEN)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \u00e9\udcff"]
)
def test_without_the_token_nobody_is_let_in(authorization: str | None) -> None:
    # Proves W5.
    refusal = refused(replace(LIST, authorization=authorization), WITH_TOKEN)

    assert (refusal.status, refusal.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert not refusal.offers_sign_in


def test_a_cookie_ends_after_30_days_and_with_its_token() -> None:
    # Proves W5.
    def with_cookie(made_at_s: float, token: str = TOKEN) -> Facts:
        return replace(LIST, cookies=(cookie_for(token, made_at_s),))

    assert is_let_in(with_cookie(NOW_S - COOKIE_LIFE_S + 1), WITH_TOKEN)
    assert refused(with_cookie(NOW_S - COOKIE_LIFE_S), WITH_TOKEN).status == 401
    assert refused(with_cookie(NOW_S, "another-token-of-some"), WITH_TOKEN).status == 401


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/api/sessions", 401)])
def test_a_browser_without_the_token_is_offered_a_form(path: str, status: int) -> None:
    # Proves W5.
    navigation = replace(NAVIGATION, path=path)
    old_browser = replace(LIST, path=path, accept="text/html,*/*;q=0.8")

    for asked in (navigation, old_browser):
        refusal = refused(asked, WITH_TOKEN)
        assert (refusal.offers_sign_in, refusal.status) == (True, status)
    assert not refused(replace(navigation, fetch_mode="cors", fetch_dest="empty"), WITH_TOKEN).offers_sign_in


def test_the_form_and_its_parts_need_no_token() -> None:
    # Proves W5.
    form = replace(LIST, method="POST", path="/sign-in")

    assert is_let_in(replace(form, origin="http://localhost:8787"), WITH_TOKEN)
    assert is_let_in(form, WITH_TOKEN)
    assert is_let_in(replace(LIST, path="/page/sign_in.js"), WITH_TOKEN)
    assert refused(replace(form, path="/page/sign_in.js"), WITH_TOKEN).status == 405
    assert refused(replace(form, origin="null"), WITH_TOKEN).status == 403


def test_a_gateway_without_a_token_answers_this_machine_alone() -> None:
    # Proves W5.
    assert refused(replace(LIST, peer_is_local=False)).status == 403
    assert is_let_in(replace(LIST, peer_is_local=False, authorization=f"Bearer {TOKEN}"), WITH_TOKEN)


def test_a_cookie_is_for_tls_alone_if_the_browser_comes_by_tls() -> None:
    # Proves W5.
    access = access_by(BEHIND_PROXY)

    assert access.is_secure(replace(WRITE, origin="https://box.example"))
    assert access.is_secure(replace(WRITE, hosts=("box.example",)))
    assert access.is_secure(replace(WRITE, scheme="https"))
    assert not access.is_secure(replace(WRITE, origin="http://localhost:8787"))
    assert not access.is_secure(WRITE)


def test_gateways_on_two_ports_of_a_host_have_different_cookies() -> None:
    # Proves W5.
    assert cookie_name(8787) != cookie_name(8788)


def test_what_a_refusal_quotes_is_short_and_printable() -> None:
    # Proves W5.
    asked = [
        replace(LIST, hosts=("a" * 10_000,)),
        replace(LIST, hosts=("\x1b[31m" * 1_000,)),
        replace(LIST, origin="\u202e" * 10_000),
        replace(LIST, origin="http://" + "a" * 10_000),
        replace(LIST, method="M" * 10_000),
    ]

    reasons = [refused(each).reason for each in asked]

    assert all(len(reason) < 500 and reason.isprintable() for reason in reasons)


def test_an_origin_is_shown_as_browsers_send_it() -> None:
    assert [
        str(Origin.parse(each)) for each in ("HTTPS://Box.example:443/", "http://[::1]:80", "http://a:443")
    ] == [
        "https://box.example",
        "http://[::1]",
        "http://a:443",
    ]
