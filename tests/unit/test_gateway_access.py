"""Who is let in."""

import pytest
from starlette.requests import Request

from hermes_cache.gateway.access import Access
from hermes_cache.gateway.guard import parameters_of
from hermes_cache.gateway.settings import GatewaySettings

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


def request_with(*, path: str = "/", method: str = "GET", host: str = "localhost", **headers: str) -> Request:
    path, _, query = path.partition("?")
    given = {"Host": host, **headers}
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    return Request(scope)


def status_of(access: Access, request: Request) -> int | None:
    refused = access.refusal(request)
    return refused.status_code if refused else None


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8787", "[::1]:8787", "LOCALHOST:1", "localhost.", "box.lan"]
)
def test_a_request_under_an_allowed_name_is_let_in(host: str) -> None:
    # Proves W5.
    access = Access(GatewaySettings(allowed_hosts=("box.lan",)))

    assert status_of(access, request_with(host=host)) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "", "[", "a b"]
)
def test_a_request_under_another_name_is_misdirected(host: str) -> None:
    # Proves W5.
    access = Access(GatewaySettings())

    assert status_of(access, request_with(host=host)) == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_request_that_would_write_is_refused(method: str) -> None:
    # Proves W5.
    access = Access(GatewaySettings())

    assert status_of(access, request_with(method=method)) == 405


def test_beyond_loopback_a_token_is_demanded() -> None:
    # Proves W5.
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        GatewaySettings(host="0.0.0.0")  # noqa: S104 -- the address that must be refused


def test_the_token_can_be_shown_in_three_ways() -> None:
    # Proves W5.
    access = Access(GatewaySettings(token=TOKEN))
    shown = [
        request_with(Authorization=f"Bearer {TOKEN}"),
        request_with(path="/?token=correct-horse-battery"),
        request_with(Cookie=f'hermes_cache_token="{TOKEN}"'),
    ]

    assert [status_of(access, each) for each in shown] == [None, None, None]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \u00e9"])
def test_without_the_token_nobody_is_let_in(authorization: str) -> None:
    # Proves W5.
    access = Access(GatewaySettings(token=TOKEN))

    assert status_of(access, request_with(Authorization=authorization)) == 401


def test_a_browser_that_brought_the_token_keeps_it_as_a_cookie_that_no_script_reads() -> None:
    # Proves W5.
    access = Access(GatewaySettings(token=TOKEN))

    cookie = access.cookie(request_with(path="/?token=correct-horse-battery"))

    assert cookie is not None
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


@pytest.mark.parametrize("path", ["/?token=wrong", "/?token=", "/"])
def test_who_does_not_show_the_token_is_never_given_it(path: str) -> None:
    # Proves W5.
    access = Access(GatewaySettings(token=TOKEN))

    assert access.cookie(request_with(path=path)) is None


def test_the_token_is_no_parameter_of_the_view() -> None:
    # Proves W1, W5.
    request = request_with(path="/api/sessions?token=x&show_cli=1")

    assert parameters_of(request) == {"show_cli": ["1"]}
