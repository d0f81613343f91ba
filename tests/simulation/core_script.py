"""A core that a test steps by hand: messages in, answers and effects out. No thread, no clock."""

from collections.abc import Hashable, Iterable, Mapping
from math import inf
from typing import TypeVar

from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Answer, Effect, RunBuild, Served
from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged, StreamStarted, StreamStopped
from hermes_cache.core.messages import Built, Checked, Failed, Message, Publish, Recency, Tick
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness, Request
from hermes_cache.core.stamps import Check, Parts
from hermes_cache.core.state import Build, Read, State, Target
from hermes_cache.errors import HermesCacheError
from hermes_cache.payload.content import Content
from hermes_cache.sessions.keys import SessionListKey, reach_of
from hermes_cache.sessions.rows import freeze
from tests.contents import content_of

E = TypeVar("E", bound=Effect)


def target_of(profile: str = "default", *, watched: bool = False, **view: int) -> Target:
    """Return a key's target; keys of one profile share a scope."""
    key = SessionListKey(profile, **view)  # type: ignore[arg-type]  # flags and numbers
    return Target(key, reach_of(key), reach_of(key), watched)


def content(rows: Iterable[Mapping[str, object]] = (), **fields: object) -> Content:
    """Return the content of a payload."""
    return content_of(freeze({"sessions": list(rows), **fields}))


class CoreScript:
    """One cache's core, driven step by step.

    Attributes:
        policy: The bounds and spans.
        state: What it knows.
        now_s: The time; a test moves it.
        effects: What the last message asked for.
        answers: What each reader got, by its number, from 1.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.state = State()
        self.now_s = 100.0
        self.effects: tuple[Effect, ...] = ()
        self.answers: dict[Hashable, Served | HermesCacheError] = {}
        self._readers = 0
        self._events = 0

    def take(self, message: Message) -> tuple[Effect, ...]:
        """Let the core decide, and note whom it answers."""
        decision = decide(self.state, message, self.now_s, self.policy)
        self.state, self.effects = decision.state, decision.effects
        self.answers.update({effect.reader: effect.answer for effect in self.all_of(Answer)})
        return self.effects

    def wait(self, span_s: float) -> tuple[Effect, ...]:
        """Let time pass, and the core do what is due."""
        self.now_s += span_s
        return self.take(Tick())

    def all_of(self, kind: type[E]) -> list[E]:
        """Return the effects of one kind that the last message asked for."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def read(
        self,
        target: Target,
        freshness: Freshness = Freshness.DEFAULT,
        *,
        at_least: EventId | None = None,
        timeout_s: float = inf,
        builder: object = None,
    ) -> Read:
        """Hand in a read by the next reader."""
        self._readers += 1
        read = Read(self._readers, target, Request(self.now_s, freshness, timeout_s, builder, at_least))
        self.take(read)
        return read

    def served(self, read: Read) -> Served:
        """Return what a reader was served.

        Raises:
            AssertionError: It waits, or got an error.
        """
        answer = self.answers.get(read.reader)
        if not isinstance(answer, Served):
            raise AssertionError(f"reader {read.reader} was not served but got {answer!r}")  # noqa: TRY004 - a test's
        return answer

    def running(self, target: Target) -> Build:
        """Return the build of a key that is out of the queue."""
        build = self.state.builds[target.key]
        if build.began_s is None:
            raise AssertionError(f"the build of {target.key} is still queued")
        return build

    def finish(
        self,
        build: Build,
        made: Content | None = None,
        *,
        check: Check | None = None,
        moved: Iterable[str | None] = (),
        recency: Recency | None = None,
    ) -> Built:
        """Let a builder return, and give the message that said so; what was stored first counts as used first."""
        made = made or content()
        held = self.state.held_bytes + made.size_bytes
        took_s = self.now_s - (build.began_s or self.now_s)
        used = self.state.entries if recency is None else recency
        message = Built(build, made, check or Check(build.began_s or 0.0), took_s, held, frozenset(moved), used)
        self.take(message)
        return message

    def hold(self, target: Target, parts: Parts = (), *, took_s: float = 0.0) -> Build:
        """Have a key built and stored, its own check handed in as a build does; give the build."""
        self.read(target)
        build = self.running(target)
        check = Check(self.now_s, parts=parts)
        self.take(Checked(target, check, by_build=True))
        self.now_s += took_s
        self.finish(build, check=check)
        return build

    def fail(self, build: Build, cause: BaseException | None = None) -> Failed:
        """Let a builder raise, and give the message that said so."""
        cause = cause or OSError("locked")
        message = Failed(build, cause, str(cause))
        self.take(message)
        return message

    def check(
        self,
        target: Target,
        parts: Parts = (),
        *,
        began_s: float | None = None,
        read_since: bool = False,
        **found: bool,
    ) -> Checked:
        """Hand in a check, and give the message."""
        check = Check(self.now_s if began_s is None else began_s, parts=parts, **found)  # type: ignore[arg-type]  # flags only
        message = Checked(target, check, read_since=read_since)
        self.take(message)
        return message

    def publish(self, event: AppliedEvent, profile: str | None = None) -> AppliedEvent:
        """Apply an event."""
        self.take(Publish(event, profile))
        return event

    def invalidate(self, profile: str | None = None) -> AppliedEvent:
        """Say that a profile's lists changed, or all."""
        return self.publish(SessionListChanged(id=self.next_id(), at_s=0.0, profile=profile), profile)

    def start_stream(self, stream_id: str, profile: str | None = None) -> AppliedEvent:
        """Say that a turn began."""
        started = StreamStarted(id=self.next_id(), at_s=0.0, stream_id=stream_id, profile=profile)
        return self.publish(started, profile)

    def stop_stream(self, stream_id: str) -> AppliedEvent:
        """Say that a turn ended."""
        return self.publish(StreamStopped(id=self.next_id(), at_s=0.0, stream_id=stream_id))

    def next_id(self) -> EventId:
        """Return the next event's id."""
        self._events += 1
        return EventId("script", self._events)

    def started(self) -> list[Build]:
        """Return the builds that the last message started."""
        return [effect.build for effect in self.all_of(RunBuild)]
