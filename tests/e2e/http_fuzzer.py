"""Sends odd requests to a gateway over sockets, by a seed, and counts what it answers.

It mixes requests that are nearly right: methods, targets, versions, headers, bodies and pieces of bytes, several
of them on one connection, cut off or in two parts.
`python -m tests.e2e.http_fuzzer URL COUNT SEED` prints the counts.
"""

import random
import re
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlsplit

_PATHS: Final = (
    "/", "/api/sessions", "/api/sessions/events", "/api/sessions/follow", "/api/explain", "/api/cache",
    "/api/health", "/api/ready", "/api/openapi.json", "/sign-in", "/page/index.html",
    "/page/../../settings.py", "/page/%2e%2e/%2e%2e/x",
    "/nothing", "*", "//evil.example/x", "http://evil.example/", "/%00", "/api/sessions/", "/a" * 200, "",
)  # fmt: skip
_METHODS: Final = ("GET",) * 40 + (
    "HEAD",
    "OPTIONS",
    "POST",
    "PUT",
    "DELETE",
    "TRACE",
    "CONNECT",
    "get",
    "G\x00T",
    "",
)
_VERSIONS: Final = ("HTTP/1.1",) * 40 + ("HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/1.1x", "")
_NAMES: Final = (
    "profile", "all_profiles", "show_cli", "visible_only", "source_filter", "sidebar_source", "archived_limit",
    "archived_offset", "agent_limit", "since", "token", "", "x" * 300, "\u2028", "%",
)  # fmt: skip
_VALUES: Final = (
    "1", "0", "true", "", "default", "work", "nobody", "../../etc/passwd", "-1", "1e9", "9" * 400, "\x00",
    "\ud7ff", "a" * 3_000, "'; DROP TABLE sessions; --", "<script>alert(1)</script>", "\u0663", "all", "NaN",
)  # fmt: skip
_HEADERS: Final = (
    "If-None-Match: *", 'If-None-Match: "x", W/"y"', "If-None-Match: " + '"a",' * 500,
    "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip;q=x, *;q=0", "Accept-Encoding: " + "br," * 900,
    "Range: bytes=0-", "Range: bytes=9-1,-0", "Range: bytes=" + "0-0," * 300, "Content-Length: 5",
    "Content-Length: -1", "Content-Length: 100000000000", "Content-Length: 1\r\nContent-Length: 2",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Expect: 100-continue", "Expect: what",
    "Upgrade: websocket\r\nConnection: upgrade", "Upgrade: h2c", "Host: evil.example", "Host: ", "Host: [::1",
    "Origin: null", "Origin: http://127.0.0.1:1", "Cookie: a=b; \x7f", "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: navigate", "Authorization: Bearer \xff", "Last-Event-ID: \xe9",
    "Last-Event-ID: " + "1" * 500, "X-Forwarded-For: 10.0.0.1", "Connection: keep-alive", "A" * 9_000 + ": b",
    "NoColon", ": none", " folded: x", "X: a\r\n b", "X:\tb\x0b", "Accept: text/html", "X: " + "y" * 20_000,
)  # fmt: skip
_COUNTS: Final = (0, 0, 0, 1, 1, 2, 3, 80)
"""Of parameters."""

_QUIET_S: Final = 0.5
"""A gateway that says nothing for so long waits for the rest of a request."""

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Fuzzer:
    """A source of odd connections.

    Args:
        url: The address of the gateway.
        seed: The same seed sends the same bytes.

    Attributes:
        sent: How many requests were sent.
        statuses: How many answers had each status; 0 counts the connections that got none.
    """

    def __init__(self, url: str, seed: int) -> None:
        where = urlsplit(url)
        self._address = (where.hostname or "", where.port or 80)
        self._random = random.Random(seed)
        self._last = f"GET /api/ready HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode()
        self.sent = 0
        self.statuses: Counter[int] = Counter()

    def run(self, count: int) -> None:
        """Send at least so many requests."""
        while self.sent < count:
            requests = [self._request() for _ in range(self._random.choice((1, 1, 2, 5)))]
            self.sent += len(requests)
            found = _STATUS.findall(self._exchange(b"".join(requests)))
            self.statuses.update([int(status) for status in found] or [0])

    def _exchange(self, sent: bytes) -> bytes:
        received = bytearray()
        cut = self._random.randrange(len(sent) + 1) if self._random.random() < 0.3 else len(sent)
        with socket.create_connection(self._address, timeout=_QUIET_S) as connection, suppress(ConnectionError):
            connection.sendall(sent[:cut])
            if self._random.random() < 0.5:
                connection.sendall(sent[cut:])
            connection.sendall(self._last)
            with suppress(TimeoutError):
                while part := connection.recv(65_536):
                    received += part
        return bytes(received)

    def _request(self) -> bytes:
        draw = self._random
        if draw.random() < 0.02:
            return draw.randbytes(draw.randrange(1, 400))
        target = draw.choice(_PATHS) + self._query()
        first = f"{draw.choice(_METHODS)} {target} {draw.choice(_VERSIONS)}"
        headers = [] if draw.random() < 0.02 else [f"Host: {self._address[0]}:{self._address[1]}"]
        headers += draw.sample(_HEADERS, draw.choice((0, 0, 0, 1, 1, 3)))
        whole = "\r\n".join([first, *headers, "", ""]).encode("latin-1", "replace")
        body = draw.choice((b"", b"", b"", b"token=x", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"\x00" * 2_000))
        return self._spoiled(whole) + body

    def _query(self) -> str:
        draw = self._random
        pairs = [(draw.choice(_NAMES), draw.choice(_VALUES)) for _ in range(draw.choice(_COUNTS))]
        spelled = (
            (lambda text: text) if draw.random() < 0.1 else lambda text: quote(text, safe="", errors="replace")
        )
        return ("?" + "&".join(f"{spelled(name)}={spelled(value)}" for name, value in pairs)) if pairs else ""

    def _spoiled(self, request: bytes) -> bytes:
        draw = self._random
        if draw.random() < 0.93:
            return request
        spoiled = bytearray(request)
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(len(spoiled))
            spoiled[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
        return bytes(spoiled)


def fuzz(url: str, count: int, seed: int, *, at_once: int = 8) -> Counter[int]:
    """Send so many requests from several threads, and return how many answers had each status."""
    fuzzers = [Fuzzer(url, seed * at_once + number) for number in range(at_once)]
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(lambda fuzzer: fuzzer.run(count // at_once), fuzzers))
    return sum((fuzzer.statuses for fuzzer in fuzzers), Counter())


def main(url: str, count: str, seed: str) -> None:
    """Send requests, and print the counts."""
    statuses = fuzz(url, int(count), int(seed))
    sys.stdout.write(f"{count} requests; answers by status: {dict(sorted(statuses.items()))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
