"""A gateway as a user writes it, with all that is public: type checkers read it against the installed wheel."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette

from hermes_cache import (
    BuildError,
    Bus,
    Change,
    Following,
    Health,
    HermesCacheError,
    HermesHome,
    Interrupted,
    ListCache,
    LiveSession,
    Lookup,
    LookupTimeoutError,
    Patch,
    Payload,
    Policy,
    Rendered,
    SessionListCache,
    SessionListChanged,
    SessionListKey,
    Stats,
    Ticket,
    thaw,
)
from hermes_cache.integrations import asgi, wsgi
from hermes_cache.integrations.opentelemetry import HermesCacheInstrumentor
from hermes_cache.integrations.prometheus import CacheCollector
from hermes_cache.ports import Builder, Sources
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """A key of another kind of list."""

    owner: str
    name: str


def mails_in(folder: Folder) -> Mapping[str, object]:
    return {"mails": [{"id": 1, "subject": f"to {folder.owner}"}]}


def sessions_of(key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [{"session_id": "s1", "profile": key.profile}]}


def context_of(_key: SessionListKey) -> AbstractContextManager[object]:
    return nullcontext()


def live() -> Mapping[str, LiveSession]:
    return {"s1": LiveSession(active_stream_id="turn", extra={"attention": True})}


def hear(_sender: object, *, event: SessionListChanged) -> None:
    logger.info("%s %s %s", event.profile, event.session_id, event.reason)


class Gateway:
    """Serves session lists and mail folders."""

    def __init__(self, home: HermesHome, bus: Bus) -> None:
        self.bus = bus
        self.sessions = SessionListCache(
            home.builder,
            sources=home.sources,
            policy=Policy(ttl=5, poll_interval=10, max_entries=128),
            bus=bus,
            live_sessions=live,
            build_context=context_of,
            watch=home.watch,
        )
        self.mails = ListCache(mails_in, profile_of=lambda folder: folder.owner, rows="mails")
        self.bus.session_list_changed.connect(hear)

    def start(self) -> None:
        self.sessions.start()
        HermesCacheInstrumentor().instrument()

    def list_of(self, profile: str, ticket: str | None = None) -> object:
        key = SessionListKey(profile, show_cli=True, archived_limit=20)
        try:
            payload: Payload = self.sessions.get(key, timeout=2.0, freshness="fresh", at_least=ticket)
        except LookupTimeoutError:
            found: Lookup[Payload] | None = self.sessions.peek(key)
            return {} if found is None else thaw(found.payload)
        except BuildError as error:
            return {"error": str(error), "retry_in_s": error.retry_in_s}
        except HermesCacheError as error:
            return {"error": str(error)}
        return thaw(payload)

    def body_of(self, profile: str) -> tuple[bytes, str, bytes]:
        rendered: Rendered = self.sessions.render(SessionListKey(profile), envelope={"server_time": 1})
        return rendered.body, rendered.etag, rendered.encoded("gzip")

    def rename(self, profile: str, session_id: str) -> str:
        ticket: Ticket = self.sessions.invalidate(profile, "renamed", session_id)
        assert ticket.committed in (True, False, None)
        self.bus.session_list_changed.send(self, reason="renamed", profile=profile, session_id=session_id)
        self.bus.stream_started.send(self, stream_id="turn", profile=profile, session_id=session_id)
        return str(ticket)

    def followed(self, profile: str, since: str | None) -> str:
        following: Following = self.sessions.follow(SessionListKey(profile), since=since)
        edition = ""
        with following:
            for answer in following:
                match answer:
                    case Rendered() | Patch():
                        edition = answer.edition
                    case Interrupted():
                        logger.warning("%s %s %s", answer.error, answer.since_s, answer.retry_in_s)
                break
        return edition

    async def changes(self, profile: str) -> AsyncIterator[Change]:
        async for change in self.sessions.subscribe(profile):
            yield change

    async def both(self) -> tuple[Payload, Payload]:
        async with self.sessions:
            sessions = await self.sessions.aget(SessionListKey("work"))
            mails = await self.mails.aget(Folder("anna", "inbox"))
            return sessions, mails

    def told(self) -> tuple[Stats, Health, str]:
        explanation = self.sessions.explain(SessionListKey("work"))
        return self.sessions.stats(), self.sessions.health(), str(explanation)

    def metrics(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(CacheCollector({"sessions": self.sessions, "mails": self.mails}))
        return generate_latest(registry)

    def application(self) -> Starlette:
        return Starlette(routes=asgi.session_routes(self.sessions))

    def answer(self, environ: dict[str, object]) -> int:
        response = wsgi.respond(self.mails, Folder("anna", "inbox"), environ)
        return len(response)


def tested() -> None:
    builder: Builder = GatedBuilder(is_open=True)
    sources: Sources = VersionedSources()
    clock = ManualClock()
    with SessionListCache(builder, sources=sources, clock=clock) as cache:
        clock.advance(10.0)
        logger.info(cache.lookup(SessionListKey("work")).outcome)


if __name__ == "__main__":
    asyncio.run(Gateway(HermesHome("."), Bus()).both())
