"""The link between a bus and its journal: it keeps what is published here, and publishes here what others sent.

A bus has one journal, and one link to it, which the caches on the bus share: the bus's recorder, and the only hook
on it. Source: rules J1, J3, J5, L2.
"""

import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol, TypeAlias, cast

from hermes_cache.actors.notifier import Notifier
from hermes_cache.arguments import check_port
from hermes_cache.bus.blinker_bus import BlinkerBus, Recorder
from hermes_cache.core.events import AppliedEvent, SessionListChanged, SettingsChanged
from hermes_cache.core.policy import Policy
from hermes_cache.errors import CacheStoppedError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.follower import Follower
from hermes_cache.journal.life import JournalLife
from hermes_cache.journal.member import Bounds, JournalStatus
from hermes_cache.journal.replaying import parts_after
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal, Position
from hermes_cache.threads.forks import after_fork_in_child, before_exit, ending_for_s

logger = QuietLogger(__name__)

Named: TypeAlias = str | Journal
"""A journal by its URL, or itself."""


class User(Protocol):
    """A cache that uses a link."""

    def is_listening(self) -> bool:
        """Say whether somebody waits for what others say."""

    def hear_position(self, position: Position) -> None:
        """Know that all events up to a position were handed out on the bus; never raise."""


_MAX_UNHEARD: Final = 10_000
"""Events of others that a slow receiver may be behind; past them the oldest go untold, never unapplied."""


class _Users:
    """Users of a link, held weakly; they may be walked over while others come and go."""

    def __init__(self) -> None:
        self.renew_lock()
        self._references: tuple[weakref.ref[User], ...] = ()

    def renew_lock(self) -> None:
        self._lock = threading.RLock()

    def add(self, user: User) -> None:
        with self._lock:
            self._references = (*self._living(), weakref.ref(user))

    def discard(self, user: User) -> None:
        with self._lock:
            self._references = tuple(each for each in self._living() if each() is not user)

    def __iter__(self) -> Iterator[User]:
        return (user for each in self._references if (user := each()) is not None)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def _living(self) -> Iterator[weakref.ref[User]]:
        return (each for each in self._references if each() is not None)


