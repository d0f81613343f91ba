"""From a request as ASGI describes it to the facts that decide whether it is let in."""

import pytest
from starlette.types import Scope

from hermes_cache.gateway.request_facts import as_routed, facts_of


def request(*headers: tuple[str, str], path: str = "/api/sessions", client: str = "127.0.0.1") -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "scheme": "http",
        "server": ("127.0.0.1", 8787),
        "client": (client, 50_000),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def test_a_header_that_comes_twice_is_no_header_that_is_trusted() -> None:
    # Proves W5: `none, cross-site` and two tokens match nothing.
    facts = facts_of(
        request(
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("host", " localhost "),
            ("host", "evil.example"),
        )
    )

    assert (facts.fetch_site, facts.authorization) == ("none, cross-site", "Bearer a, Bearer b")
    assert facts.hosts == ("localhost", "evil.example")


def test_all_cookies_of_the_name_are_looked_at() -> None:
    # Proves W5: a page on another port can set one, and must not sign anybody out.
    facts = facts_of(
        request(
            ("cookie", "hermes_cache_8787=a; other=b;hermes_cache_8787 = c ; hermes_cache_87=d; x"),
            ("cookie", "hermes_cache_8787=e=f"),
        )
    )

    assert facts.cookies == ("a", "c", "e=f")


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip"])
def test_a_request_that_a_proxy_passes_on_is_not_one_of_this_machine(name: str) -> None:
    # Proves W5.
    assert facts_of(request()).peer_is_local
    assert facts_of(request(client="::1")).peer_is_local
    assert not facts_of(request((name, "127.0.0.1"))).peer_is_local
    assert not facts_of(request(client="203.0.113.9")).peer_is_local


def test_a_server_that_does_not_say_who_asks_is_not_trusted() -> None:
    # Proves W5.
    facts = facts_of({**request(), "client": None, "server": None})

    assert (facts.peer_is_local, facts.address, facts.port) == (False, "", 0)


@pytest.mark.parametrize(
    ("path", "routed"),
    [
        ("/hermes/api/sessions", "/api/sessions"),
        ("/api/sessions", "/api/sessions"),
        ("/hermes/", "/"),
        ("/hermes", "/hermes"),
        ("/hermesx/api", "/hermesx/api"),
        ("/hermes/hermes/x", "/hermes/x"),
        ("http://box.example/hermes/x", "/x"),
        ("http://box.example", "/"),
        ("*", "*"),
    ],
)
def test_the_prefix_of_a_proxy_is_taken_away_once(path: str, routed: str) -> None:
    # Proves W5.
    assert as_routed(request(path=path), "/hermes")["path"] == routed


def test_a_target_that_names_a_host_is_believed_instead_of_the_header() -> None:
    # Proves W5: RFC 9112, section 3.2.2.
    asked = request(("host", "localhost"), ("accept", "x"), path="HTTPS://Evil.example:1/x")

    routed = as_routed(asked, "")

    assert (facts_of(routed).hosts, routed["path"]) == (("Evil.example:1",), "/x")
    assert facts_of(routed).accept == "x"
    assert as_routed(request(path="/http://evil.example/"), "")["path"] == "/http://evil.example/"
