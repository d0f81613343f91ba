"""The laws of processes that share a journal, checked after every step."""

from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.ports import Position
from tests.simulation.journal_world import PROFILES, JournalFile, World
from tests.simulation.simulated_member import Member


class Fold:
    """What a set of events amounts to, by a count that shares no code with the library.

    Attributes:
        ids: Which.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._said: dict[str, tuple[float, EventId]] = {}
        self._stopped: dict[str, tuple[float, EventId]] = {}
        self._outdated: dict[str, tuple[float, EventId]] = {}

    def add(self, event: AppliedEvent) -> None:
        """Count one more."""
        self.ids.add(str(event.id))
        moment = (event.at_s, event.id)
        match event:
            case StreamStarted(stream_id=name):
                self._said[name] = max(self._said.get(name, moment), moment)
            case StreamStopped(stream_id=name):
                self._stopped[name] = min(self._stopped.get(name, moment), moment)
            case SessionListChanged(profile=profile):
                name = profile or ""
                self._outdated[name] = max(self._outdated.get(name, moment), moment)
            case SettingsChanged():
                self._outdated[""] = max(self._outdated.get("", moment), moment)

    def is_what(self, agreed: AgreedState) -> bool:
        """Say whether an agreed state says the same."""
        facts = agreed.streams.items()
        said = {name: fact.started for name, fact in facts if fact.started}
        stopped = {name: fact.stopped for name, fact in facts if fact.stopped}
        return (
            {name: (event.at_s, event.id) for name, event in said.items()} == self._said
            and {name: (event.at_s, event.id) for name, event in stopped.items()} == self._stopped
            and {name: (event.at_s, event.id) for name, event in agreed.outdated.items()} == self._outdated
        )


def marks_of(agreed: AgreedState, bus: str) -> set[str]:
    """Return the ids of all events that the agreed state of a bus has."""
    return {
        str(EventId(incarnation, number, bus))
        for incarnation, numbers in agreed.applied.items()
        for first, last in numbers.ranges
        for number in range(first, last + 1)
    }


class MemberLaws:
    """Watches one life of one member."""

    def __init__(self, world: World, member: Member) -> None:
        self._world = world
        self._member = member
        self._fold = Fold()
        self._agreed: AgreedState | None = None
        self._position: Position | None = None
        self._file: JournalFile | None = None

    def of_step(self) -> None:
        """Check what must hold whenever the member is not in the middle of a check."""
        self._of_commits()
        if "check" not in self._member.busy:
            told = f"I9: {self._member.name} keeps what it publishes for a replay that is over"
            self._world.demand(self._member.state.on_the_way is None, told)
            self._of_position()
            self._of_agreed()

    def _of_commits(self) -> None:
        world, member = self._world, self._member
        open_yet = []
        for publishing in member.unanswered:
            committed, mark = publishing.committed(), str(publishing.event.id)
            if committed is None:
                open_yet.append(publishing)
                continue
            world.note(f"committed {committed}")
            if committed:
                member.acknowledged.add(mark)
            world.demand((mark in world.committed) == committed, f"J8: {mark} is told as committed: {committed}")
        member.unanswered = open_yet

    def _of_position(self) -> None:
        world, member, position = self._world, self._member, self._member.position
        if position is None:
            # Before a join, or after a gap until the next one: what it had reached still counts.
            return
        before, self._position = self._position, position
        if position is before or before is None:
            self._outdated = member.outdated
            return
        back = position.journal != before.journal or position.seq < before.seq
        told = f"I6, I7: {member.name} went from {before} to {position} without outdating everything"
        world.demand(not back or member.outdated > self._outdated, told)
        self._outdated = member.outdated

    def _of_agreed(self) -> None:
        world, member, agreed = self._world, self._member, self._member.agreed
        if agreed is self._agreed and member.file is self._file:
            return
        self._agreed, self._file = agreed, member.file
        marks = marks_of(agreed, member.bus.name)
        known = {mark for mark in marks if mark in world.events}
        world.demand(known == marks, f"E1: {member.name} has {marks - known}, which nobody said")
        if not self._fold.ids <= marks:
            self._fold = Fold()
        for mark in sorted(known - self._fold.ids):
            self._fold.add(world.events[mark])
        told = f"J1: the agreed state of {member.name} is not what its events amount to"
        world.demand(self._fold.is_what(agreed), told)
        self._of_events(marks, agreed)

    def _of_events(self, marks: set[str], agreed: AgreedState) -> None:
        world, member, file = self._world, self._member, self._member.file
        position = member.position
        if file is None or position is None:
            return
        before = set(world.of_bus(member.bus.name, file.history[: position.seq]))
        reached = before - world.damaged
        world.demand(reached <= marks, f"J4: {member.name} at {position.seq} lacks {reached - marks}")
        own = {mark for mark in marks if mark.startswith(member.marks)}
        unsaid = marks - own - before
        world.demand(not unsaid, f"J2: {member.name} at {position.seq} has {unsaid} beyond its position")
        coming = {str(event.id) for event in member.state.buffer}
        coming |= {mark for mark in file.history[position.seq :] if mark.startswith(member.marks)}
        world.demand(coming <= marks, f"J1: {member.name} forgot of its own {coming - marks}")
        for name, facts in agreed.streams.items():
            if facts.stopped is not None:
                world.demand(name in member.stopped, f"H4: nobody told {member.name} that {name} ended")
            elif facts.started is not None:
                world.demand(name in member.started, f"J2: nobody told {member.name} that {name} began")


def check_lists(world: World, member: Member, file: JournalFile, until_s: float, what: str) -> None:
    """Check that what a member serves is as new as all that a file had at a moment."""
    marks = [mark for mark, at_s in zip(file.history, file.since, strict=True) if at_s <= until_s]
    for profile in PROFILES:
        held = member.held(profile)
        last = world.last_said(member.bus.name, profile, marks)
        told = f"R1, J3: {what} at {member.name} serves {profile} as of {held}, and {last} was committed before"
        world.demand(held is None or held >= last, told)
