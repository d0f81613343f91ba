"""The cache of lists of any kind: what a gateway calls.

Every public method may be called from any thread.
"""

import contextlib
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from math import inf
from typing import Unpack

from hermes_cache.arguments import check_type, text_or_none
from hermes_cache.bus.subscription import Subscription
from hermes_cache.bus.tickets import Ticket
from hermes_cache.cache.following import Following, Upstream
from hermes_cache.cache.holding_cache import HoldingCache
from hermes_cache.cache.life import ALIAS_WAIT_S
from hermes_cache.cache.lookups import Health, Lookup, Patch, Rendered, Stats, health_of, lookup_of, stats_of
from hermes_cache.cache.reads import (
    FollowOptions,
    ReadOptions,
    follow_options,
    remembered,
)
from hermes_cache.cache.running_cache import K
from hermes_cache.core.effects import Served
from hermes_cache.core.state import Entry
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import BuildError, CacheStoppedError
from hermes_cache.explain.explaining import Moment, explain
from hermes_cache.explain.explanations import Explanation
from hermes_cache.explain.overview import Overview, overview_of
from hermes_cache.logs import QuietLogger
from hermes_cache.payload.frozen import Json, P
from hermes_cache.rendering.bodies import Coding
from hermes_cache.rendering.views import View
from hermes_cache.threads.callables import no_builder
from hermes_cache.threads.loops import elsewhere
from hermes_cache.threads.starting import running_loop

logger = QuietLogger(__name__)


