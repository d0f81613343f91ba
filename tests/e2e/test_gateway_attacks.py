"""Nobody can stop the gateway from outside (rule W6): each attack, and a well-behaved client meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from hermes_cache import Bus, HermesHome, Policy, SessionListCache
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.connections import Deadlines
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.samples.home import make_sample_home
from hermes_cache.testing import GatedBuilder
from tests.e2e.crowd import LIST, address_of, crowd, memory_bytes, slow_answers, status_of, still_open
from tests.e2e.event_client import Client
from tests.e2e.gateway_process import served
from tests.waiting import PROCESS_S, WAIT_S, until

SOON = Deadlines(request_s=0.5, idle_s=1.0, unread_s=1.0)
CROWD = 81
MEMORY = 50 * 2**20

SILENT = b""
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "
NO_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
A_LIST = f"GET {LIST} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of 4,000 sessions: its list has a megabyte."""
    path = tmp_path_factory.mktemp("attacked") / "home"
    make_sample_home(path, sessions=4_000, seed=7)
    return path


@pytest.fixture
def attacked(home: Path) -> Iterator[Callable[..., str]]:
    """Starts gateways over the home; gives their address."""
    ends: list[Callable[[], None]] = []

    def start(deadlines: Deadlines | None = None) -> str:
        source = HermesHome(home)
        cache = SessionListCache(
            source.builder, sources=source.sources, bus=Bus(), policy=Policy(stop_timeout=2.0)
        )
        cache.start()
        server = GatewayServer(create_app(cache, source), deadlines=deadlines)
        server.start()
        ends.extend((server.stop, cache.stop))
        assert status_of(server.url) == 200
        return server.url

    yield start
    for end in ends:
        end()


@pytest.mark.parametrize("says", [SILENT, HALF_A_HEAD, NO_BODY], ids=["silent", "half a head", "no body"])
def test_clients_that_do_not_finish_a_request_hold_up_nobody_and_are_closed(
    attacked: Callable[..., str], says: bytes
) -> None:
    # Proves W6.
    url = attacked()
    with crowd(url, CROWD, says):
        slow = slow_answers(url)
    with crowd(attacked(SOON), CROWD, says) as members:
        left = still_open(members, within_s=WAIT_S)

    assert len(slow) <= 1
    assert left == 0


def test_a_byte_now_and_then_does_not_move_the_deadline(attacked: Callable[..., str]) -> None:
    # Proves W6.
    url = attacked(SOON)
    over = threading.Event()

    with crowd(url, CROWD, HALF_A_HEAD) as members:

        def drip() -> None:
            while not over.wait(0.1):
                for member in members:
                    with suppress(OSError):
                        member.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        left = still_open(members, within_s=WAIT_S)
        over.set()
        dripping.join()

    assert left == 0


def test_the_deadlines_are_those_of_the_rule() -> None:
    # Proves W6.
    assert Deadlines() == Deadlines(request_s=10, idle_s=60, unread_s=30)


def test_a_request_that_came_too_late_is_answered_so(attacked: Callable[..., str]) -> None:
    # Proves W6.
    url = attacked(SOON)

    with crowd(url, 1, HALF_A_HEAD) as [late]:
        answer = rest_of(late)

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", 431),
        (b"GET /" , 431),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n500000\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n", 413),
    ],
    ids=["head", "address", "chunked body", "body"],
)  # fmt: skip
def test_what_is_too_large_is_refused_before_it_is_kept(
    attacked: Callable[..., str], head: bytes, status: int
) -> None:
    # Proves W6: 20 clients of 200 MB each.
    url = attacked()
    before = memory_bytes()

    with crowd(url, 20, head) as members:
        for member in members:
            with suppress(OSError):
                for _ in range(200):
                    member.sendall(b"x" * 2**20)
        answers = [rest_of(member) for member in members]
        slow = slow_answers(url)

    assert memory_bytes() - before < MEMORY
    assert len(slow) <= 1
    # A client that goes on to send for long may lose its answer; it is not read to the end for that. And a request
    # that is refused for its method is refused before its body came.
    assert {answer[:12] for answer in answers} <= {b"", b"HTTP/1.1 405", b"HTTP/1.1 %d" % status}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: %b\r\n\r\n" % (b"x" * 17_000), 431),
        (b"GET /api/sessions?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % b"&".join([b"a=1"] * 65), 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n%b" % (b"x" * 70_000), 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n", 413),
        (b"NONSENSE\r\n\r\n", 400),
    ],
    ids=["head", "parameters", "body", "announced body", "nonsense"],
)
def test_a_whole_request_past_a_bound_gets_its_status(
    attacked: Callable[..., str], request_bytes: bytes, status: int
) -> None:
    # Proves W5, W6: also if all of it comes at once; and pages of other sites are kept out of this answer too.
    url = attacked()

    with crowd(url, 1, request_bytes) as [member]:
        answer = HTTPResponse(member)
        answer.begin()
        body = answer.read()

    assert answer.status == status
    assert json.loads(body)["error"]
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert "default-src 'self'" in str(answer.getheader("Content-Security-Policy"))


