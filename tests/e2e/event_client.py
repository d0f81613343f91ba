"""A client of event streams, as a browser's EventSource is one."""

import json
import zlib
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Self
from urllib.parse import urlsplit

from tests.waiting import PROCESS_S


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    fields: dict[str, object]


class _Unpacked(RawIOBase):
    """What a compressed stream says, as soon as it arrives."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.packer = zlib.decompressobj(wbits=31)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # it is given one
        while not self._left:
            sent = self._response.read1(65_536)
            if not sent:
                return 0
            self._left = self.packer.decompress(sent)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


class Client:
    """An EventSource: reads events, passes comments over but counts them.

    Args:
        url: Of the gateway.
        path: Of the stream.
        last_event_id: The last event that it saw.
        encoding: What it says that it can read.
    """

    def __init__(
        self,
        url: str,
        path: str = "/api/sessions/events",
        last_event_id: str | None = None,
        encoding: str = "identity",
    ) -> None:
        where = urlsplit(url)
        self._connection = HTTPConnection(where.hostname or "", where.port, timeout=PROCESS_S)
        headers = {"Accept-Encoding": encoding} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        self.encoding = response.headers["Content-Encoding"] or "identity"
        self._unpacked = _Unpacked(response)
        self._response = BufferedReader(self._unpacked) if self.encoding == "gzip" else response
        self.headers = response.headers
        self.status = response.status
        self.content_type = response.headers["Content-Type"]
        self.heartbeats = 0

    def next(self) -> Event | None:
        """Return the next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self._response.readline().decode():
            name, _, value = line.rstrip("\n").partition(":")
            fields[name] = value.strip()
            if line == "\n" and "data" in fields:
                return Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            if line == "\n":
                self.heartbeats += "" in fields
                fields = {}
        return None

    def await_heartbeats(self, count: int) -> None:
        """Read on until so many came; there is no event so far."""
        while self.heartbeats < count:
            line = self._response.readline()
            assert line, "the stream ended"
            self.heartbeats += line.startswith(b":")

    def rest(self) -> bytes:
        return self._response.read()

    @property
    def is_whole(self) -> bool:
        """Whether a compressed stream has come to its end, and its checksum is right."""
        return self._unpacked.packer.eof

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