class ListCache(HoldingCache[K, P]):
    """Serves lists that are never slower than they must be and never older than they may be.

    For type checkers it is generic: `ListCache[OrderKey, OrderPage]` has keys of the one type and payloads of the
    other, such as a `TypedDict`; without the second, a payload is a `Payload`.

    Args:
        builder: Builds the payload of a key: a callable, for worker processes one that can be pickled, or its name
            as "package.module:function"; None if every read brings its own.
        profile_of: Returns the profile whose events touch a key; None if everybody's do. It depends on the key
            alone and must not wait: readers call it. None instead of a callable: all events touch every key.
        rows: The field of a payload that holds its list; None for payloads that are one piece.
        row_id: The field of a row that holds its id; each row must have one of its own.
        kind: What another class says of its keys and lists, instead of `profile_of`, `rows` and `row_id`.
        sources: Say whether what was built still holds: `ports.Sources`, or a callable that returns, for a key, a
            value that changes when its sources do. None if only events, streams and age outdate.
        policy: The bounds and spans; None for the defaults.
        bus: Where events come from; None for one of its own.
        journal: Keeps the events, for other processes and for later: a URL such as "sqlite:////path/to/journal.db",
            a journal, or None. A bus has one.
        executor: Where builders run: "threads", or "processes" that never hold this one's interpreter lock.
        is_root_profile: Says which names are aliases of the root profile.
        active_stream_ids: Lists streams that the bus may not know.
        settings_version: Returns a value that moves when settings change.
        watch: Notices that sources moved, as `HermesHome.watch`; None to look at those that are read or followed.
        build_context: Returns the context manager in which builders of a key run, a read's own too (B2); with
            worker processes one that can be pickled. None for nothing.
        reraise: Whether reads raise a copy of the builder's own error, not a `BuildError` with it as its cause.
        clock: The time; None for the machine's.

    Raises:
        JournalSetupError: The URL names no journal.
        TypeError: The builder cannot be called, or cannot be pickled and must be; a callable is a coroutine
            function; or the journal is none.
        ValueError: There is no such executor, no builder of that name, or the bus has another journal.

    Source: rule K5.
    """

    def get(self, key: K, **options: Unpack[ReadOptions]) -> P:
        """Return the payload of a key: a frozen dict, by reference.

        Raises:
            BuildError: The build failed, and nothing that may be served is held. Its `__cause__` is what the
                builder raised; with `reraise` a copy of that is raised instead.
            BuildTimeoutError: It took longer than `Policy.build_timeout`.
            LookupTimeoutError: This read waited its `timeout`.
            CacheBusyError: Too many wait already.
            CacheStoppedError: The cache was stopped.
            JournalUnavailableError: The read insists on what a journal tells, and it is away, or there is none.
            TypeError: There is no builder, or an option is of a wrong type.
            ValueError: An option has a value that cannot be.

        Source: rules R1 to R8, R11, J8.
        """
        content = self._serve(key, options).entry.content
        # Not through a function: a hit takes a microsecond. P is what the owner of the cache says.
        return content.payload if content.payload is not None else self._decoded(content)  # type: ignore[return-value]

    def lookup(self, key: K, **options: Unpack[ReadOptions]) -> Lookup[P]:
        """Return the payload that `get` returns, and how the read went (R9). Raises what `get` raises."""
        return self._lookup_of(self._serve(key, options))

    async def aget(self, key: K, **options: Unpack[ReadOptions]) -> P:
        """Do what `get` does without blocking the event loop."""
        content = (await self._aserve(key, options)).entry.content
        if content.payload is not None:
            return content.payload  # type: ignore[return-value]  # as in `get`
        return await self._prior.away.run(partial(self._decoded, content))

    async def alookup(self, key: K, **options: Unpack[ReadOptions]) -> Lookup[P]:
        """Do what `lookup` does without blocking the event loop; the payload is decoded by then."""
        served = await self._aserve(key, options)
        if served.entry.content.payload is None:
            await self._prior.away.run(partial(self._decoded, served.entry.content))
        return self._lookup_of(served)

    def peek(self, key: K) -> Lookup[P] | None:
        """Return what is held, from memory alone: no I/O, no wait, no build, no change of order (R10)."""
        life = self._life
        served = remembered(life, key) if life else None
        return self._lookup_of(served) if served else None

    def render(
        self, key: K, *, envelope: Mapping[str, Json] | None = None, **options: Unpack[ReadOptions]
    ) -> Rendered:
        """Return the response body, and its tag (O6). Raises what `get` raises.

        Args:
            key: The key to read.
            envelope: Fields that the body gets behind its own; they are no part of the tag, of editions and of
                patches (O7).
            options: How the read wants its answer.

        Raises:
            ValueError: The view has a field of that name, or a value is no JSON value.
        """
        return self._rendered(self._serve(key, options), envelope)

    async def arender(
        self, key: K, *, envelope: Mapping[str, Json] | None = None, **options: Unpack[ReadOptions]
    ) -> Rendered:
        """Do what `render` does without blocking the event loop: a body that must be made is made on a thread."""
        served = await self._aserve(key, options)
        do = partial(self._rendered, served, envelope)
        return do() if self._is_made(served.entry) else await self._prior.away.run(do)

    async def aencoded(self, found: Rendered | Patch, coding: Coding) -> bytes:
        """Do what `found.encoded` does without blocking the event loop: a body is compressed on a thread."""
        made = found.source.made(coding) if found.source else None
        return made if made is not None else await self._prior.away.run(partial(found.encoded, coding))

    def patch(self, key: K, *, since: str | None, **options: Unpack[ReadOptions]) -> Patch | Rendered:
        """Return what changed in a view since the `edition` of an earlier answer (D1); raises what `get` raises.

        The answer is the whole view if that edition is not kept, a row has no id of its own, or a patch would
        not be smaller.
        """
        check_type("since", since, str)
        return self._patched(since, self._serve(key, options))

    async def apatch(self, key: K, *, since: str | None, **options: Unpack[ReadOptions]) -> Patch | Rendered:
        """Do what `patch` does without blocking the event loop."""
        check_type("since", since, str)
        served = await self._aserve(key, options)
        do = partial(self._patched, since, served)
        return do() if self._is_made(served.entry) else await self._prior.away.run(do)

    def invalidate(
        self, profile: str | None = None, reason: str = "invalidated", session_id: str | None = None
    ) -> Ticket:
        """Publish `session_list_changed`, and return the event's ticket.

        Raises:
            EventError: An argument cannot be; nothing was published.
        """
        fields: dict[str, object] = {"profile": profile, "reason": reason, "session_id": session_id}
        return self._bus.session_list_changed.publish(self, fields)[1]

    async def ainvalidate(
        self, profile: str | None = None, reason: str = "invalidated", session_id: str | None = None
    ) -> Ticket:
        """Do what `invalidate` does without blocking the event loop, which a journal may do for `journal_wait`.

        Receivers are called on a thread of the cache. One that is cancelled waits no more; the event may be
        published all the same.
        """
        do = partial(self.invalidate, profile, reason, session_id)
        return await (elsewhere(do) if self._stopped else self._prior.publishing.run(do))

    def committed(self, ticket: str) -> bool | None:
        """Look again whether the journal has a ticket's event, and wait for that at most `Policy.journal_wait`.

        Args:
            ticket: A ticket of this process, or of another one that shares the journal.

        Returns:
            True once the event is in the journal. False if it never will be: it did not fit into the buffer, was
            refused, or another journal replaced the one that had it. None if nobody knows yet, and always without
            a journal.

        Raises:
            TypeError: The ticket is no text.
            ValueError: It is no ticket.

        Source: rule J8.
        """
        return self._membership.committed(ticket)

    async def acommitted(self, ticket: str) -> bool | None:
        """Do what `committed` does without blocking the event loop."""
        return await self._membership.acommitted(ticket)

    def subscribe(self, profile: str | None = None, since: str | None = None) -> Subscription:
        """Open a bounded queue of changes for a component outside (E7, E8).

        It may wait a second for a journal or an alias, and longer to read what was missed since a version; on an
        event loop, `asubscribe` does not.

        Args:
            profile: Hear of this profile, and of what concerns all; None for every profile. If its alias does not
                come back within a second, the name counts as it is given.
            since: The last version seen; what was missed since comes first, merged.
        """
        if not self._membership.is_current():
            self._membership.catch_up()
        check_type("since", since, str)
        # If its alias is not known in time, the subscriber must not hear of other profiles for that.
        canonical = self._canonical(profile) or text_or_none("profile", profile)
        subscription = self._feed.subscribe(canonical, since)
        self._membership.listen()
        self._watching.watch_wanted()
        return subscription

    async def asubscribe(self, profile: str | None = None, since: str | None = None) -> Subscription:
        """Do what `subscribe` does without blocking the event loop."""
        return await self._prior.away.run(partial(self.subscribe, profile, since))

    def follow(self, key: K, *, since: str | None = None, **options: Unpack[FollowOptions]) -> Following:
        """Follow a view: get it, and then what changes in it, without asking again (R13).

        Nothing waits here: the first `get` of the following reads as `get` of the cache does.

        Args:
            key: The key to follow.
            since: The `edition` of an earlier answer for this key: what changed since comes first.
            options: `builder` and `at_least` as for a read; the second one holds for the first answer.

        Raises:
            CacheBusyError: As many views are followed as `Policy.max_followers` allows.
            TypeError: There is no builder, or an option is of a wrong type.
            ValueError: `at_least` is no ticket.
        """
        given = follow_options(options)
        check_type("since", since, str)
        self._kind.check(key)
        if self._builder is None and given.get("builder") is None:
            raise no_builder()
        upstream = Upstream(
            living=self._living,
            serve=partial(self._serve, key, reraises=False),
            aserve=partial(self._aserve, key, reraises=False),
            answer=self._patched,
            may_miss_events=self._may_miss_events,
            look_s=self._policy.follow_interval if self._must_look() else inf,
            watch=self._watching.watch_wanted,
            away=lambda: self._prior.away,
        )
        following = Following(upstream, self._followers, key, since, given)
        self._membership.listen()
        return following

    def profile_of(self, key: K) -> str | None:
        """Return the profile whose events touch a key; None if everybody's do (K5).

        Raises:
            Exception: What the cache's own `profile_of` raises.
            TypeError: It is no key of this cache.
        """
        self._kind.check(key)
        reach = self._kind.reach(key, self._kind.profile_of(key))
        return None if reach == ALL_PROFILES else reach

    def overlay_changed(self, profile: str | None = None) -> None:
        """Say that what is live changed: those who follow a view get it at once, and not with the next look.

        Args:
            profile: The profile whose sessions changed; None for all.
        """
        # On a loop, an alias that is not known is not waited for: all look.
        patience_s = ALIAS_WAIT_S if running_loop() is None else 0.0
        self._followers.overlay_changed(None if profile is None else self._canonical(profile, patience_s))

    def explain(self, key: K) -> Explanation:
        """Say why a key is as it is, from memory alone; but off an event loop, an alias may be asked for."""
        life, state, targets = self._life, self._state(), self._prior.targets
        target = targets.known(key, state.settings)
        if target is None and running_loop() is None:
            with contextlib.suppress(BuildError, CacheStoppedError):
                target = targets.find(key, state.settings, ALIAS_WAIT_S)
        target = target or targets.unasked(key)
        now = Moment(self._clock.monotonic_s(), self._clock.wall_s())
        served = life.actor.counted_for(target.key) if life else {}
        return explain(state, target, self._policy, now, incarnation=self._bus.incarnation, served=served)

    def overview(self) -> Overview:
        """Tell of all that is held and done, from memory alone: entries, builds, events, streams and scopes."""
        life = self._life
        now = Moment(self._clock.monotonic_s(), self._clock.wall_s())
        served: Callable[[Hashable], Mapping[str, int]] = life.actor.counted_for if life else lambda _key: {}
        return overview_of(self._state(), self._policy, now, incarnation=self._bus.incarnation, served=served)

    def stats(self) -> Stats:
        """Return counts and sizes, without a lock or a wait; after a stop, the counts as of then (L4)."""
        life = self._life
        tally, dropped = (life.actor.tally(), life.notifier.dropped) if life else (self._prior.tally, 0)
        return stats_of(self._state(), tally, dropped, self._membership.status, followers=len(self._followers))

    def health(self) -> Health:
        """Say whether the cache does its work, without a lock or a wait (L4, X8)."""
        life = self._life
        failing: frozenset[str] = life.stamper.failing if life else frozenset()
        journal = self._membership.status
        missing: frozenset[str] = life.missing_threads if life else frozenset()
        return health_of(
            self._state(),
            self._policy,
            failing | self._failing_callables(),
            journal,
            running=life is not None,
            missing_threads=missing,
            now_s=self._clock.monotonic_s(),
            notes=(*(life.stamper.notes if life else ()), *self._watching.notes),
        )

    def _may_miss_events(self) -> bool:
        """Say whether events of other processes may be missed now."""
        status = self._membership.status
        return status is not None and status.failure is not None

    def _must_look(self) -> bool:
        """Say whether something matters to followers that nothing tells of."""
        return self._membership.has_journal or self._stamped.active_stream_ids is not None

    def _lookup_of(self, served: Served) -> Lookup[P]:
        return lookup_of(served, self._clock.monotonic_s(), self._decoded, self._membership.status)

    def _rendered(self, served: Served, envelope: Mapping[str, Json] | None = None) -> Rendered:
        view = self._view_of(served.entry)
        self._editions.hand_out(view, self._settings_of(served.entry))
        return Rendered.of(view.response_with(envelope) if envelope else view.response, self._lookup_of(served))

    def _patched(self, since: str | None, served: Served) -> Patch | Rendered:
        view = self._view_of(served.entry)
        body = self._editions.patch(view, since, self._settings_of(served.entry))
        found = self._lookup_of(served)
        return Rendered.of(view.response, found) if body is None else Patch.of(body, found)

    def _is_made(self, entry: Entry) -> bool:
        """Say whether the body of an entry is remembered, and its edition kept."""
        view = self._made_view_of(entry)
        return view is not None and view.is_joined and self._editions.keeps(view, self._settings_of(entry))

    def _view_of(self, entry: Entry) -> View:
        """Return the view of an entry."""
        return self._views.of(entry.target.key, entry.content)

    def _made_view_of(self, entry: Entry) -> View | None:
        """Return the view of an entry if it is remembered, without a wait."""
        return self._views.made(entry.target.key, entry.content)

    def _settings_of(self, entry: Entry) -> Hashable:
        """Return what ends all editions when it changes (X12)."""
        return self._state().settings, entry.stamp.settings

    def _failing_callables(self) -> frozenset[str]:
        """Name the callables of this kind of list that failed when they were last called."""
        return frozenset()
