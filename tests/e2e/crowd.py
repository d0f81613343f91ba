"""What attacks a gateway in tests: many connections of one kind, and a well-behaved client beside them."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tests.waiting import WAIT_S

_HELD_UP_S = 5.0

LIST = "/api/sessions?visible_only=0&show_cli=1"


def address_of(url: str) -> tuple[str, int]:
    """Return where a gateway listens."""
    where = urlsplit(url)
    return where.hostname or "", where.port or 0


@contextmanager
def crowd(
    url: str, count: int, says: bytes = b"", *, buffer_bytes: int | None = None
) -> Iterator[list[socket.socket]]:
    """Open connections that each say something, and close them at the end.

    Args:
        buffer_bytes: How much the system takes for each of them while it reads nothing; None for the usual.
    """
    members: list[socket.socket] = []
    try:
        for _ in range(count):
            member = socket.socket()
            members.append(member)
            member.settimeout(WAIT_S)
            if buffer_bytes is not None:
                member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            member.connect(address_of(url))
            # A server that is full may have closed it already.
            with suppress(OSError):
                member.sendall(says)
        yield members
    finally:
        for member in members:
            member.close()


def slow_answers(url: str, asked: int = 100) -> list[float]:
    """Ask for the list as a front end does, each time on a new connection; return how long the slow answers took.

    No answer at all counts as slow. An attack that holds up others does so until its deadline, which is 10 s at
    least; a busy machine lets one client of a hundred wait for half of that.
    """
    slow: list[float] = []
    for _ in range(asked):
        began_s = time.monotonic()
        status = status_of(url)
        took_s = time.monotonic() - began_s
        if status != 200 or took_s > _HELD_UP_S:
            slow.append(took_s)
        if len(slow) > 1:
            break
    return slow


def status_of(url: str, path: str = LIST) -> int | None:
    """Ask once; None if there is no answer."""
    connection = HTTPConnection(*address_of(url), timeout=WAIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (HTTPException, OSError):
        return None
    else:
        return answer.status
    finally:
        connection.close()


def still_open(members: list[socket.socket], within_s: float) -> int:
    """Read what comes until the server has closed all connections, at most so long; return how many are open."""
    ends_at_s = time.monotonic() + within_s
    left = list(members)
    while left and time.monotonic() < ends_at_s:
        member = left.pop()
        member.settimeout(max(0.05, min(1.0, ends_at_s - time.monotonic())))
        try:
            if member.recv(65_536):
                left.append(member)
        except TimeoutError:
            left.insert(0, member)
        except OSError:
            pass
    return len(left)


def memory_bytes(process: int | str = "self") -> int:
    """Return what a process holds in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096
