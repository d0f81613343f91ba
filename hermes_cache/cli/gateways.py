"""Asks a running gateway, and ends the command with a message where it does not answer."""

import json
from collections.abc import Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

import click

_TIMEOUT_S: Final = 10.0
_NEXT_STEP: Final = "start one with 'hermes-cache serve', or name another with --url"


def asked_gateway(
    url: str, path: str, query: Sequence[tuple[str, str]], *, token: str | None = None
) -> dict[str, object]:
    """Return what a gateway answers, as JSON; neither a proxy nor a redirection is followed, for the token's sake.

    Args:
        url: Where the gateway is.
        path: What is asked of it.
        query: Parameters; one that the gateway refuses is wrong usage.
        token: What it is shown; None for none.
    """
    where = _where(url)
    try:
        status, body = _answer(where, f"{where.path.rstrip('/')}{path}?{urlencode(query)}", token)
    except (OSError, HTTPException) as error:
        raise click.ClickException(
            f"no gateway answers at {url}: {error or type(error).__name__}; {_NEXT_STEP}"
        ) from error
    except ValueError as error:
        raise click.UsageError("--token or --url holds what a request cannot carry") from error
    told = _told(url, body)
    if status == HTTPStatus.OK:
        return told
    raise _refusal(url, status, str(told.get("error", "it gives no reason")))


def _where(url: str) -> SplitResult:
    try:
        where = urlsplit(url)
        named = bool(where.hostname) and where.port != 0
    except ValueError:
        named = False
    if not named or where.scheme not in ("http", "https"):
        raise click.UsageError(f"--url is {url!r}; it must look like http://127.0.0.1:8787")
    return where


def _answer(where: SplitResult, target: str, token: str | None) -> tuple[int, bytes]:
    kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(kind(where.hostname or "", where.port, timeout=_TIMEOUT_S)) as connection:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def _told(url: str, body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise click.ClickException(f"what answers at {url} is no gateway of hermes-cache; {_NEXT_STEP}")
    return told


def _refusal(url: str, status: int, reason: str) -> click.ClickException:
    if status == HTTPStatus.BAD_REQUEST:
        return click.UsageError(reason)
    if status == HTTPStatus.UNAUTHORIZED:
        return click.ClickException(f"the gateway at {url} wants its token; give it with --token")
    return click.ClickException(f"the gateway at {url} answers {status}: {reason}")
