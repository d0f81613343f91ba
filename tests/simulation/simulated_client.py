"""A client of a simulated process: it shows lists, and looks at one again where a subscription tells it to.

It leaves at any moment and comes back with any version that it ever saw, at any member, and then shows what it
showed as of that version. Its law: once it has taken all that is told, nothing that the member knows is missing.
"""

from dataclasses import dataclass
from random import Random

from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.bus.subscription import Subscription
from tests.simulation.journal_world import PROFILES, World
from tests.simulation.simulated_member import Member


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client had when it saw a version.

    Attributes:
        version: Which.
        shown: By profile, the moment as of which its list is.
        mark: The event at the version's position in the journal; blank where that is not known.
    """

    version: str
    shown: dict[str, int]
    mark: str = ""


class Client:
    """Somebody who subscribes.

    Args:
        world: What was said.
        random: Draws whom and what.
        bus: The name of the bus of the lists that it shows.
        profile: Whose list it shows; None for all.
        sharp: Whether nothing that it is told was merged for want of room.
    """

    def __init__(self, world: World, random: Random, bus: str, profile: str | None, *, sharp: bool) -> None:
        self._world = world
        self._bus = bus
        self._random = random
        self._profile = profile
        self._sharp = sharp
        self._profiles = PROFILES if profile is None else (profile,)
        self._shown: dict[str, int] = {}
        self._versions: list[Seen] = []
        self._subscription: Subscription | None = None
        self._member: Member | None = None
        self._floor = dict.fromkeys(PROFILES, 0)
        self._is_busy = False
        self._is_undone = False

    def act(self, alive: list[Member]) -> None:
        """Come, or take a change, or leave."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            self._act(alive)
        finally:
            self._is_busy = False

    def _act(self, alive: list[Member]) -> None:
        if self._subscription is None or self._member not in alive or self._random.random() < 0.2:
            joined = [member for member in alive if member.joined and member.bus.name == self._bus]
            if joined:
                self._come(self._random.choice(joined))
        elif self._member is not None:
            self._take(self._member, self._subscription)

    def take_all(self) -> None:
        """Take what is there."""
        if self._member is not None and self._subscription is not None:
            while self._take(self._member, self._subscription):
                pass

    def _come(self, member: Member) -> None:
        self._member = member
        resumes = self._versions and self._random.random() < 0.9
        seen = self._random.choice(self._versions[-self._random.choice((1, 3, 12)) :]) if resumes else None
        if "check" not in member.busy:
            # Otherwise it came, and waited, before that check began.
            member.catch_up()
        position, file = member.position, member.file
        self._subscription = member.subscribe(self._profile, seen.version if seen else None)
        self._floor = dict.fromkeys(PROFILES, 0)
        self._is_undone = False
        if seen is None:
            self._shown = {profile: member.serve(profile) for profile in self._profiles}
        else:
            self._world.note("resumed")
            self._shown = seen.shown
            if file is not None and position is not None:
                # What the member's journal had before it began is news for whoever saw less of it.
                told = file.history[: position.seq]
                self._floor = {profile: self._world.last_said(self._bus, profile, told) for profile in PROFILES}
            self._is_undone = self._was_undone(seen) or self._forgets_events_of(member)
        self._see(member, self._subscription.version)

    def _take(self, member: Member, subscription: Subscription) -> bool:
        heard = [mark for mark in member.heard if not member.is_alone_with(mark)]
        change = subscription.get(timeout=0)
        if change is None:
            self._world.note("all taken")
            # What did not fit into the buffer is told as lost once the journal is back, and then to everybody.
            for profile in self._profiles if not member.loses else ():
                shown, last = (
                    self._shown[profile],
                    max(self._world.last_said(self._bus, profile, heard), self._floor[profile]),
                )
                told = f"E8: {profile} is shown as of {shown} at {member.name}, and nobody told of {last}"
                self._world.demand(shown >= last, told)
            return False
        self._world.note("told of all" if change.everything else "told of one")
        for profile in self._profiles:
            # That rows moved at the source is told to all who resume, and must not stand for what they missed;
            # but to who comes from a time that a restored journal does not know, nothing else can be told.
            counts = change.reason != "source_changed" or self._is_undone or not self._sharp
            if counts and change.profile in (None, profile):
                self._shown = {**self._shown, profile: member.serve(profile)}
        self._see(member, subscription.version)
        return True

    def _see(self, member: Member, version: str) -> None:
        seq, file = FeedVersion.parse(version).seq, member.file
        mark = file.history[seq - 1] if file is not None and 0 < seq <= len(file.history) else ""
        self._versions.append(Seen(version, self._shown, mark))

    def _forgets_events_of(self, member: Member) -> bool:
        """Say whether a restore took from the journal what this member said, maybe before it read that back.

        Then the journal has nothing to tell of such an event to a client that comes with a version of another
        member. The client refreshes as it is told that rows may have moved.
        """
        kept = set(self._world.file.history)
        own = (mark for mark in member.heard if mark.startswith(member.marks))
        return any(mark in self._world.lost and mark not in kept for mark in own)

    def _was_undone(self, seen: Seen) -> bool:
        """Say whether the journal went on differently from where a version was handed out."""
        seq, file = FeedVersion.parse(seen.version).seq, self._world.file
        return seq > 0 and file.history[seq - 1 : seq] != [seen.mark]
