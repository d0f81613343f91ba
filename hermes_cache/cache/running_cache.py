"""A cache that runs: the parts put together, from a start to a stop, and how it reads and hears events.

Only here are the rooms wired. Every method may be called from any thread.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Generic, Literal, Self
from uuid import uuid4

from typing_extensions import TypeVar

from hermes_cache import ports
from hermes_cache.actors.notifier import Notifier
from hermes_cache.arguments import check_port, check_type, text_or_none, timeout_s
from hermes_cache.builders.executors import executors
from hermes_cache.bus.feed import Feed
from hermes_cache.cache.bus_link import BusLink
from hermes_cache.cache.editions import Editions
from hermes_cache.cache.followers import Followers
from hermes_cache.cache.life import ALIAS_WAIT_S, Life, Prior
from hermes_cache.cache.membership import Membership
from hermes_cache.cache.reads import (
    ReadOptions,
    aserve,
    request_of,
    serve,
)
from hermes_cache.cache.stamper import Stamped, Stamper, sources_of
from hermes_cache.cache.targets import ListKind, Targets
from hermes_cache.cache.watching import Watching
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Served, Tell
from hermes_cache.core.events import AppliedEvent, profile_of
from hermes_cache.core.messages import Publish
from hermes_cache.core.notices import EntryStored
from hermes_cache.core.policy import Policy, policy_or_default
from hermes_cache.core.requests import Request
from hermes_cache.core.state import State
from hermes_cache.errors import CacheStoppedError, CallBlockedError
from hermes_cache.journal.bus import Bus
from hermes_cache.logs import QuietLogger
from hermes_cache.payload.content import Content
from hermes_cache.payload.frozen import Json, P
from hermes_cache.payload.rows import ListShape
from hermes_cache.rendering.views import PlainViews
from hermes_cache.threads.aside import aside
from hermes_cache.threads.callables import Inside, is_coroutine_function, no_builder
from hermes_cache.threads.coroutines import Coroutines
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.loops import Away, elsewhere
from hermes_cache.threads.starting import refuse_late_patch
from hermes_cache.tracing import tracing

logger = QuietLogger(__name__)

K = TypeVar("K", bound=Hashable, default=Any)


class RunningCache(Generic[K, P]):
    """Starts, stops, hears events and reads. `ListCache` adds what a gateway calls and explains the arguments."""

    _life: Life | None
    _ending: Life | None
    _prior: Prior
    _home: asyncio.AbstractEventLoop | None
    _inherited: tuple[object, ...] = ()

    def __init__(  # noqa: PLR0913 - each is one thing that a gateway may have
        self,
        builder: Callable[[K], Mapping[str, Json] | Awaitable[Mapping[str, Json]]] | str | None = None,
        *,
        profile_of: Callable[[K], str | None] | None = None,
        rows: str | None = None,
        row_id: str = "id",
        kind: ListKind | None = None,
        sources: ports.Sources | ports.StampOf | None = None,
        policy: Policy | None = None,
        bus: Bus | None = None,
        journal: str | ports.Journal | None = None,
        executor: Literal["threads", "processes"] = "threads",
        is_root_profile: ports.IsRootProfile | None = None,
        active_stream_ids: ports.ActiveStreamIds | None = None,
        settings_version: ports.SettingsVersion | None = None,
        watch: ports.Watch | None = None,
        build_context: ports.BuildContext | None = None,
        reraise: bool = False,
        clock: ports.Clock | None = None,
    ) -> None:
        refuse_late_patch()
        check_type("bus", bus, Bus)
        check_port("clock", clock, ports.Clock, "a clock, or None")
        check_type("rows", rows, str)
        check_type("row_id", row_id, str)
        self._builder = builder
        self._reraise = reraise
        self._identity = object()
        self._policy = policy_or_default(policy)
        self._kind = kind or ListKind(profile_of, ListShape(rows, row_id, needs_ids=rows is not None))
        self._new_executor = executors(executor, builder, self._policy.pool_size, self._kind.shape, build_context)
        self._clock: ports.Clock = clock or ports.SystemClock()
        self._bus = Bus() if bus is None else bus
        self._builds_here = executor == "threads"
        known_sources = sources_of(sources)
        self._stamped = Stamped(known_sources, active_stream_ids, settings_version)
        self._new_targets = partial(
            Targets, self._kind, known_sources, is_root_profile, watched=bool(self._stamped)
        )
        self._feed = self._new_feed()
        self._followers = Followers(self._policy.max_followers)
        self._watching = Watching(watch, lambda: self._life, self._feed, self._followers)
        self._new_membership = partial(
            Membership, self._bus, journal, self._policy, self._clock, self._feed, followers=self._followers
        )
        self._membership = self._new_membership()
        self._new_editions = partial(Editions, self._kind.shape, self._policy.max_edition_bytes)
        self._views = PlainViews(self._policy.max_entries)
        self._stopped, self._stops = False, 0
        self._begin()
        self._link = self._new_link()
        self._link.connect()
        after_fork_in_child(self._start_anew)

    @property
    def bus(self) -> Bus:
        """Where its events come from, and where monitors hear of its work."""
        return self._bus

    def start(self) -> None:
        """Start the threads; a running cache stays as it is. A `stop` that interrupts it wins."""
        aside.do(partial(self._start, self._stops), inf)

    def stop(self) -> None:
        """Let waiting readers go with `CacheStoppedError`, and end all threads but those of abandoned builds.

        It waits at most `Policy.stop_timeout`. It may be called from a receiver, and from a signal handler: what
        the interrupted call holds is not waited for longer, and the stop is done once that call goes on. A second
        call finishes what the first could not. Source: rule L1.
        """
        self._stops += 1
        with contextlib.suppress(CallBlockedError):
            aside.do(self._stop, self._policy.stop_timeout)
        aside.end_threads()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        """Start without blocking the event loop, and run coroutines of builders and sources on it."""
        self._home = asyncio.get_running_loop()
        if self._life is None:
            try:
                await elsewhere(partial(self._start, self._stops))
            except BaseException:
                # Nobody leaves what nobody entered: what was begun ends by itself.
                self._home = None
                self._stops += 1
                aside.begin(self._stop)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop without blocking the event loop, and wait for the coroutines that the stop cancelled."""
        self._stops += 1
        coroutines = self._coroutines
        await elsewhere(self._stop)
        aside.end_threads(0.0)
        self._home = None
        await coroutines.ended(self._policy.stop_timeout)

    def _start(self, stops: int) -> None:
        refuse_late_patch()
        with self._lock:
            if self._life is not None or self._stops != stops:
                return
            if self._stopped:
                # Another process may have said that settings changed: aliases are asked for anew.
                self._prior = self._new_prior(self._prior.state)
                self._membership = self._new_membership()
                self._stopped = False
                self._link.connect()
            membership, self._coroutines = self._membership, self._new_coroutines()
            limit_s = self._policy.build_timeout
            self._life = Life(
                self._prior,
                self._watching.check_policy(self._policy),
                self._clock,
                stamper=Stamper(self._clock, self._inside, self._stamped, self._coroutines, limit_s),
                executor=self._new_executor(self._coroutines),
                notifier=Notifier(self._announce),
                owner=self._kind.shape.owner,
            )
        # Without the lock: what others said is applied meanwhile.
        membership.enter()
        membership.learn_streams(self._apply)
        # For those who subscribed before it.
        self._watching.watch_wanted()

    def _stop(self) -> None:
        with self._lock:
            # First of all: a read that finds no life any more does not start the cache again.
            was_stopped, self._stopped = self._stopped, True
            if self._life is not None:
                self._ending, self._life = self._life, None
                tally = self._ending.actor.tally()
                self._prior = replace(self._prior, state=self._ending.state.before_a_start(), tally=tally)
            # All of it under the lock: a start that comes next finds a stop that is over.
            if not was_stopped:
                self._link.disconnect()
                self._feed.close()
                self._watching.close()
            ending, membership, prior = self._ending, self._membership, self._prior
        ends_at_s = self._clock.monotonic_s() + self._policy.stop_timeout
        helpers = (prior.targets, prior.away, prior.publishing)
        for each in helpers:
            # Those who wait there are let go at once.
            each.stop(0.0)
        ended = [ending is None or ending.stop(self._policy.stop_timeout)]
        leaves = (membership.leave, *[each.stop for each in helpers])
        ended += [leave(max(0.0, ends_at_s - self._clock.monotonic_s())) for leave in leaves]
        if all(ended):
            self._ending = None
        else:
            logger.warning("hermes_cache.stopped_late", extra={"hermes_cache.waited_s": self._policy.stop_timeout})

    def _serve(self, key: K, options: ReadOptions, *, reraises: bool = True) -> Served:
        life = self._life or self._living()
        if not options:
            if not (self._membership.is_current() or life.runner.is_inside()):
                self._membership.catch_up()
            target = life.targets.known(key, life.state.settings)
            served = life.hit(target) if target else None
            if served is not None:
                return served
            request = self._request(life, key, options)
        else:
            request = self._request(life, key, options)
            if not life.runner.is_inside():
                self._membership.admit(key, request)
        blocks, reraises = self._blocks(request), reraises and self._reraise
        return serve(life, key, request, self._coroutines, reraises=reraises, blocks=blocks)

    async def _aserve(self, key: K, options: ReadOptions, *, reraises: bool = True) -> Served:
        life = self._life
        if life is None:
            life = self._living() if self._stopped else await self._prior.away.run(self._living)
        if _takes_hits(options) and (self._membership.is_current() or life.runner.is_inside()):
            target = life.targets.known(key, life.state.settings)
            served = life.hit(target) if target else None
            if served is not None:
                return served
        request = self._request(life, key, options)
        if not life.runner.is_inside():
            await self._membership.aadmit(key, request, self._prior.away)
        return await aserve(life, key, request, self._prior.away, reraises=reraises and self._reraise)

    def _request(self, life: Life, key: K, options: ReadOptions) -> Request:
        """Check what a caller asks for."""
        refuse_late_patch()
        request, builder = request_of(options, self._clock.monotonic_s()), options.get("builder")
        if self._builder is None and builder is None:
            raise no_builder()
        if builder is not None:
            life.runner.check(builder)
        tracer = tracing.tracer
        return request if tracer is None else replace(request, trace=tracer.read(key))

    def _blocks(self, request: Request) -> bool:
        """Say whether a read that waits on this thread keeps the builder's coroutine from running."""
        if not (self._builds_here and self._coroutines.is_home()):
            return False
        return self._coroutines.builders_await or is_coroutine_function(request.builder or self._builder)

    def _decoded(self, content: Content) -> P:
        life = self._life
        if life is None:
            return content.decoded()  # type: ignore[return-value]  # P is what the owner of the cache says
        return aside.do(partial(life.decoded, content), inf)  # type: ignore[return-value]  # likewise

    def _living(self) -> Life:
        """Return this life; a read before `start` starts one (L1)."""
        if self._life is None and not self._stopped:
            self.start()
        life = self._life
        if life is None:
            raise CacheStoppedError
        return life

    def _state(self) -> State:
        life = self._life
        return life.state if life else self._prior.state

    def _missed_since(self, position: ports.Position) -> list[AppliedEvent] | None:
        return self._membership.missed_since(position)

    def _canonical(self, profile: str | None, patience_s: float = ALIAS_WAIT_S) -> str | None:
        name = text_or_none("profile", profile)
        return None if name is None else self._prior.targets.canonical(name, self._state().settings, patience_s)

    def _apply(self, event: AppliedEvent) -> None:
        """Apply an event: the bus calls this before anybody hears of it (E5)."""
        life = self._life or self._foresee(event)
        while life is not None:
            with contextlib.suppress(CacheStoppedError):
                life.publish(event, profile_of(event))
            if self._life is life:
                return
            # That one was stopped meanwhile: what comes after it must know of the event too.
            life = self._life or self._foresee(event)

    def _foresee(self, event: AppliedEvent) -> Life | None:
        """Apply an event to what a start begins with; if a start came first, return its life instead."""
        # Without the lock: an alias may take its time.
        profile = self._canonical(profile_of(event))
        with self._lock:
            if self._life is None:
                message = Publish.at(event, profile, self._clock.wall_s())
                now_s = self._clock.monotonic_s()
                decision = decide(self._prior.state, message, now_s, self._policy)
                self._prior = replace(self._prior, state=decision.state)
            return self._life

    def _announce(self, announced: object) -> None:
        self._link.announce(announced)
        if isinstance(announced, Tell) and isinstance(announced.notice, EntryStored):
            self._watching.watch_new_scopes()

    def _new_coroutines(self) -> Coroutines:
        return Coroutines(self._inside, lambda: self._home)

    def _new_link(self) -> BusLink:
        apply, canonical = self._apply, self._canonical
        return BusLink(self._bus, self._feed, self._clock, apply=apply, canonical=canonical, sender=self)

    def _new_feed(self) -> Feed:
        size, missed_since = self._policy.subscription_size, self._missed_since
        return Feed(uuid4().hex, size=size, missed_since=missed_since, canonical=self._canonical)

    def _new_prior(self, state: State) -> Prior:
        return Prior(state, self._new_targets(self._inside), Away(), Away())

    def _start_anew(self) -> None:
        """Begin anew in a forked child: with no entry, no thread and no lock that the parent held (L2).

        What was inherited is neither used nor freed.
        """
        self._inherited = (*self._inherited, self._life, self._ending, self._prior, self._editions)
        self._followers.forget()
        self._watching.forget()
        self._begin()

    def _begin(self) -> None:
        """Have nothing yet: no entry, no thread, no lock that anybody holds."""
        self._editions = self._new_editions()
        self._lock = threading.RLock()
        self._life = self._ending = None
        self._inside = Inside()
        self._home = None
        self._coroutines = self._new_coroutines()
        self._prior = self._new_prior(State())


def _takes_hits(options: ReadOptions) -> bool:
    """Return whether a read asks for nothing but an answer in time, so that a remembered hit answers it.

    Raises:
        TypeError: The timeout is no number.
        ValueError: It is negative or NaN.
    """
    if "timeout" in options:
        timeout_s(options["timeout"])
    return options.keys() <= {"timeout", "freshness"} and options.get("freshness", "default") == "default"
