"""The laws that every step of a simulated cache keeps: when it may check, build, try again and tell.

What happened before is remembered here, counted from messages and effects and not taken from the state. A law is a
pair: whether it holds, and what to say where it does not.
"""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

from hermes_cache.core import versions
from hermes_cache.core.effects import Answer, RunBuild, Served, TakeCheck, Tell
from hermes_cache.core.messages import Built, Checked, CheckFailed, Failed, Message, Put
from hermes_cache.core.notices import RowsMoved
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Build, Read, Refresh, State, Target
from hermes_cache.core.turn import Decision
from tests.simulation.simulated_reads import SLACK_S, Laws, Made
from tests.simulation.simulated_world import PROFILES, Seen, World

_LEAST_PAUSE_S = 0.2
_TOLD_EVERY_S = 2.0
_CHECK_TIMEOUT_S = 1.0
_CHECK_WAIT_S = 0.05
_LONGEST_PAUSE_S = 1.0
_MOST_LATE_S = 0.3
_NEXT_CHECK_S = _LONGEST_PAUSE_S + _MOST_LATE_S + SLACK_S


@dataclass(slots=True)
class _Failures:
    count: int
    at_s: float
    noted: Seen
    check: Check | None
    timed_out: bool


class TimingLaws:
    """Watches the steps of one run.

    Attributes:
        checks: The last check of each scope, of those that came back.
        noted: What there was when each build left the queue, by build id.
    """

    def __init__(self, policy: Policy, world: World, made: dict[int, Made]) -> None:
        self.checks: dict[Hashable, Check] = {}
        self.noted: dict[int, Seen] = {}
        self._policy = policy
        self._world = world
        self._made = made
        self._asked_at_s: dict[Hashable, float] = {}
        self._checking: dict[Hashable, float] = {}
        self._failed_s: dict[Hashable, float] = {}
        self._wanted_s: dict[Hashable, float] = {}
        self._refresh_began_s: dict[Hashable, float] = {}
        self._refreshed_by: defaultdict[Hashable, set[Refresh | None]] = defaultdict(set)
        self._pause_until_s: defaultdict[Hashable, float] = defaultdict(lambda: -inf)
        self._age_pause_until_s: defaultdict[Hashable, float] = defaultdict(lambda: -inf)
        self._event_pause_until_s: defaultdict[Hashable, float] = defaultdict(lambda: -inf)
        self._stop_until_s: defaultdict[Hashable, float] = defaultdict(lambda: -inf)
        self._failures: dict[Hashable, _Failures] = {}
        self._moved_at_s: dict[str | None, float] = {}
        self._told_at_s: dict[str | None, float] = {}

    def of_step(self, before: State, message: Message, decision: Decision, now_s: float) -> Laws:
        """Return the laws of what one message led to."""
        after = decision.state
        self._note_message(before, message, after, now_s)
        for build in after.builds.values():
            if build.id > before.last_build:
                yield from self._of_queued(build, before, now_s)
        for effect in decision.effects:
            match effect:
                case TakeCheck(target=target):
                    yield from self._of_check(target, before, message, now_s)
                case RunBuild(build=build):
                    self._note_start(build, now_s)
                case Tell(notice=RowsMoved(profile=profile)):
                    yield from self._of_telling(profile, now_s)
                case _:
                    pass
        yield from self._of_message(before, message, decision, now_s)
        overdue = [since_s for since_s in self._wanted_s.values() if now_s > since_s + _NEXT_CHECK_S]
        yield after.stopped or not overdue, "S4: no check follows for a scope that was read"

    def _of_message(self, before: State, message: Message, decision: Decision, now_s: float) -> Laws:
        match message:
            case Read() if message.target.watched:
                yield from self._of_waiting(message, decision, now_s)
                yield from self._of_stale(message, decision, now_s)
            case Built():
                yield from self._of_calm(message, before, decision.state, now_s)
            case _:
                pass

    def is_failing(self, scope: Hashable, now_s: float) -> bool:
        """Say whether the last check of a scope failed, or the one that is out has by now."""
        return scope in self._failed_s or now_s - self._checking.get(scope, inf) > _CHECK_TIMEOUT_S - SLACK_S

    def failed(self, key: Hashable) -> tuple[bool, bool]:
        """Say whether the last build of a key failed, and whether that was for its length."""
        last = self._failures.get(key)
        return last is not None, last is not None and last.timed_out

    def is_calm_for_followers(self, target: Target, now_s: float) -> bool:
        """Say whether nothing holds back a build that only followers wait for."""
        paused = now_s < self._event_pause_until_s[target.scope] + SLACK_S
        under_way = Refresh.EVENT in self._refreshed_by[target.scope]
        return self._policy.max_build_duty >= 1 or (self._is_calm(target, now_s) and not (paused or under_way))

    def may_be_tried_again(self, key: Hashable, now_s: float) -> bool:
        """Say whether the last build of a key failed, and the pause after that is over."""
        last = self._failures.get(key)
        return last is not None and now_s > last.at_s + self._policy.retry_delay_s(last.count) + SLACK_S

    def of_rest(self) -> Laws:
        """Return the laws of a cache that is at rest."""
        late = [profile for profile, at_s in self._moved_at_s.items() if self._told_at_s.get(profile, -inf) < at_s]
        yield not late, "E9: subscribers never heard of the last rows that moved"

    def _note_message(self, before: State, message: Message, after: State, now_s: float) -> None:
        if isinstance(message, Checked | CheckFailed):
            self._note_check(message, now_s)
        if isinstance(message, Built | Put) and after.entries is not before.entries:
            self._moved_at_s.update(dict.fromkeys(message.moved, now_s))
        if after.builds is not before.builds:
            self._note_ends(before, after, message, now_s)

    def _note_check(self, message: Checked | CheckFailed, now_s: float) -> None:
        scope = message.target.scope
        is_back = not message.by_build and self._checking.get(scope) == message.asked_s
        if is_back:
            del self._checking[scope]
        if isinstance(message, CheckFailed):
            self._failed_s[scope] = now_s
            return
        if is_back or message.check.began_s > self._failed_s.get(scope, inf):
            self._failed_s.pop(scope, None)
        last = self.checks.get(scope)
        if last is None or message.check.began_s > last.began_s:
            self.checks[scope] = message.check

    def _note_start(self, build: Build, now_s: float) -> None:
        self.noted[build.id] = self._world.seen(build.target.reach)
        if build.refresh:
            self._refresh_began_s.setdefault(build.target.scope, now_s)

    def _note_ends(self, before: State, after: State, message: Message, now_s: float) -> None:
        left = {build.id for build in after.builds.values()}
        for build in before.builds.values():
            if build.id in left:
                continue
            if build.refresh:
                self._note_refreshed(build.target.scope, before, left, now_s)
            ended = message.build.id if isinstance(message, Built | Failed) else None
            if isinstance(message, Built) and ended == build.id:
                self._failures.pop(build.target.key, None)
            elif ended == build.id or build.id in after.abandoned:
                self._note_failure(build, now_s, timed_out=ended != build.id)

    def _note_refreshed(self, scope: Hashable, before: State, left: set[int], now_s: float) -> None:
        """Begin the pause with the end of the last build of a refresh (B9)."""
        refreshing = [b for b in before.builds.values() if b.refresh and b.target.scope == scope]
        if any(build.id in left for build in refreshing):
            return
        began_s, by = self._refresh_began_s.pop(scope, now_s), self._refreshed_by.pop(scope, set())
        until_s = now_s + self._policy.duty_pause_s(now_s - began_s)
        if Refresh.EVENT in by:
            self._event_pause_until_s[scope] = max(self._event_pause_until_s[scope], until_s)
        if by == {Refresh.EVENT}:
            return
        pauses = self._pause_until_s if by & {Refresh.SOURCE, Refresh.URGENT} else self._age_pause_until_s
        if pauses is self._age_pause_until_s and Refresh.STOP in by:
            pauses = self._pause_until_s if began_s < self._stop_until_s[scope] else self._stop_until_s
            self._stop_until_s[scope] = max(self._stop_until_s[scope], until_s)
        pauses[scope] = max(pauses[scope], until_s)

    def _note_failure(self, build: Build, now_s: float, *, timed_out: bool) -> None:
        last = self._failures.get(build.target.key)
        count = last.count + 1 if last else 1
        check = self.checks.get(build.target.scope)
        self._failures[build.target.key] = _Failures(count, now_s, self.noted[build.id], check, timed_out)

    def _of_queued(self, build: Build, before: State, now_s: float) -> Laws:
        failures = self._failures.get(build.target.key)
        if failures:
            yield from self._of_retry(build, failures, now_s)
        entry = before.entries.get(build.target.key)
        if not build.refresh:
            return
        self._refreshed_by[build.target.scope].add(build.refresh)
        if build.refresh is Refresh.EVENT and self._policy.max_build_duty < 1:
            until_s = max(self._event_pause_until_s[build.target.scope], self._pause_until_s[build.target.scope])
            yield (
                now_s + SLACK_S >= until_s,
                "R13: a build that only followers wait for came before the pause was over",
            )
        if entry is None:
            return
        made = self._made[entry.build_id]
        now = self._world.seen(build.target.reach)
        noted, own = made.noted, dict(entry.stamp.check.parts)
        streams_moved = (noted.moves, noted.streams) != (now.moves, now.streams)
        # Without a check of its own it was built for the streams that an earlier one listed.
        streams_moved |= entry.stamp.check.is_failed and now.listings > 0
        # A stream's move that was forgotten may count as newer than it was (V2).
        streams_moved |= made.stamped.listings != now.listings or len(PROFILES) > versions.MOST_PROFILES
        # What was delivered to followers may be newer than what is held.
        streams_moved |= build.target.key in before.followed
        yield build.refresh is not Refresh.STOP or streams_moved, "B9: a stop is said to have come that did not"
        exempt = streams_moved or own.get("settings", now.settings) != now.settings
        if (build.reason == "age" or not exempt) and self._policy.max_build_duty < 1:
            until_s = self._pause_until_s[build.target.scope]
            if build.reason == "age" and build.target.key not in self._released(before, now_s):
                until_s = max(until_s, self._age_pause_until_s[build.target.scope])
            yield now_s + SLACK_S >= until_s, "B9: a refresh came before the pause was over"

    def _released(self, before: State, now_s: float) -> set[Hashable]:
        """Return the keys that a pause for commits held back, and whose end starts all of them together."""
        scopes = [scope for scope in before.scopes.values() if scope.release_at_s() <= now_s]
        by_source = [s for s in scopes if any(held.refresh is Refresh.SOURCE for held in s.held_back.values())]
        return {key for scope in by_source for key in scope.held_back}

    def _of_stale(self, message: Read, decision: Decision, now_s: float) -> Laws:
        """Return the law of a read that got what its source outdated: only what B9 and R7 name is in the way."""
        after, target = decision.state, message.target
        own = [each for each in decision.effects if isinstance(each, Answer) and each.reader == message.reader]
        answers = [each.answer for each in own]
        moved = any(
            isinstance(each, Served) and each.outcome == "stale" and each.reason == "source" for each in answers
        )
        if not moved or after.stopped or target.key in after.builds or target.key in self._failures:
            return
        policy = self._policy
        is_full = len(after.queue) >= policy.max_queue or len(after.abandoned) >= policy.max_abandoned
        is_full |= after.waiting >= policy.max_waiters or message.request.timeout_s == 0
        yield is_full or not self._is_calm(target, now_s), "B9: a moved source was held back though it was calm"

    def _is_calm(self, target: Target, now_s: float) -> bool:
        """Say whether no refresh by source runs, or ran so lately that its pause goes on."""
        refreshed = not self._refreshed_by[target.scope].isdisjoint({Refresh.SOURCE, Refresh.URGENT})
        paused = now_s < self._pause_until_s[target.scope] + SLACK_S
        return self._policy.max_build_duty >= 1 or not (refreshed or paused)

    def _of_calm(self, message: Built, before: State, after: State, now_s: float) -> Laws:
        """Return the law of a refresh by age that a commit overtook: the commit is built at once (R3)."""
        build = message.build
        entry, check = after.entries.get(build.target.key), self.checks.get(build.target.scope)
        if entry is None or entry.build_id != build.id or entry is before.entries.get(build.target.key):
            return
        gives_way = build.refresh in (Refresh.AGE, Refresh.STOP)
        own = entry.stamp.check
        is_behind = check is not None and check.began_s > own.began_s and check.held == entry.stamp.marker.held
        if not (gives_way and is_behind and check is not None and check.parts != own.parts):
            return
        is_built = build.target.key in after.builds or len(after.abandoned) >= self._policy.max_abandoned
        yield (
            is_built or not self._is_calm(build.target, now_s),
            "R3: a commit waits though only age was refreshed",
        )

    def _of_retry(self, build: Build, failures: _Failures, now_s: float) -> Laws:
        delay_s = self._policy.retry_delay_s(failures.count)
        check = self.checks.get(build.target.scope)
        checked = check is not None and check.parts != (failures.check.parts if failures.check else ())
        now = self._world.seen(build.target.reach)
        moved = checked or now.invalidations != failures.noted.invalidations
        least_s = min(delay_s, _LEAST_PAUSE_S) if moved else delay_s
        yield now_s + SLACK_S >= failures.at_s + least_s, "R7: a build was tried again before the retry delay"

    def _of_check(self, target: Target, before: State, message: Message, now_s: float) -> Laws:
        scope = target.scope
        yield scope not in self._checking, "S4: two checks of one scope at once"
        insists = (isinstance(message, Read) and message.request.freshness.insists) or any(
            waiter.request.freshness.insists for waiter in before.all_waiters()
        )
        since_s = now_s - self._asked_at_s.get(scope, -inf)
        often = since_s + SLACK_S < self._policy.stamp_interval
        yield insists or not often, "S4: a scope was checked twice within the interval"
        self._checking[scope] = self._asked_at_s[scope] = now_s
        self._wanted_s.pop(scope, None)

    def _of_waiting(self, read: Read, decision: Decision, now_s: float) -> Laws:
        scope = read.target.scope
        waits = [w for w in decision.state.for_check(read.target).values() if w.read is read]
        late = now_s - self._checking.get(scope, inf) > _CHECK_TIMEOUT_S + _MOST_LATE_S
        yield not (waits and late), "S4: a read waits for a check that was given up"
        yield (
            all(w.until_s <= read.request.began_s + _CHECK_WAIT_S for w in waits),
            "S4: a read waits too long for a check",
        )
        hit = any(
            isinstance(each, Answer) and _is_hit(each) and each.reader == read.reader for each in decision.effects
        )
        if hit and scope not in self._checking and self._policy.stamp_interval > 0:
            self._wanted_s.setdefault(scope, now_s)

    def _of_telling(self, profile: str | None, now_s: float) -> Laws:
        since_s = now_s - self._told_at_s.get(profile, -inf)
        yield since_s + SLACK_S >= _TOLD_EVERY_S, "E9: subscribers were told of one profile twice within 2 s"
        self._told_at_s[profile] = now_s


def _is_hit(effect: Answer) -> bool:
    return isinstance(effect.answer, Served) and effect.answer.outcome == "hit"
