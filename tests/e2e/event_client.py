"""A client of event streams, as a browser's EventSource is one."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    fields: dict[str, object]


class Client:
    """An EventSource: reads events, passes comments over but counts them."""

    def __init__(self, url: str, path: str = "/api/sessions/events", last_event_id: str | None = None) -> None:
        where = urlsplit(url)
        self._connection = HTTPConnection(where.hostname or "", where.port, timeout=10)
        self._connection.request("GET", path, headers={"Last-Event-ID": last_event_id} if last_event_id else {})
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.content_type = self._response.headers["Content-Type"]
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

    def rest(self) -> bytes:
        return self._response.read()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
