"""The laws of followers: what is delivered to them, when, and at what cost (R13).

What a follower must have is counted from what happened outside and from what was delivered before, not from the
state. A law is a pair: whether it holds, and what to say where it does not.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

from hermes_cache.core.effects import Deliver, RunBuild, Served
from hermes_cache.core.messages import Message, Publish
from hermes_cache.core.state import Read, State, Target
from hermes_cache.core.turn import Decision
from hermes_cache.errors import CacheBusyError, CacheStoppedError, HermesCacheError
from tests.simulation.simulated_reads import Laws, Made
from tests.simulation.simulated_timing import TimingLaws
from tests.simulation.simulated_world import Seen, World

_MOST_BUILDS = 2
_LOOKS_AFTER_S = 5.1
"""If a build is refused because others hang, it is asked for again so late."""


@dataclass(slots=True)
class _Followed:
    """What was delivered to the followers of one key.

    Attributes:
        target: The key.
        followers: Who they are.
        last: What the last payload was made from; None before the first.
        at_last: What there was outside when it was delivered.
        owed: How many invalidations there had been with the first that no payload had; None if they have all.
        builds: How many builds of the key began since that one.
        was_calm: Nothing held its builds back after the last step.
        is_interrupted: What was delivered last is an error, or the key had failed when it was first followed.
    """

    target: Target
    followers: set[Hashable]
    last: Made | None = None
    at_last: Seen | None = None
    owed: int | None = None
    builds: int = 0
    was_calm: bool = False
    is_interrupted: bool = False


class FollowerLaws:
    """Watches what followers get in one run."""

    def __init__(self, world: World, made: dict[int, Made], timing: TimingLaws) -> None:
        self._world = world
        self._made = made
        self._timing = timing
        self._hung_at_s = -inf
        self._followed: dict[Hashable, _Followed] = {}

    def begin(self, follower: Hashable, target: Target, state: State) -> None:
        """Note that somebody follows a key, before the core hears of it."""
        entry = state.entry_of(target)
        held = self._made[entry.build_id] if entry else None
        followed = self._followed.setdefault(target.key, _Followed(target, set(), held))
        followed.followers.add(follower)
        followed.is_interrupted |= self._timing.failed(target.key)[0]
        self._owe(followed)

    def end(self, follower: Hashable, target: Target) -> None:
        """Note that somebody follows a key no more."""
        followed = self._followed.get(target.key)
        if followed is None:
            return
        followed.followers.discard(follower)
        if not followed.followers:
            del self._followed[target.key]

    def of_step(self, before: State, message: Message, decision: Decision, now_s: float) -> Laws:
        """Return the laws of what one message led to; those of its timing come first."""
        after = decision.state
        if before.followed is after.followed and not self._followed:
            return
        for followed in self._followed.values():
            self._owe(followed)
        if not isinstance(message, Read):
            yield from self._of_queued(before, after)
        for effect in decision.effects:
            match effect:
                case RunBuild(build=build) if build.target.key in self._followed:
                    yield from self._of_start(self._followed[build.target.key])
                case Deliver():
                    yield from self._of_delivery(effect, after)
                case _:
                    pass
        self._hung_at_s = now_s if after.abandoned else self._hung_at_s
        # What is due comes before an event, and may begin what holds others back.
        at_once = isinstance(message, Publish) and now_s < before.wake_at_s
        for key, followed in self._followed.items():
            is_built = key in after.builds or followed.is_interrupted
            yield from self._of_promptness(followed, now_s, is_built=is_built, at_once=at_once)
            waits = followed.was_calm and followed.owed is not None and self._timing.may_be_tried_again(key, now_s)
            waits = waits and now_s > self._hung_at_s + _LOOKS_AFTER_S
            yield key in after.builds or not waits, "R13: a build for followers that failed is not tried again"
        yield after.followed.keys() == self._followed.keys(), "R13: a key is followed that nobody follows"
        groups = (after.followed_by_reach, after.followed_by_scope)
        counts = [sum(map(len, group.values())) for group in groups]
        yield counts == [len(self._followed)] * 2, "R13: a key that nobody follows is remembered"

    def _of_promptness(self, followed: _Followed, now_s: float, *, is_built: bool, at_once: bool) -> Laws:
        """Return the laws of what must be built at once."""
        calm, waits = self._timing.is_calm_for_followers(followed.target, now_s), is_built or followed.owed is None
        yield waits or not calm, "R13: nothing is built after an event though it was calm"
        held = not (at_once and followed.was_calm)
        yield waits or held, "R13: one event does not build all that it concerns"
        followed.was_calm = calm
        if at_once and followed.last is not None:
            moved = followed.last.noted.moves != self._world.seen(followed.target.reach).moves
            yield is_built or not moved, "R13: nothing is built though a stream started or stopped"

    def _of_queued(self, before: State, after: State) -> Laws:
        """Return the law of the builds that no read asked for."""
        for build in after.builds.values():
            known = self._followed.get(build.target.key)
            is_first = build.id > before.last_build and build.reason == "miss"
            if known is None or not is_first or before.for_check(build.target):
                continue
            yield known.last is None or known.is_interrupted, "R13: what was delivered was built once more"

    def of_calm(self) -> Laws:
        """Return the laws of a time in which nothing went wrong or changed for long: all have what there is."""
        for followed in self._followed.values():
            seen, last = self._world.seen(followed.target.reach), followed.last
            yield last is not None, "R13: a follower never got anything"
            if last is not None:
                has_all = last.noted.invalidations == seen.invalidations and last.noted.moves == seen.moves
                yield has_all, "R13: a follower waits for ever for what an event changed"
                is_current = last.found.commits == seen.commits or not followed.target.watched
                yield is_current, "R13: a follower waits for ever for what a commit changed"

    def _of_start(self, followed: _Followed) -> Laws:
        followed.builds += followed.owed is not None
        yield (
            followed.builds <= _MOST_BUILDS,
            "R13: a third build began, and the followers had nothing of an event",
        )

    def _of_delivery(self, effect: Deliver, after: State) -> Laws:
        followed = self._followed.get(effect.key)
        yield followed is not None, "R13: something was delivered for a key that nobody follows"
        if followed is None:
            return
        if isinstance(effect.answer, Served) and effect.answer.outcome == "hit":
            # What is held, for one who came just now.
            yield len(effect.followers) == 1, "R13: what is held went to who has it"
            return
        yield set(effect.followers) == followed.followers, "R13: a follower was left out, or had left"
        stopped = isinstance(effect.answer, CacheStoppedError)
        yield stopped == after.stopped, "R13: stopped and told so are not the same"
        if stopped:
            del self._followed[effect.key]
        elif isinstance(effect.answer, HermesCacheError):
            followed.builds, followed.is_interrupted = 0, True
            yield not isinstance(effect.answer, CacheBusyError), "R13: a follower's build was refused"
        elif isinstance(effect.answer, Served):
            yield from self._of_payload(followed, effect.answer)

    def _of_payload(self, followed: _Followed, served: Served) -> Laws:
        made, now = self._made[served.entry.build_id], self._world.seen(followed.target.reach)
        yield made.target == followed.target, "I13: a follower got another key's payload"
        if followed.at_last is not None:
            newer = made.noted.invalidations >= followed.at_last.invalidations
            yield newer, "R1: a follower got what was built before an event that it could know of"
        followed.last, followed.at_last, followed.owed, followed.builds = made, now, None, 0
        # What a gateway puts ends no failure.
        followed.is_interrupted = self._timing.failed(followed.target.key)[0]
        self._owe(followed)

    def _owe(self, followed: _Followed) -> None:
        """Note the first invalidation that no payload delivered contains."""
        now = self._world.seen(followed.target.reach).invalidations
        had = followed.last.noted.invalidations if followed.last else 0
        if followed.owed is None and now > had:
            followed.owed, followed.builds = had + 1, 0
