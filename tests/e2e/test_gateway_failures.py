"""What one connection costs the others if it fails, and what a gateway that fails costs its command (rule W6)."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.responses import PlainTextResponse

from hermes_cache.gateway.connections import Connection, Deadlines, ServerState
from hermes_cache.samples.home import make_sample_home
from tests.waiting import PROCESS_S

NO_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"

_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LONG = "x" * 2**26
"""More than the system takes of an answer that nobody reads."""

_FAILING_GATEWAY = """
import sys
from hermes_cache.cli.main import main
from hermes_cache.gateway.connections import ServerState

def look(self, now_s):
    raise RuntimeError("out of order")

ServerState.look = look
sys.argv = ["hermes-cache", *sys.argv[1:]]
main()
"""


class Failing(Connection):
    """A connection whose look raises."""

    def look(self, now_s: float) -> None:  # noqa: ARG002 - the signature
        raise RuntimeError("out of order")


@asynccontextmanager
async def _connected(
    state: ServerState, protocol: type[Connection], says: bytes, answer: str = "read"
) -> AsyncIterator[socket.socket]:
    """Have a connection that the server knows; yields the client's end."""
    count = len(state.connections)
    config = uvicorn.Config(PlainTextResponse(answer), http=protocol, log_config=None, lifespan="off", ws="none")
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname(), timeout=PROCESS_S) as client:
        client.sendall(says)
        await _until(lambda: len(state.connections) > count)
        server.close()
        yield client


async def _until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PROCESS_S):
        while not is_so():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0)


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_client_that_resets_as_its_time_is_over_ends_nothing_else() -> None:
    # Proves W6: the reset is there, and the event loop has not seen it.
    async def act() -> None:
        state = ServerState(Deadlines())
        async with _connected(state, Connection, NO_BODY) as client:
            [connection] = state.connections
            assert isinstance(connection, Connection)
            await _until(lambda: connection.cycle and connection.cycle.response_complete)
            client.recv(1_000)
            _reset(client)

            connection.look(asyncio.get_running_loop().time() + 1_000)

            await _until(lambda: not state.connections)

    asyncio.run(act())


def test_a_client_that_reads_slowly_is_waited_for_and_one_that_stops_is_not() -> None:
    # Proves W6: progress, however slow, is progress.
    async def act() -> None:
        state, now_s = ServerState(Deadlines()), asyncio.get_running_loop().time()
        async with _connected(state, Connection, _GET, answer=_LONG) as client:
            [connection] = state.connections
            assert isinstance(connection, Connection)
            unread_bytes = connection.transport.get_write_buffer_size
            await _until(unread_bytes)

            for _ in range(5):
                before = unread_bytes()
                state.look(now_s)
                await _until(lambda: client.recv(65_536) and unread_bytes() < before)  # noqa: B023 -- awaited here
                now_s += state.deadlines.unread_s - 1
            state.look(now_s)
            is_closing = connection.transport.is_closing()
            state.look(now_s + state.deadlines.unread_s)

            await _until(lambda: not state.connections)

        assert not is_closing

    asyncio.run(act())


def test_a_look_that_raises_for_one_connection_costs_that_one_alone() -> None:
    # Proves W6.
    async def act() -> None:
        state = ServerState(Deadlines(idle_s=0))
        async with _connected(state, Failing, b""), _connected(state, Connection, b""):
            state.look(asyncio.get_running_loop().time() + 1)

            await _until(lambda: not state.connections)

    asyncio.run(act())


def test_past_the_bound_some_more_connections_are_closed_than_must_be() -> None:
    # Proves W6: all of them are sorted to find which, so that is not done for each newcomer of a flood.
    async def act() -> None:
        state = ServerState(Deadlines())
        async with AsyncExitStack() as clients:
            for _ in range(65):
                await clients.enter_async_context(_connected(state, Connection, b""))
            state.most_connections = 64
            newest = next(each for each in state.connections if isinstance(each, Connection))

            state.make_room(newest)

            await _until(lambda: len(state.connections) <= 63)
            assert len(state.connections) == 63
            assert newest in state.connections

    asyncio.run(act())


def test_a_gateway_that_fails_ends_its_command_with_a_status_of_1_and_a_reason(tmp_path: Path) -> None:
    # Proves W6: a process that answers nobody would look alive to what starts it again.
    make_sample_home(tmp_path / "home", sessions=5, seed=7)

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", _FAILING_GATEWAY, "serve", "--home", str(tmp_path / "home"), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )

    assert result.returncode == 1
    assert "gateway_failed" in result.stderr
    assert "out of order" in result.stderr
    assert "stopped" in result.stderr
