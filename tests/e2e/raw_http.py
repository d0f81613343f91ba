"""Requests byte by byte, for what no HTTP client would send."""

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.waiting import PROCESS_S


@dataclass(frozen=True)
class RawAnswer:
    """One answer, as it came.

    Attributes:
        headers: The values of each header, by its name in small letters.
    """

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the only value of a header."""
        (value,) = self.headers[name]
        return value


def ask(url: str, *lines: str, body: bytes = b"", without_bodies: bool = False) -> list[RawAnswer]:
    """Send lines as they are, an empty one behind them, and return all answers until the server ends.

    Args:
        url: The address of the server.
        lines: The heads of one or more requests; the last should ask to close the connection.
        body: The body of the last request.
        without_bodies: Whether the answers have no bodies, whatever their length says: to HEAD.
    """
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PROCESS_S) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body)
        with connection.makefile("rb") as stream:
            return _answers(stream.read(), without_bodies=without_bodies)


def _answers(received: bytes, *, without_bodies: bool) -> list[RawAnswer]:
    answers: list[RawAnswer] = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", first)
        assert found, f"no answer begins with {first!r}"
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        status = int(found[1])
        has_body = not (without_bodies or status in {204, 304})
        length = int(headers.get("content-length", [str(len(rest))])[0]) if has_body else 0
        answers.append(RawAnswer(status, headers, rest[:length]))
        received = rest[length:]
    return answers
