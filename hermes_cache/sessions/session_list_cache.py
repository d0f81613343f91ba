"""The cache of session lists: the cache of any list, with the key of a session list and with what is live.

Source: rules K1 to K4, O1 to O6.
"""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Literal

from hermes_cache import ports
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.targets import ListKind
from hermes_cache.core.policy import Policy, policy_or_default
from hermes_cache.core.state import Entry
from hermes_cache.errors import shown
from hermes_cache.journal.bus import Bus, default_bus
from hermes_cache.payload.frozen import Payload
from hermes_cache.rendering.views import View
from hermes_cache.sessions.keys import SessionListKey, reach_of
from hermes_cache.sessions.overlay import Live
from hermes_cache.sessions.renderer import Renderer
from hermes_cache.sessions.rows import SESSION_LIST


class SessionLists(ListKind):
    """What the cache must know about session lists: builders get keys with their canonical profile (K3)."""

    def __init__(self) -> None:
        super().__init__(shape=SESSION_LIST)

    def check(self, key: object) -> None:
        """Raise `TypeError` if it is no `SessionListKey`."""
        if not isinstance(key, SessionListKey):
            raise TypeError(f"key is {shown(key)}; it must be a SessionListKey")

    def profile_of(self, key: Any) -> str | None:
        """Return the profile of a key, also if the key shows all profiles: its name is made canonical too."""
        name: str = key.profile_name
        return name

    def canonical(self, key: Any, profile: str | None) -> Hashable:
        """Return the same view of the canonical profile."""
        view: SessionListKey = key.with_profile(profile or key.profile_name)
        return view

    def reach(self, key: Any, _profile: str | None) -> str:
        """Return the profile of a key, or all profiles."""
        return reach_of(key)


class SessionListCache(ListCache[SessionListKey, Payload]):
    """Serves session lists that are never slower than they must be and never older than they may be.

    Args:
        builder: Builds the payload of a key: a callable, for worker processes one that can be pickled, or its name
            as "package.module:function"; None if every read brings its own.
        sources: Say whether what was built still holds: `ports.Sources`, or a callable that returns, for a key, a
            value that changes when its sources do. None if only events, streams and age outdate.
        policy: The bounds and spans; None for the defaults.
        bus: Where events come from; None for the process-wide one.
        journal: Keeps the events, for other processes and for later: a URL such as "sqlite:////path/to/journal.db",
            a journal, or None. A bus has one.
        executor: Where builders run: "threads", or "processes" that never hold this one's interpreter lock.
        is_root_profile: Says which names are aliases of the root profile.
        active_stream_ids: Lists streams that the bus may not know.
        live_sessions: Returns live state for the overlay; who renders calls it, so it must not wait.
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
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a gateway may have
        self,
        builder: ports.Builder | str | None = None,
        *,
        sources: ports.Sources | ports.StampOf | None = None,
        policy: Policy | None = None,
        bus: Bus | None = None,
        journal: str | ports.Journal | None = None,
        executor: Literal["threads", "processes"] = "threads",
        is_root_profile: ports.IsRootProfile | None = None,
        active_stream_ids: ports.ActiveStreamIds | None = None,
        live_sessions: ports.LiveSessions | None = None,
        settings_version: ports.SettingsVersion | None = None,
        watch: ports.Watch | None = None,
        build_context: ports.BuildContext | None = None,
        reraise: bool = False,
        clock: ports.Clock | None = None,
    ) -> None:
        policy = policy_or_default(policy)
        self._new_renderer = partial(Renderer, live_sessions, policy.max_entries)
        self._renderer = self._new_renderer()
        super().__init__(
            builder,
            kind=SessionLists(),
            sources=sources,
            policy=policy,
            bus=default_bus if bus is None else bus,
            journal=journal,
            executor=executor,
            is_root_profile=is_root_profile,
            active_stream_ids=active_stream_ids,
            settings_version=settings_version,
            watch=watch,
            build_context=build_context,
            reraise=reraise,
            clock=clock,
        )

    def overlay(self, rows: Sequence[object]) -> list[object]:
        """Return rows with what is live laid over them, in order; the rows given stay as they are (O1 to O5)."""
        return self._renderer.overlay(rows, self._live())

    def _view_of(self, entry: Entry) -> View:
        """Return the view of an entry with what is live laid over it (O6)."""
        return self._renderer.render(entry.target.key, entry.content, self._live())

    def _made_view_of(self, entry: Entry) -> View | None:
        return self._renderer.made(entry.target.key, entry.content, self._live())

    def _live(self) -> Live:
        """Return what is known to be live without a callable."""
        state = self._state()
        return Live(state.active_stream_ids(), turns=state.streams.turns())

    def _must_look(self) -> bool:
        return self._renderer.asks or super()._must_look()

    def _failing_callables(self) -> frozenset[str]:
        return frozenset({"live_sessions"} if self._renderer.is_failing else ())

    def _start_anew(self) -> None:
        """Begin anew in a forked child (L2)."""
        super()._start_anew()
        self._renderer = self._new_renderer()
