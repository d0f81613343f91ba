"""A simulated process that shares a journal: the real bus, membership, link, follower and feed, on no thread.

The link is told to start no thread: what threads would do is done at a step of the schedule. In the place of the
cache there is the moment at which it built each list.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

from hermes_cache.bus.blinker_bus import Recorder
from hermes_cache.bus.feed import Feed
from hermes_cache.bus.subscription import Subscription
from hermes_cache.cache.bus_link import BusLink
from hermes_cache.cache.membership import Membership
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.policy import Policy
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.bus import Bus
from hermes_cache.journal.link import JournalLink
from hermes_cache.journal.member import Bounds, MemberState
from hermes_cache.ports import Position
from tests.simulation.journal_world import PROFILES, JournalFile, World
from tests.simulation.simulated_journal import Mishaps, SimulatedJournal

Made = Callable[..., AppliedEvent]


class MemberClock:
    """The virtual time, as a machine's clocks tell it."""

    def __init__(self, world: World, skew_s: float) -> None:
        self._world = world
        self._skew_s = skew_s

    def monotonic_s(self) -> float:
        """Seconds, as last moved."""
        return self._world.now_s

    def wall_s(self) -> float:
        """Epoch seconds, off by so much."""
        return 1_700_000_000.0 + self._world.now_s + self._skew_s


@dataclass(frozen=True, slots=True)
class MemberBounds:
    """What a member holds.

    Attributes:
        remembered: Changes that its feed keeps for those who resume.
        waiting: Changes that a subscription holds before it merges.
        journal: What it keeps and reads at once of its journal.
    """

    remembered: int
    waiting: int
    journal: Bounds


class Publishing:
    """One `send` under way: applied, then recorded, then heard of; others may act in between.

    Attributes:
        event: What is published.
        committed: Says what is known of its commit.
    """

    def __init__(self, member: "Member", event: AppliedEvent) -> None:
        self.event = event
        self.committed: Callable[[], bool | None] = lambda: None
        self._steps = self._publish(member)

    def go_on(self) -> bool:
        """Take the next step; false where there is none."""
        return next(self._steps, False)

    def _publish(self, member: "Member") -> Iterator[bool]:
        member.bus._apply(self.event)
        yield True
        self.committed = member.bus._record(self.event)
        member.unanswered.append(self)
        yield True
        member.bus.hear(self.event)


