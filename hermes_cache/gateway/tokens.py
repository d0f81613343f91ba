"""The token of a gateway: made and kept in a file, and the cookie that a browser gets for it.

The cookie does not contain the token. It contains the time of its end and an HMAC of that time by the token. So it
outlives a restart of the gateway, and ends when the token is replaced.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest, digest
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hermes_cache.errors import HermesCacheError

SHORTEST_TOKEN: Final = 16
"""A token is at least this long. Source: rule W5."""

COOKIE_LIFE_S: Final = 30 * 24 * 3600
"""Source: rule W5."""

_MADE_BYTES: Final = 24
_LONGEST_FILE: Final = 4_096


class TokenFileError(HermesCacheError):
    """The file with the token cannot be used.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"the token cannot be kept in {path}: {problem}; or give a token with --token")


def checked_token(token: str) -> str:
    """Return a token that is long enough and can stand in a header.

    Raises:
        ValueError: It is too short, or has a character that is not visible ASCII.

    Source: rule W5.
    """
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters; this one has {len(token)}")
    if not all("!" <= sign <= "~" for sign in token):
        raise ValueError("a token has ASCII letters, digits and signs alone, and no spaces")
    return token


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder where this package keeps what it makes for a user (XDG Base Directory Specification).

    Raises:
        TokenFileError: The user has no home folder, and the environment names no folder.
    """
    given = Path(environment.get("XDG_STATE_HOME", ""))
    if given.is_absolute():  # the specification says to ignore a relative path
        return given / "hermes_cache"
    try:
        return Path.home() / ".local" / "state" / "hermes_cache"
    except RuntimeError as error:
        raise TokenFileError(given, "this user has no home folder; set XDG_STATE_HOME") from error


def kept_token(folder: Path) -> str:
    """Return the token in the file `token` of a folder. A missing file is made, readable for this user alone.

    Raises:
        TokenFileError: Others can read the file, it contains no token, or it cannot be made.
    """
    path = folder / "token"
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)
    except OSError as error:
        raise TokenFileError(path, str(error.strerror or error)) from error


def cookie_for(token: str, now_s: float) -> str:
    """Return the value of a cookie that stands for a token for 30 days.

    Args:
        token: The gateway's token.
        now_s: The time, in seconds since 1970.
    """
    ends = str(int(now_s) + COOKIE_LIFE_S)
    return f"{ends}.{_mac(token, ends)}"


def is_cookie_for(token: str, value: str, now_s: float) -> bool:
    """Return whether a cookie's value was made for a token, and has not ended."""
    ends, _, mac = value.partition(".")
    # Once the HMAC is right, the time is one that this gateway wrote.
    return compare_digest(mac.encode(), _mac(token, ends).encode()) and now_s < int(ends)


def is_same_token(token: str, shown: str) -> bool:
    """Return whether a text is the token, in a time that does not tell how much of it is right."""
    return compare_digest(shown.encode("utf-8", "replace"), token.encode())


def address_with(url: str, token: str | None) -> str:
    """Return an address for a browser. The token follows `#`, a part that browsers do not send."""
    return f"{url}#{quote(token, safe='')}" if token else url


def _mac(token: str, ends: str) -> str:
    return digest(token.encode(), f"hermes_cache cookie until {ends}".encode(), "sha256").hex()


def _read(path: Path) -> str:
    # A link could name a file that another user wrote.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        looks = os.fstat(descriptor)
        if not stat.S_ISREG(looks.st_mode) or looks.st_uid != os.geteuid():
            raise TokenFileError(path, "it is not a file of this user; remove it")
        if stat.S_IMODE(looks.st_mode) & 0o077:
            raise TokenFileError(path, f"other users can read or write it; remove it, or run: chmod 600 {path}")
        text = file.read(_LONGEST_FILE).decode("ascii", "replace").strip()
    try:
        return checked_token(text)
    except ValueError as error:
        raise TokenFileError(path, f"{error}; remove it") from error


def _make(path: Path) -> None:
    draft = path.with_name(f"token.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(_MADE_BYTES) + "\n")
                file.flush()
                os.fsync(descriptor)
            # Of two gateways that start at once, the second takes the token of the first.
            with suppress(FileExistsError):
                path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise TokenFileError(path, str(error.strerror or error)) from error
