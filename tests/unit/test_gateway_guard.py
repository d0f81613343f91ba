"""What the guard says in the log of a request that fails."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from hermes_cache.gateway.access import Access
from hermes_cache.gateway.guard import Guard
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.sign_in import SignIn

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


async def _failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("out of order")


async def _nothing() -> Message:
    return {"type": "http.request"}


@pytest.mark.parametrize("path", [f"/{TOKEN}", f"/{'a' * 190}{TOKEN}"], ids=["short", "cut"])
def test_a_request_that_fails_is_logged_without_the_token(caplog: pytest.LogCaptureFixture, path: str) -> None:
    # Proves W5, W6.
    access = Access(GatewaySettings(token=TOKEN))
    guard = Guard(_failing, access=access, sign_in=SignIn(access), root_path="", token=TOKEN)
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "server": ("127.0.0.1", 8787),
        "client": ("127.0.0.1", 50_000),
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())],
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, _nothing, send))

    (record,) = caplog.records
    logged = str(vars(record)["hermes_cache.path"])
    assert sent[0]["status"] == 500
    assert TOKEN[:9] not in logged
    assert "<token>" in logged
