"""A gateway over a sample home and a real cache, in this process, for tests that ask it over a real socket."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from hermes_cache.gateway.server import GatewayServer
from hermes_cache.sessions.session_list_cache import SessionListCache
from tests.waiting import PROCESS_S


@dataclass(frozen=True)
class Answer:
    """What a gateway answered."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, parsed."""
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def rows(self) -> list[dict[str, object]]:
        """The rows of the list in the body."""
        rows = self.json["sessions"]
        assert isinstance(rows, list)
        return rows


@dataclass(frozen=True)
class Site:
    """A gateway that runs."""

    home: Path
    cache: SessionListCache
    server: GatewayServer

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Send a request and return the answer."""
        connection = self.connect()
        try:
            connection.request(
                method, path, headers={name.replace("_", "-"): each for name, each in headers.items()}
            )
            response = connection.getresponse()
            return Answer(response.status, Headers(dict(response.getheaders())), response.read())
        finally:
            connection.close()

    def connect(self) -> HTTPConnection:
        """Open a connection."""
        where = urlsplit(self.server.url)
        return HTTPConnection(where.hostname or "", where.port, timeout=PROCESS_S)
