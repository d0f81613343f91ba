"""A whole cache simulated from a seed: no thread, no clock, the real core.

Readers, publishers, streams and writers act on one virtual time line, at moments that the seed draws. After every
step the laws are checked; a breach raises `AssertionError` naming the seed, so that the same run can be had again.
"""

from collections import Counter
from functools import partial
from math import inf
from random import Random
from typing import Final

from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.messages import Leave, Publish, Stop, Tick
from hermes_cache.core.requests import Freshness, Request
from hermes_cache.core.state import Read, Target
from tests.simulation.simulated_plan import targets
from tests.simulation.simulated_shell import Shell
from tests.simulation.simulated_world import LISTED, PROFILES

_ACTS_A_SECOND: Final = (3, 10, 50)
_STEPS_PER_ACT: Final = 20
_POLLS_AGAIN: Final = 0.4
_MOST_FOLLOWERS: Final = 6
_STEPS_OF_FOLLOWERS: Final = 8_000
_CALM_S: Final = 90.0
"""By then a build that hangs, a pause, a retry and the age of a view that is held down are over."""


class Simulation:
    """One cache, its users and its sources, driven by a seed.

    Args:
        seed: The same seed gives the same run.
        acts: How often somebody does something.
    """

    def __init__(self, seed: int, *, acts: int = 300) -> None:
        self._users = Random(f"users of {seed}")
        self._shell = Shell(seed, most_steps=acts * _STEPS_PER_ACT + _STEPS_OF_FOLLOWERS)
        watched = self._users.random() < 0.9
        self._targets = targets(pages=self._users.choice((1, 1, 1, 6)), watched=watched)
        self._targets = self._users.sample(self._targets, self._users.randint(1, len(self._targets)))
        self._events = 0
        self._turns = self._users.choice((6, 6, 60))
        self._lasts_s = acts / self._users.choice(_ACTS_A_SECOND)
        pick = self._users.choice
        ways = [self._read] * pick((8, 40)) + [self._change_settings, self._write_settings, self._list_streams]
        for way in (self._invalidate, self._commit, self._stream):
            ways += [way] * pick((0, 1, 4))
        for _ in range(acts):
            self._shell.after(self._some_time(), pick(ways))
        self._add_followers(Random(f"followers of {seed}"))
        self._add_gateway(Random(f"gateway of {seed}"), acts)
        if self._shell.faults.stops:
            self._shell.after(self._users.uniform(0.7, 1.0) * self._lasts_s, lambda: self._shell.take(Stop()))

    @property
    def trace(self) -> int:
        """A number that two runs share only if they took the same steps."""
        return self._shell.trace

    def run(self) -> Counter[str]:
        """Run until nothing is left to happen, and give what happened how often.

        Raises:
            AssertionError: A law is broken.
        """
        shell = self._shell
        while min(shell.line.next_s(), shell.state.wake_at_s) < inf:
            late_s = self._users.uniform(0.0, shell.faults.late_s)
            if shell.line.next_s() <= shell.state.wake_at_s + late_s:
                shell.now_s = max(shell.now_s, shell.line.next_s())
                shell.let_time_pass()
                shell.line.pop()()
            else:
                shell.now_s = max(shell.now_s, shell.state.wake_at_s + late_s)
                shell.take(Tick())
        shell.demand_rest()
        return shell.seen

    def _add_followers(self, random: Random) -> None:
        """Let some views be followed, for a time or to the end, when all that goes wrong is over.

        Near the end something moves that nobody reads.
        """
        for follower in range(random.choice((0, 1, 3, 8))):
            target, from_s = random.choice(self._targets), random.uniform(0.0, 0.7 * self._lasts_s)
            ends_s = (random.uniform(from_s, self._lasts_s), *[self._lasts_s + _CALM_S + 1.0] * 2)
            self._shell.after(from_s, partial(self._shell.follow, follower, target))
            self._shell.after(random.choice(ends_s), partial(self._shell.unfollow, follower, target))
        last = random.choice((self._commit, self._stream, self._invalidate))
        self._shell.after(self._lasts_s, self._shell.calm_down)
        self._shell.after(self._lasts_s + _CALM_S / 3, last)
        self._shell.after(self._lasts_s + _CALM_S, self._shell.demand_calm)

    def _add_gateway(self, random: Random, acts: int) -> None:
        """Let the gateway put payloads of its own, and evict some."""
        for _ in range(acts // random.choice((8, 40, acts + 1))):
            put = partial(self._shell.mark_and_put, random.choice(self._targets), random)
            self._shell.after(random.uniform(0.0, self._lasts_s), put)
        for _ in range(acts // random.choice((40, acts + 1))):
            keys = random.choice((None, (random.choice(self._targets).key,)))
            self._shell.after(random.uniform(0.0, self._lasts_s), partial(self._shell.evict, keys))

    def _some_time(self) -> float:
        return self._users.uniform(0.0, self._lasts_s)

    def _read(self) -> None:
        users, shell = self._users, self._shell
        target = users.choice(self._targets)
        freshness = users.choices((Freshness.DEFAULT, Freshness.FRESH, Freshness.ANY), (7, 3, 1))[0]
        request = Request(
            shell.now_s,
            freshness,
            at_least=EventId("another", 1) if freshness is Freshness.DEFAULT and users.random() < 0.1 else None,
            timeout_s=users.choices((0.0, 0.3, inf), (1, 2, 9))[0],
            builder=f"a builder for {target.key}" if users.random() < 0.2 else None,
        )
        read = Read(shell.next_read(), target, request)
        shell.read(read)
        if users.random() < _POLLS_AGAIN:
            shell.after(users.uniform(0.0, 0.2), lambda: self._poll(target))
        if users.random() < shell.faults.leaves:
            shell.after(users.uniform(0.0, 1.0), lambda: self._leave(read))

    def _poll(self, target: Target) -> None:
        """Read once more, as a tab does that asks for nothing special: what was a hit before may answer it."""
        self._shell.read(Read(self._shell.next_read(), target, Request(self._shell.now_s)))

    def _leave(self, read: Read) -> None:
        self._shell.left(read)
        self._shell.take_maybe_twice(Leave(read))

    def _invalidate(self) -> None:
        profile = self._users.choice((None, *PROFILES))
        self._shell.world.invalidate(profile)
        self._publish(SessionListChanged(id=self._next_id(), at_s=self._wall_s(), profile=profile), profile)

    def _change_settings(self) -> None:
        self._shell.world.invalidate(None)
        self._publish(SettingsChanged(id=self._next_id(), at_s=self._wall_s()), None)

    def _stream(self) -> None:
        shell, name = self._shell, f"turn {self._users.randrange(self._turns)}"
        age_s = self._users.choice((0.0, 0.0, 1.0, 20.0))
        until_s = shell.now_s + shell.policy.stream_lease - age_s
        if self._users.random() < 0.5:
            profile = self._users.choice((None, *PROFILES))
            shell.world.start_stream(name, profile, until_s=until_s)
            started = StreamStarted(id=self._next_id(), at_s=self._wall_s(), stream_id=name, profile=profile)
            self._publish(started, profile, age_s)
            return
        shell.world.stop_stream(name, until_s=until_s)
        self._publish(StreamStopped(id=self._next_id(), at_s=self._wall_s(), stream_id=name), None, age_s)

    def _publish(self, event: AppliedEvent, profile: str | None, age_s: float = 0.0) -> None:
        self._shell.take(Publish(event, profile, age_s))

    def _wall_s(self) -> float:
        """Return the time by a publisher's clock, which may be set forwards and back."""
        return 1_700_000_000.0 + self._shell.now_s + self._users.choice((0.0, 0.0, 0.0, -3_600.0, 3_600.0))

    def _next_id(self) -> EventId:
        self._events += 1
        return EventId("simulated", self._events)

    def _commit(self) -> None:
        self._shell.world.commit(self._users.choice(PROFILES), self._shell.now_s)

    def _write_settings(self) -> None:
        self._shell.world.write_settings()

    def _list_streams(self) -> None:
        self._shell.world.list_streams(self._users.sample(sorted(LISTED), self._users.randrange(3)))
