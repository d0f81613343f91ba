"""The settings of a gateway, and what is refused."""

import pytest

from hermes_cache.gateway.origins import addresses_for_browsers, is_loopback
from hermes_cache.gateway.settings import GatewaySettings, reached_by_others

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


@pytest.mark.parametrize("host", ["127.0.0.53", "::1", "localhost", "LOCALHOST", "box.localhost"])
def test_loopback_is_what_only_this_machine_can_reach(host: str) -> None:
    assert is_loopback(host)
    assert reached_by_others(host, ()) is None
    assert GatewaySettings(host=host).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box.lan", "localhost.example", ""])  # noqa: S104 -- what must be refused
def test_beyond_loopback_a_token_is_demanded(host: str) -> None:
    # Proves W5.
    with pytest.raises(ValueError, match="other machines can reach"):
        GatewaySettings(host=host)

    assert reached_by_others(host, ())
    assert GatewaySettings(host=host, token=TOKEN).token


def test_behind_a_proxy_a_token_is_demanded() -> None:
    # Proves W5.
    with pytest.raises(ValueError, match="other machines can reach"):
        GatewaySettings(origins=("https://box.example",))

    assert GatewaySettings(origins=("http://localhost:9000",)).token is None


@pytest.mark.parametrize(
    "token", ["fifteen-letters", "correct horse battery", "correct-horse-batt\u00e9ry", "\n" * 20]
)
def test_a_token_is_long_and_can_stand_in_a_header(token: str) -> None:
    # Proves W5.
    with pytest.raises(ValueError, match="a token has"):
        GatewaySettings(token=token)


@pytest.mark.parametrize(
    "settings",
    [
        {"allowed_hosts": ("http://box.example",)},
        {"allowed_hosts": ("box.example:80",)},
        {"origins": ("box.example",)},
        {"origins": ("null",)},
        {"origins": ("https://box.example/hermes",)},
        {"root_path": "hermes"},
        {"root_path": "/hermes/"},
        {"root_path": "//evil.example"},
        {"root_path": "/a\r\nb"},
        {"root_path": "/a/../b"},
        {"root_path": "/."},
    ],
)
def test_a_name_that_is_malformed_is_refused_with_an_example(settings: dict[str, object]) -> None:
    # Proves W5.
    with pytest.raises(ValueError, match=r"box\.example|/hermes"):
        GatewaySettings(token=TOKEN, **settings)  # type: ignore[arg-type]


def test_a_person_is_told_addresses_that_a_browser_opens() -> None:
    # Proves W5: with the prefix at this machine too, as the cookie is sent below it alone.
    assert addresses_for_browsers("http://0.0.0.0:8787/", (), "") == ("http://127.0.0.1:8787/",)
    assert addresses_for_browsers("http://[::]:8787/", ("https://box.example/",), "/hermes") == (
        "http://[::1]:8787/hermes/",
        "https://box.example/hermes/",
    )


def test_an_empty_token_is_no_token_that_is_taken() -> None:
    # Proves W5: whoever gives one believes that it is asked for.
    with pytest.raises(ValueError, match="at least 16 characters"):
        GatewaySettings(token="")