class JournalLink:
    """Ties a bus to its journal while caches on the bus use it; it is the bus's recorder.

    Args:
        bus: The bus.
        journal: Its journal, or the URL of that.
        policy: The bounds and spans.
        clock: The time.
        bounds: How much is kept and read at once.
        threads: Whether it starts threads; without them a simulation does what they would do, and receivers hear
            at once of what others said.
    """

    _life: JournalLife | None
    _journal: Journal

    def __init__(
        self,
        bus: BlinkerBus,
        journal: Named,
        policy: Policy,
        clock: Clock,
        *,
        bounds: Bounds | None = None,
        threads: bool = True,
    ) -> None:
        # Its threads lead to the link, and must not keep a bus that nobody else holds.
        self._bus: BlinkerBus = weakref.proxy(bus)
        self._bounds = bounds or Bounds()
        self._threads = threads
        self._named = journal
        self._policy = policy
        self._clock = clock
        self._users = _Users()
        self._inherited: tuple[object, ...] = ()
        self._begin()
        after_fork_in_child(self._start_anew)
        if threads:
            before_exit(self._flush_at_exit)

    @classmethod
    def of(
        cls, bus: BlinkerBus, journal: Named, *, user: User, new: "Callable[[BlinkerBus, Named], JournalLink]"
    ) -> "JournalLink":
        """Return a bus's link to a journal, for one more user.

        Args:
            bus: The bus.
            journal: Its journal, or the URL of that.
            user: The user; it has the link until it leaves it or is gone.
            new: Makes the link if there is none.

        Raises:
            JournalSetupError: The URL names no journal.
            TypeError: It is no journal.
            ValueError: The bus has another journal.
        """
        linked: list[JournalLink] = []

        def choose(recorder: Recorder | None) -> Recorder:
            used = recorder if isinstance(recorder, JournalLink) and recorder.is_used else None
            link = used or new(bus, journal)
            link.take(user, journal)
            linked.append(link)
            return link

        bus.record_with(choose)
        return linked[0]

    def __str__(self) -> str:
        if not isinstance(self._named, str):
            return repr(self._named)
        from hermes_cache.journal.tables import shown_url  # noqa: PLC0415 - as in `_opened`

        return shown_url(self._named)

    def __call__(self, event: AppliedEvent) -> Callable[[], bool | None]:
        """Take what is published on the bus."""
        try:
            return self.life().follower.put(event)
        except CacheStoppedError:
            # The last user left meanwhile: from now on nobody asks for it to be kept.
            return _unknown

    def take(self, user: User, journal: Named) -> None:
        """Have one more user, which names the journal that it is for.

        Raises:
            ValueError: The link has another journal.
        """
        if _name(journal) != _name(self._named):
            raise ValueError(f"the bus has the journal {self}; a cache with another needs a bus of its own")
        self._users.add(user)

    @property
    def is_used(self) -> bool:
        """Whether a cache uses it."""
        return bool(self._users)

    def life(self) -> JournalLife:
        """Return this process's part in the journal, which is started if it is not.

        Raises:
            CacheStoppedError: Nobody uses it any more.
        """
        life = self._life
        if life is None:
            with self._lock:
                life = self._life or self._started()
        return life

    @property
    def status(self) -> JournalStatus | None:
        """How the process stands to the journal; None while it is not started."""
        life = self._life
        if life is None:
            return None
        status, missing = life.status, self._notifier.missing_threads
        return replace(status, missing_threads=status.missing_threads | missing) if missing else status

    def leave(self, user: User, timeout_s: float) -> bool:
        """Let a user go, and write what is not written; with the last one, end all threads.

        Returns:
            Whether they ended in time.
        """
        with self._lock:
            self._users.discard(user)
            life, ended = self._life, True
            if life is not None and not self._users:
                # The recorder until all is written: one event more stands for what was given up.
                ended = life.stop(timeout_s, close=life.journal is not self._named)
                self._life = None
                self._notifier.stop(0)
            with suppress(ReferenceError):
                self._bus.record_with(lambda recorder: recorder if recorder is not self or self._users else None)
            if not self._users:
                return ended
        return life is None or life.flush(timeout_s)

    def learn_streams(self, apply: Callable[[AppliedEvent], None]) -> None:
        """Apply to a cache that starts what is known of streams (J2)."""
        for event in self.life().state.agreed.stream_events(self._leased_s()):
            apply(event)

    def missed_since(self, position: Position) -> list[AppliedEvent] | None:
        """Return the events after a position, and this process's that are on their way.

        None if they are too many, or damaged, or the journal is known to be away.

        Raises:
            JournalError: They are gone, or the journal cannot be read.
        """
        life = self.life()
        if life.status.failure is not None:
            return None
        on_their_way, missed = life.state.buffer, []
        for part in parts_after(life.journal, position, self._bounds.part):
            missed += [each.event for each in part.recorded if each.event.id.bus == self._bus.name]
            if part.damaged is not None or len(missed) > self._bounds.missed_by_subscriber:
                return None
        return [*missed, *on_their_way]

    def is_listening(self) -> bool:
        """Say whether somebody waits for what others say."""
        return self._bus.has_receivers or any(user.is_listening() for user in self._users)

    def hear(self, event: AppliedEvent) -> None:
        """Tell of what another process said; of this process's own let those hear who have not yet."""
        if event.id.incarnation == self._bus.incarnation:
            self._bus.hear(event)
            return
        self._tell(event)

    def learn(self, agreed: AgreedState) -> None:
        """Know the streams of other processes; to receivers what was said before is no news."""
        for event in agreed.stream_events(self._leased_s()):
            if event.id.incarnation != self._bus.incarnation:
                self._bus.relay(event)

    def outdate_all(self, reason: str, *, alone: bool) -> None:
        """Outdate everything here, and in the others too unless this process alone missed something."""
        logger.warning("hermes_cache.journal_gap", extra={"hermes_cache.reason": reason})
        # Settings may be among what was missed, and with them the aliases of profiles.
        self._bus.relay(SettingsChanged(id=self._bus.next_id(), at_s=self._clock.wall_s()))
        gap = self._unscoped("journal_gap")
        if alone:
            self._tell(gap)
        else:
            self._say(gap)

    def hear_position(self, position: Position) -> None:
        """Let the users know that all events up to a position were handed out."""
        for user in self._users:
            user.hear_position(position)

    def tell_loss(self, *, settings: bool) -> None:
        """Say one event for all that did not fit into the buffer: settings changed, or every list did."""
        if settings:
            self._say(SettingsChanged(id=self._bus.next_id(), at_s=self._clock.wall_s()))
        else:
            self._say(self._unscoped("journal_overrun"))

    def wake_writer(self) -> None:
        """Have what waits for the journal written."""
        life = self._life
        if life is not None:
            life.wake_writer()

    def _started(self) -> JournalLife:
        if not self._users:
            raise CacheStoppedError
        wait_s = self._policy.journal_wait
        follower = Follower(
            self._journal, self._clock, self, wait_s=wait_s, bounds=self._bounds, bus=self._bus.name
        )
        life = JournalLife(self._journal, follower, self._policy, self._clock, is_listening=self.is_listening)
        self._notifier = Notifier(self._tell_receivers, name="hermes_cache.journal_notifier", size=_MAX_UNHEARD)
        self._life = life
        if self._threads:
            life.start()
        else:
            life.do_without_threads()
        return life

    def _leased_s(self) -> float:
        """Return the moment before which a last sign of life counts no more (H4)."""
        return self._clock.wall_s() - self._policy.stream_lease

    def _unscoped(self, reason: str) -> SessionListChanged:
        return SessionListChanged(id=self._bus.next_id(), at_s=self._clock.wall_s(), reason=reason)

    def _say(self, event: AppliedEvent) -> None:
        """Publish without waiting, and without running receivers on this thread."""
        self._bus.say(event)
        self._notify(event)

    def _tell(self, event: AppliedEvent) -> None:
        self._bus.relay(event)
        self._notify(event)

    def _notify(self, event: AppliedEvent) -> None:
        if self._threads:
            self._notifier.put(event)
        else:
            self._tell_receivers(event)

    def _tell_receivers(self, event: object) -> None:
        self._bus.tell(cast("AppliedEvent", event))

    def _flush_at_exit(self) -> None:
        life = self._life
        if life is not None:
            # All writers were at it meanwhile: several buses take no longer than one.
            life.flush(max(0.0, self._policy.stop_timeout - ending_for_s()))

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._life = None
        self._journal = _opened(self._named)

    def _start_anew(self) -> None:
        """Begin anew after a fork: what was inherited is neither used nor freed (L2)."""
        self._inherited = (*self._inherited, self._life, self._journal)
        self._users.renew_lock()
        self._begin()


def _unknown() -> None:
    """Say that nothing is known of a commit."""


def _opened(journal: Named) -> Journal:
    if isinstance(journal, str):
        # SQLAlchemy takes longer to load than all else together, and a cache without a journal needs none (L8).
        from hermes_cache.journal.sqlalchemy_journal import journal_at  # noqa: PLC0415

        return journal_at(journal)
    check_port("journal", journal, Journal, "a URL, a journal, or None")
    return journal


def _name(journal: Named) -> Hashable:
    return journal if isinstance(journal, str) else id(journal)
