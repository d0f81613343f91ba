"""The server itself: how it ends, and what it does while a list takes its time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hermes_cache import Policy
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.journal.bus import Bus
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.testing import GatedBuilder
from tests.waiting import PROCESS_S, WAIT_S, at_its_best, until

LIST = "/api/sessions"


@contextmanager
def serving(
    home: Path, builder: GatedBuilder, settings: GatewaySettings, policy: Policy | None = None
) -> Iterator[GatewayServer]:
    with SessionListCache(builder, bus=Bus(), policy=policy or Policy()) as cache:
        app = create_app(cache, HermesHome(home), settings=settings)
        with GatewayServer(app, settings.host) as server:
            yield server


@pytest.fixture
def builder() -> GatedBuilder:
    return GatedBuilder(is_open=True)


def connect(server: GatewayServer) -> HTTPConnection:
    where = urlsplit(server.url)
    return HTTPConnection(where.hostname or "", where.port, timeout=PROCESS_S)


def status_of(server: GatewayServer) -> int:
    with closing(connect(server)) as connection:
        connection.request("GET", LIST)
        return connection.getresponse().status


def stop_in_s(server: GatewayServer) -> float:
    began_s = time.monotonic()
    server.stop()
    return time.monotonic() - began_s


@at_its_best(under_s=5.0)
def test_it_ends_soon_whoever_is_connected(tmp_path: Path, builder: GatedBuilder) -> float:
    # Proves L1.
    with serving(tmp_path, builder, GatewaySettings()) as server:
        kept_alive, streaming, silent = (connect(server) for _ in range(3))
        kept_alive.request("GET", LIST)
        kept_alive.getresponse().read()
        streaming.request("GET", "/api/sessions/events")
        stream = streaming.getresponse()
        silent.connect()
        silent.sock.sendall(b"GET / HTTP/1.1\r\nHost: local")

        took_s = stop_in_s(server)

    assert b"event: hello" in stream.read()
    for each in (kept_alive, streaming, silent):
        each.close()
    return took_s


@at_its_best(under_s=5.0)
def test_it_ends_soon_beside_a_client_that_reads_nothing(tmp_path: Path, builder: GatedBuilder) -> float:
    # Proves L1: the heartbeats fill the socket, and the thread that writes them is stuck.
    with serving(tmp_path, builder, GatewaySettings(heartbeat_s=0.000_1)) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        deaf.connect((urlsplit(server.url).hostname, urlsplit(server.url).port))
        deaf.sendall(b"GET /api/sessions/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = deaf.recv(1)

        took_s = stop_in_s(server)

    assert first == b"H"
    return took_s


@at_its_best(under_s=5.0)
def test_it_ends_soon_while_a_list_is_being_built(tmp_path: Path) -> float:
    # Proves L1.
    builder = GatedBuilder(patience_s=PROCESS_S)
    with serving(tmp_path, builder, GatewaySettings()) as server:
        asking = threading.Thread(target=ask_and_forget, args=(server,))
        asking.start()
        builder.wait_for_calls(1)

        took_s = stop_in_s(server)
        builder.open()

    asking.join(WAIT_S)
    assert not asking.is_alive()
    return took_s


def test_a_list_that_takes_too_long_is_a_timeout_and_its_build_goes_on(tmp_path: Path) -> None:
    # Proves R6, W1.
    builder = GatedBuilder(patience_s=WAIT_S)
    with serving(tmp_path, builder, GatewaySettings(read_timeout_s=0.2), Policy(ttl=600.0)) as server:
        late = status_of(server)
        builder.open()
        until(lambda: status_of(server) == 200)

    assert late == 504
    assert builder.calls() == 1


def test_the_second_half_of_an_answer_waits_for_no_acknowledgement(tmp_path: Path, builder: GatedBuilder) -> None:
    # Proves W7: else each poll with a body takes 40 ms more.
    with serving(tmp_path, builder, GatewaySettings()) as server, closing(connect(server)) as connection:
        connection.request("GET", LIST)
        connection.getresponse().read()
        [theirs] = server._server.server_state.connections

        option = theirs.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert option == 1


def test_it_listens_on_ipv6_too(tmp_path: Path, builder: GatedBuilder) -> None:
    # Proves W5.
    with serving(tmp_path, builder, GatewaySettings(host="::1")) as server:
        status = status_of(server)

    assert server.url.startswith("http://[::1]:")
    assert status == 200


def ask_and_forget(server: GatewayServer) -> None:
    """Ask for a list, whatever becomes of it."""
    with closing(connect(server)) as connection, suppress(HTTPException, OSError):
        connection.request("GET", LIST)
        connection.getresponse().read()