class Member:
    """One life of one process.

    Args:
        world: The journal's files, and what was said.
        policy: The bounds and spans.
        clock: The time there.
        journal: Its handle.
        bounds: Of what it holds.
        bus_name: The name of its bus.

    Attributes:
        name: Of this life.
        marks: What the ids of its events begin with.
        publishing: What is being published.
        unanswered: What was published, and may be committed yet.
        acknowledged: The ids of those that are.
        applied: The ids of all events that were applied.
        put: The ids of what it handed to the journal.
        started: Ids of streams that began.
        stopped: Ids of streams that ended.
        heard: The ids of what the feed was told, in order.
        outdated: The moment of the last event that outdates everything, as it was applied here.
        busy: What is at work here: a check, the writer.
        paused_until_s: When it goes on.
        file: The file up to whose position all is known here; None before, and while that is not sure.
    """

    def __init__(
        self,
        world: World,
        policy: Policy,
        clock: MemberClock,
        journal: SimulatedJournal,
        bounds: MemberBounds,
        *,
        bus_name: str,
    ) -> None:
        self.world = world
        self.name = world.name()
        self.bus = Bus(bus_name, incarnation=self.name)
        self.marks = str(EventId(self.name, 0, bus_name)).removesuffix("0")
        self.clock = clock
        self.journal = journal
        self.publishing: list[Publishing] = []
        self.unanswered: list[Publishing] = []
        self.acknowledged: set[str] = set()
        self.applied: set[str] = set()
        self.put: set[str] = set()
        self.started: set[str] = set()
        self.stopped: set[str] = set()
        self.heard: list[str] = []
        self.outdated = 0
        self.gaps = 0
        self.busy: set[str] = set()
        self.paused_until_s = 0.0
        self.file: JournalFile | None = None
        self._last_file = journal.file
        self._built: dict[str, int] = {}
        self._moved = dict.fromkeys(PROFILES, 1)
        self._connect(policy, bounds)

    @property
    def agreed(self) -> AgreedState:
        """What it agrees to."""
        return self.state.agreed

    @property
    def state(self) -> MemberState:
        """What it knows of the journal."""
        return self.life.state

    @property
    def position(self) -> Position | None:
        """How far it has come."""
        return self.state.position

    def is_alone_with(self, mark: str) -> bool:
        """Say whether an event was said to this process alone, to outdate what it holds itself."""
        return mark.startswith(self.marks) and mark not in self.put

    @property
    def loses(self) -> bool:
        """Whether something was lost that it has not told of yet."""
        return self.state.lost_events or self.state.lost_settings

    @property
    def joined(self) -> bool:
        """Whether it has its position in the journal."""
        return self.position is not None

    def make(self, kind: Made, **fields: object) -> AppliedEvent:
        """Make an event of its own."""
        return kind(id=self.bus.next_id(), at_s=self.clock.wall_s(), **fields)

    def publish(self, event: AppliedEvent) -> Publishing:
        """Begin to publish an event."""
        publishing = Publishing(self, event)
        self.publishing.append(publishing)
        return publishing

    def go_on(self, publishing: Publishing) -> None:
        """Take the next step of a `send`."""
        self.publishing.remove(publishing)
        if publishing.go_on():
            self.publishing.append(publishing)

    def check(self) -> None:
        """Do what the tail does, over and over."""
        self.world.tick()
        with self.at_work("check"):
            self.life.follower.check(self.clock.monotonic_s())

    def write(self) -> None:
        """Do what the writer's own thread does when it is woken, or its timer is due."""
        with self.at_work("writer"):
            self.life.follower.write()

    def catch_up(self) -> None:
        """Do what a read does before it is served."""
        with self.at_work("check"):
            if not self.membership.is_current():
                self.membership.catch_up()

    def subscribe(self, profile: str | None, since: str | None) -> Subscription:
        """Open a subscription; what it reads for itself says nothing of how far the relay has come."""
        file = self.journal.file
        try:
            return self.feed.subscribe(profile, since)
        finally:
            self.journal.file = file

    def serve(self, profile: str) -> int:
        """Return the moment as of which a list is served, and build it where it is outdated."""
        if self._built.get(profile, 0) < self._moved[profile]:
            self._built[profile] = self.world.tick()
        return self._built[profile]

    def held(self, profile: str) -> int | None:
        """Return the moment as of which a list is served without a build; None where it must be built."""
        built = self._built.get(profile, 0)
        return built if built >= self._moved[profile] else None

    @contextmanager
    def at_work(self, part: str) -> Iterator[None]:
        """Mark a part of it as busy; nobody else can be at it."""
        self.busy.add(part)
        if part == "check":
            self.journal.file = self._last_file
        try:
            yield
        finally:
            self.busy.discard(part)
            if part == "check":
                self._note_file()

    def _connect(self, policy: Policy, bounds: MemberBounds) -> None:
        self.feed = Feed(
            f"feed-of-{self.name}",
            size=bounds.waiting,
            remembered=bounds.remembered,
            missed_since=self._missed_since,
        )
        new_link = partial(JournalLink, bounds=bounds.journal, threads=False)
        self.membership = Membership(self.bus, self.journal, policy, self.clock, self.feed, new_link=new_link)
        self.bus_link = BusLink(
            self.bus, self.feed, self.clock, apply=self._apply, canonical=lambda profile: profile, sender=self
        )
        self.bus_link.connect()
        # Behind the feed: what is heard here was told there.
        self.bus.attach(lambda _event: None, self._hear)
        for topic in self.bus.published():
            topic.connect(self._receive, weak=False)
        links: list[JournalLink] = []

        def watch(recorder: Recorder | None) -> Recorder:
            assert isinstance(recorder, JournalLink)
            links.append(recorder)
            return partial(self._record, recorder)

        self.bus.record_with(watch)
        self.life = links[0].life()

    def _missed_since(self, position: Position) -> list[AppliedEvent] | None:
        return self.membership.missed_since(position)

    def _record(self, recorder: Recorder, event: AppliedEvent) -> Callable[[], bool | None]:
        self.put.add(str(event.id))
        return recorder(event)

    def _receive(self, _sender: object, **_event: object) -> None:
        self.world.note("receivers told")

    def _apply(self, event: AppliedEvent) -> None:
        world, mark = self.world, str(event.id)
        world.interrupt()
        world.say(event)
        world.demand(event.id.bus == self.bus.name, f"K5: {self.name} of {self.bus.name} applied {mark}")
        world.demand(
            mark not in self.applied or self._may_come_again(event), f"J4: {self.name} applied {mark} once more"
        )
        self.applied.add(mark)
        for profile in world.touched(event):
            self._moved[profile] = world.tick()
        match event:
            case SessionListChanged(profile=None) | SettingsChanged():
                self.outdated = world.moment
                self.gaps += getattr(event, "reason", "") == "journal_gap" and event.id.incarnation == self.name
            case StreamStopped(stream_id=stream_id):
                self.stopped.add(stream_id)
            case _:
                self.started.add(getattr(event, "stream_id", ""))
        world.interrupt()

    def _may_come_again(self, event: AppliedEvent) -> bool:
        """Say whether an event may be applied twice, which moves nothing that the first time did not."""
        if own_mark(self, event.id):
            return False
        # A join applies what is known of streams. A journal that was restored forgot what it had, and one keeps an
        # event twice that was compacted before its writer, which had no answer, wrote it again.
        is_stream = isinstance(event, StreamStarted | StreamStopped)
        kept = self.world.file.history.count(str(event.id))
        return is_stream or kept > 1 or not self.state.has(event.id)

    def _hear(self, event: AppliedEvent) -> None:
        self.heard.append(str(event.id))
        self.world.interrupt()

    def _note_file(self) -> None:
        self._last_file = self.journal.file
        if self.state.read_failure is None and self.joined:
            self.file = self.journal.file
        elif self.file is not self.journal.file:
            # What it read last is another one than that in which it has its position.
            self.file = None


def own_mark(member: Member, event_id: EventId) -> bool:
    """Say whether a member's life said an event."""
    return event_id.incarnation == member.name


def new_member(
    world: World, policy: Policy, random: Random, mishaps: Mishaps, bounds: MemberBounds, *, bus_name: str
) -> Member:
    """Let a process begin."""
    clock = MemberClock(world, random.choice((0.0, 0.0, -30.0, 30.0)))
    return Member(world, policy, clock, SimulatedJournal(world, random, mishaps), bounds, bus_name=bus_name)