def test_an_answer_does_not_wait_for_a_body_that_nobody_reads(attacked: Callable[..., str]) -> None:
    # Proves W6.
    url = attacked()

    with crowd(url, 1, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n") as [member]:
        answer = member.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_clients_that_read_nothing_hold_little_and_are_closed(attacked: Callable[..., str]) -> None:
    # Proves W6: each has asked for a megabyte.
    url = attacked()
    before = memory_bytes()

    with crowd(url, CROWD, A_LIST, buffer_bytes=4096):
        slow = slow_answers(url)
        held = memory_bytes() - before
    url = attacked(SOON)
    with crowd(url, CROWD, A_LIST, buffer_bytes=4096) as members:
        wait_until_closed(url, members)

    assert len(slow) <= 1
    assert held < MEMORY


def test_streams_take_nobodys_place(attacked: Callable[..., str]) -> None:
    # Proves W6: 200 streams, and the requests of others beside them.
    url = attacked()
    before = threading.active_count()

    streams = [Client(url) for _ in range(200)]
    slow = slow_answers(url)
    threads = threading.active_count()
    for stream in streams:
        stream.close()

    assert {stream.status for stream in streams} == {200}
    assert len(slow) <= 1
    assert threads - before <= 20


def test_readers_of_a_list_that_is_not_built_hold_up_nobody(tmp_path: Path) -> None:
    # Proves W6: 100 requests wait for a build, and the health is answered at once.
    builder = GatedBuilder(patience_s=PROCESS_S)
    with SessionListCache(builder, bus=Bus()) as cache:
        app = create_app(cache, HermesHome(tmp_path), settings=GatewaySettings(read_timeout_s=PROCESS_S))
        with GatewayServer(app) as server, crowd(server.url, 100, A_LIST) as members:
            builder.wait_for_calls(1)
            statuses = {status_of(server.url, "/api/health") for _ in range(20)}
            builder.open()
            answers = {member.recv(15) for member in members}

    assert statuses == {200}
    assert answers == {b"HTTP/1.1 200 OK"}
    assert builder.calls() == 1


def test_odd_views_push_out_no_view_that_is_polled(tmp_path: Path) -> None:
    # Proves W6: the command itself; 80 views, more than it holds, of a home whose builds take no time.
    make_sample_home(tmp_path / "home", sessions=10, seed=7)
    with served("--home", str(tmp_path / "home")) as (_, url):
        for _ in range(2):
            assert status_of(url) == 200
        odd = [status_of(url, f"/api/sessions?source_filter=odd{number}") for number in range(80)]
        connection = HTTPConnection(*address_of(url), timeout=PROCESS_S)
        connection.request("GET", LIST)
        answer = connection.getresponse()
        connection.close()

    assert set(odd) == {200}
    assert answer.headers["X-Hermes-Cache"] in {"hit", "stale"}


def test_an_attack_writes_few_lines(home: Path) -> None:
    # Proves W6: the command itself; more than 300 refusals.
    began_s = time.monotonic()
    with served("--home", str(home)) as (process, url):
        for says in (b"NONSENSE\r\n\r\n", b"GET /nothing?%b HTTP/1.1\r\n\r\n" % (b"x" * 20_000)):
            for _ in range(2):
                with crowd(url, CROWD, says) as members:
                    members[-1].recv(1)
        process.terminate()
        _, said = process.communicate(timeout=PROCESS_S)

    minutes = 1 + (time.monotonic() - began_s) // 60
    assert len(said.splitlines()) <= 50 * minutes


def rest_of(member: socket.socket) -> bytes:
    """Read to the end; nothing if the connection was cut."""
    received = b""
    with suppress(OSError):
        while part := member.recv(65_536):
            received += part
    return received


def wait_until_closed(url: str, members: list[socket.socket]) -> None:
    """Wait until the server has none of some connections any more; they are not read."""
    _, port = address_of(url)
    theirs = {member.getsockname()[1] for member in members}
    late = "connections whose client reads nothing are still open"
    # Less than the system's own bound of 30 s, which would do it in the server's place.
    until(lambda: not theirs & established_with(port), late, within_s=25.0)


def established_with(port: int) -> set[int]:
    """Return the remote ports of the connections that a server on this machine has."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split()[1:4] for line in lines]
    return {
        int(remote.partition(":")[2], 16)
        for local, remote, state in fields
        if int(local.partition(":")[2], 16) == port and state == "01"
    }
