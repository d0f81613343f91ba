"""Asks a running gateway. If it does not answer, ends the command with a message."""

import json
from collections.abc import Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import click

DEFAULT_URL: Final = "http://127.0.0.1:8787"
"""Where `hermes-cache serve` listens by default."""

_TIMEOUT_S: Final = 10.0
_NEXT_STEP: Final = "start one with 'hermes-cache serve', or name another with --url"


def asked_gateway(
    url: str, path: str, query: Sequence[tuple[str, str]], *, field: str, token: str | None = None
) -> dict[str, object]:
    """Return the JSON that a gateway answers. It follows no proxy and no redirection, to keep the token safe.

    Args:
        url: The gateway's address.
        path: The path of the question, such as `/api/explain`.
        query: The parameters. If the gateway refuses one, the command ends as wrongly used; those that it ignores
            are named on standard error.
        field: A field that the answer of a gateway has.
        token: The gateway's token, or None.
    """
    address = _address(url)
    try:
        status, body, ignored = _answer(address, f"{address.path.rstrip('/')}{path}?{urlencode(query)}", token)
    except (OSError, HTTPException) as error:
        raise click.ClickException(
            f"no gateway answers at {url}: {error or type(error).__name__}; {_NEXT_STEP}"
        ) from error
    except ValueError as error:
        raise click.UsageError("--token or --url contains characters that a request cannot have") from error
    answer = _parsed(body)
    if answer is None or (status == HTTPStatus.OK and field not in answer):
        raise click.ClickException(f"what answers at {url} is no gateway of hermes-cache; {_NEXT_STEP}")
    if ignored:
        click.echo(f"The gateway does not know these parameters, and ignored them: {unquote(ignored)}", err=True)
    if status == HTTPStatus.OK:
        return answer
    raise _refusal(url, status, str(answer.get("error", "it gives no reason")))


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        # A name and a password before the host would stand in messages, and be sent to nobody.
        named = bool(address.hostname) and address.port != 0 and "@" not in address.netloc
    except ValueError:
        named = False
    if not named or address.scheme not in ("http", "https"):
        given = "what was given" if "@" in url else repr(url)
        raise click.UsageError(f"--url is {given}; it must look like http://127.0.0.1:8787")
    return address


def _answer(address: SplitResult, target: str, token: str | None) -> tuple[int, bytes, str | None]:
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(kind(address.hostname or "", address.port, timeout=_TIMEOUT_S)) as connection:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers["X-Hermes-Cache-Ignored"]


def _parsed(body: bytes) -> dict[str, object] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(url: str, status: int, reason: str) -> click.ClickException:
    if status == HTTPStatus.BAD_REQUEST:
        return click.UsageError(reason)
    if status == HTTPStatus.UNAUTHORIZED:
        return click.ClickException(f"the gateway at {url} wants its token; give it with --token")
    if status == HTTPStatus.NOT_FOUND:
        return click.ClickException(f"the gateway at {url} says: {reason}")
    return click.ClickException(f"the gateway at {url} answers {status}: {reason}")
