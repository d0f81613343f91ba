"""A gateway over rows that a test holds, so that its page shows exactly these, however many."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes_cache import Bus, HermesHome, Policy, SessionListCache
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.listening import listener
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_process import free_port

Row = dict[str, Any]


def row(number: int, **fields: object) -> Row:
    """Return a session that is the older the higher its number."""
    at_s = time.time() - number * 600.0
    plain = {
        "session_id": f"session-{number:05d}",
        "title": f"Session {number}",
        "display_title": f"Session {number}",
        "source_label": ("CLI", "Cron", "Telegram")[number % 3],
        "profile": "default",
        "project_id": None,
        "message_count": number % 50,
        "last_message_at": at_s,
        "pinned": False,
        "archived": False,
        "model": "hermes-4-405b",
    }
    return {**plain, **fields}


@dataclass
class PageSite:
    """A gateway whose lists are the rows of a test, for every view.

    Attributes:
        home: A home; only its settings are read.
        rows: What is listed. A test that changes them says so with `changed`.
        origins: Where browsers see it behind a proxy.
        max_streams: As many event streams may be open.
        before_build: Called by each build before it reads the rows.
    """

    home: Path
    rows: list[Row]
    max_streams: int = 100
    port: int = field(default_factory=free_port)
    origins: tuple[str, ...] = ()
    before_build: Callable[[], None] = lambda: None
    cache: SessionListCache = field(init=False)
    server: GatewayServer = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    def start(self) -> None:
        """Start it, at its port."""
        policy = Policy(stop_timeout=2.0, max_build_duty=1.0)
        self.cache = SessionListCache(self.build, bus=Bus(), policy=policy)
        settings = GatewaySettings(max_streams=self.max_streams, origins=self.origins)
        app = create_app(self.cache, HermesHome(self.home), settings=settings)
        self.server = GatewayServer(app, bound=listener("127.0.0.1", self.port))
        self.cache.start()
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()
        self.cache.stop()

    def build(self, _key: object) -> Mapping[str, object]:
        """Return the rows, the newest first."""
        self.before_build()
        return {"sessions": sorted(self.rows, key=lambda each: -each["last_message_at"])}

    def changed(self, rows: Sequence[Row] | None = None) -> None:
        """List other rows from now on, or the same after they were changed."""
        if rows is not None:
            self.rows = list(rows)
        self.cache.invalidate("default", reason="test")
