"""The token that `serve` makes, and the cookie that stands for it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermes_cache.gateway import tokens
from hermes_cache.gateway.tokens import (
    COOKIE_LIFE_S,
    TokenFileError,
    address_with,
    cookie_for,
    is_cookie_for,
    kept_token,
    state_folder,
)

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests
NOW_S = 1_800_000_000.0


def test_a_token_is_made_once_and_readable_for_this_user_alone(tmp_path: Path) -> None:
    # Proves W5.
    before = os.umask(0)
    try:
        made = kept_token(tmp_path / "state" / "hermes_cache")
    finally:
        os.umask(before)

    path = tmp_path / "state" / "hermes_cache" / "token"
    assert len(made) >= 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert kept_token(path.parent) == made
    assert list(path.parent.iterdir()) == [path]


def test_gateways_that_start_at_once_have_one_token(tmp_path: Path) -> None:
    # Proves W5.
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(kept_token, [tmp_path] * 8))

    assert len(made) == 1


def test_a_gateway_that_comes_second_takes_the_token_that_is_there(tmp_path: Path) -> None:
    # Proves W5: it looked before the first one had made the file.
    first = kept_token(tmp_path)

    tokens._make(tmp_path / "token")

    assert kept_token(tmp_path) == first
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    # Proves W5.
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(mode)

    with pytest.raises(TokenFileError, match="chmod 600"):
        kept_token(tmp_path)


@pytest.mark.parametrize("text", ["", "short\n", "two words of a token\n", "\x00" * 40])
def test_a_file_without_a_good_token_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    # Proves W5.
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(TokenFileError, match="remove it"):
        kept_token(tmp_path)

    assert path.read_text() == text


def test_a_link_or_a_pipe_in_the_place_of_the_token_is_not_followed(tmp_path: Path) -> None:
    # Proves W5.
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.mkdir()
    pipe.mkdir()
    (tmp_path / "other").write_text(TOKEN)
    (tmp_path / "other").chmod(0o600)
    (link / "token").symlink_to(tmp_path / "other")
    os.mkfifo(pipe / "token", 0o600)

    for folder in (link, pipe):
        with pytest.raises(TokenFileError):
            kept_token(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    # Proves W5.
    (tmp_path / "file").write_text("")

    with pytest.raises(TokenFileError, match="--token"):
        kept_token(tmp_path / "file" / "hermes_cache")


def test_the_state_folder_is_that_of_the_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    # Proves W5.
    monkeypatch.setenv("HOME", "/home/somebody")

    assert state_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/hermes_cache")
    assert state_folder({"XDG_STATE_HOME": "not/absolute"}) == Path("/home/somebody/.local/state/hermes_cache")
    assert state_folder({}) == Path("/home/somebody/.local/state/hermes_cache")


def test_a_cookie_stands_for_its_token_and_does_not_show_it() -> None:
    # Proves W5.
    cookie = cookie_for(TOKEN, NOW_S)

    assert TOKEN not in cookie
    assert is_cookie_for(TOKEN, cookie, NOW_S + COOKIE_LIFE_S - 1)
    assert not is_cookie_for(TOKEN, cookie, NOW_S + COOKIE_LIFE_S)
    assert not is_cookie_for("another-token-of-some", cookie, NOW_S)


@pytest.mark.parametrize(
    "change",
    ["{ends}9.{mac}", "{ends}.{mac}0", "{ends}", ".{mac}", "-{ends}.{mac}", "\u0661.{mac}", "{ends}.\u00e9", "",
     "9999999999999.{mac}"],
)  # fmt: skip
def test_a_cookie_that_was_changed_is_worth_nothing(change: str) -> None:
    # Proves W5.
    ends, _, mac = cookie_for(TOKEN, NOW_S).partition(".")

    assert not is_cookie_for(TOKEN, change.format(ends=ends, mac=mac), NOW_S)


def test_the_token_stands_behind_the_mark_that_browsers_keep_for_themselves() -> None:
    # Proves W5.
    assert (
        address_with("http://localhost:1/", "a&b#c%d-0123456789") == "http://localhost:1/#a%26b%23c%25d-0123456789"
    )
    assert address_with("http://localhost:1/", None) == "http://localhost:1/"
