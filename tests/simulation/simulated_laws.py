"""The laws that every step of a simulated cache keeps: what is held, what runs, and who waits.

A law is a pair: whether it holds, and what to say where it does not.
"""

from collections import Counter
from collections.abc import Hashable
from math import inf
from typing import Final

from hermes_cache.core import versions
from hermes_cache.core.effects import Answer, RunBuild, Served, Tell
from hermes_cache.core.events import StreamStarted, StreamStopped
from hermes_cache.core.messages import Built, Evict, Message, Publish, Put, Weighed
from hermes_cache.core.notices import EntryEvicted
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Build, Entry, State
from hermes_cache.core.turn import Decision
from hermes_cache.explain.explaining import Moment, explain
from tests.simulation.simulated_reads import Laws, Made
from tests.simulation.simulated_world import PROFILES, World, weigh

_TOLD_EVENTS: Final = 16


class StepLaws:
    """Watches the steps of one run.

    Attributes:
        made: What each build made, by build id.
    """

    def __init__(self, policy: Policy, world: World) -> None:
        self.made: dict[int, Made] = {}
        self._policy = policy
        self._world = world

    def of_step(self, before: State, message: Message, decision: Decision, now_s: float) -> Laws:
        """Return the laws of what one message made of the state."""
        after = decision.state
        yield from self._of_bounds(after, now_s)
        if after.entries is not before.entries:
            for key, entry in after.entries.items():
                old = before.entries.get(key)
                if entry is not old:
                    yield from self._of_stored(entry, old, before, message, now_s)
            yield from self._of_evictions(before, message, decision)
        if isinstance(message, Weighed) and after.held_bytes > 2 * self._policy.max_bytes:
            evicted = [each for each in after.kept.values() if after.entry_of(each.entry.target) is not each.entry]
            yield not evicted, "R4: more than twice max_bytes is kept for readers that wait"
        yield from _of_put(message, decision)
        yield from _of_waiters(before, after, now_s)
        # A stopped cache has no timer, so its streams do not expire any more.
        if isinstance(message, Publish) and not after.stopped:
            yield from self._of_history(after, now_s)
        for effect in decision.effects:
            if isinstance(effect, RunBuild):
                yield from self._of_start(effect.build, before, after)

    def of_rest(self, state: State) -> Laws:
        """Return the laws of a cache that is at rest."""
        yield not state.waiting and not any(state.all_waiters()), "I10: a reader was never answered"
        yield not state.builds and not state.queue, "I10: a build never came to its end"
        yield not state.abandoned, "B6: a build that came back still counts as hanging"
        held = weigh(entry.content for entry in state.entries.values())
        yield state.held_bytes == held, f"P4: {state.held_bytes} bytes are counted, {held} are held"
        yield held <= self._policy.max_bytes, "P4: more bytes are held than allowed"
        yield not any(scope.held_back for scope in state.scopes.values()), "B9: what was held back never started"

    def _of_bounds(self, state: State, now_s: float) -> Laws:
        policy = self._policy
        began_s = [build.began_s for build in state.builds.values() if build.began_s is not None]
        yield len(began_s) <= policy.pool_size, "B5: more builds run than the pool has slots"
        yield len(state.entries) <= policy.max_entries, "P4: more entries are held than allowed"
        yield state.waiting <= policy.max_waiters, "B5: more readers wait than allowed"
        # A build that ends is queued again whatever the bound, at most one a slot; so are those of followers.
        most = policy.max_queue + policy.pool_size + state.last_followed
        yield len(state.queue) <= most, "B5: more builds queue than allowed"
        yield not state.queue or len(began_s) == policy.pool_size, "B5: a build queues though there is a slot"
        yield state.wake_at_s <= _first_timer_s(state, policy), "I4: nothing wakes the cache at its first timer"
        overdue = [at_s for at_s in began_s if at_s + policy.build_timeout <= now_s]
        yield not overdue, "I5: a build holds its slot past build_timeout"

    def _of_stored(self, entry: Entry, old: Entry | None, before: State, message: Message, now_s: float) -> Laws:
        made = self.made[entry.build_id]
        now = self._world.seen(entry.target.reach)
        yield made.noted.invalidations == now.invalidations, "I2: an overtaken build was stored"
        newer = old is None or (old.version <= entry.version and self.made[old.build_id].from_s <= made.from_s)
        yield newer, "I12: an older payload replaced a newer one"
        yield entry.built_at_s == now_s, "R2: age does not count from the end of the build"
        is_put = isinstance(message, Put) and message.content is entry.content
        is_built = isinstance(message, Built) and message.build.id == entry.build_id
        yield is_put or is_built, "I3: stored without being built"
        live = before.builds.get(entry.target.key)
        yield (
            is_put or (live is not None and live.id == entry.build_id),
            "B6: the late result of an abandoned build was stored",
        )
        yield entry.content.size_bytes <= self._policy.max_bytes, "P4: a payload over the bound was stored"

    def _of_evictions(self, before: State, message: Message, decision: Decision) -> Laws:
        after = decision.state
        notices = [effect.notice for effect in decision.effects if isinstance(effect, Tell)]
        evicted = {notice.key: notice.reason for notice in notices if isinstance(notice, EntryEvicted)}
        gone = before.entries.keys() - after.entries.keys()
        yield gone <= evicted.keys(), "E6: an entry went and nobody was told"
        if isinstance(message, Evict):
            wanted = before.entries.keys() if message.keys is None else before.entries.keys() & set(message.keys)
            yield gone == wanted, "P4: what was to be evicted is held, or more went"
            return
        if not isinstance(message, Built | Put | Weighed) or not evicted:
            yield not evicted, "P4: an entry was evicted though nothing was stored"
            return
        position = {key: at for at, key in enumerate(message.recency)}
        kept = [key for key in after.entries if before.entries.get(key) is after.entries[key]]
        last = max(position.get(key, -1) for key in evicted)
        yield all(last <= position.get(key, -1) for key in kept), "P4: one more recently used was evicted"
        needless = "bytes" not in evicted.values() and len(after.entries) < self._policy.max_entries
        yield not needless, "P4: more was evicted than needed"

    def _of_history(self, state: State, now_s: float) -> Laws:
        for entry in state.entries.values():
            noted, seen = self.made[entry.build_id].noted, self._world.seen(entry.target.reach)
            told = explain(state, entry.target, self._policy, Moment(now_s, 0.0))
            kinds = [
                isinstance(each.event, StreamStarted | StreamStopped) for each in told.events if each.is_unseen
            ]
            outdated, moved = seen.invalidations - noted.invalidations, seen.moves - noted.moves
            yield kinds.count(False) == min(outdated, _TOLD_EVENTS), "J7: what outdated an entry is not told"
            yield kinds.count(True) == min(moved, _TOLD_EVENTS), "J7: a stream that moved an entry is not told"
            is_told = (told.condition == "outdated") == (outdated > 0)
            # A profile that was forgotten may count as outdated though it was not (V2).
            forgotten = outdated == 0 and len(PROFILES) > versions.MOST_PROFILES
            yield is_told or forgotten, "J7: an entry is told as what it is not"

    def _of_start(self, build: Build, before: State, after: State) -> Laws:
        key = build.target.key
        yield not after.stopped, "L1: a build started after the stop"
        hanging = min(len(before.abandoned), len(after.abandoned))
        yield hanging < self._policy.max_abandoned, "B6: a build started though too many hang"
        passed_over = [
            name for name in after.queue.values() if _is_awaited(name, before) and _is_awaited(name, after)
        ]
        idle = not _is_awaited(key, before) and not _is_awaited(key, after)
        yield not (idle and passed_over), "B5: a build that nobody waits for went first"


def _first_timer_s(state: State, policy: Policy) -> float:
    """Return the moment at which something is due, by a walk over all that may be."""
    if state.stopped:
        return inf
    ends = [build.began_s + policy.build_timeout for build in state.builds.values() if build.began_s is not None]
    waits = [waiter.until_s for waiter in state.all_waiters()]
    scopes = [scope.wake_at_s() for scope in state.scopes.values()]
    follows = [followed.due_s for followed in state.followed.values()]
    leases = [*(stream.until_s for stream in state.streams.active.values()), *state.streams.stopped.values()]
    return min((*ends, *waits, *scopes, *follows, *leases), default=inf)


def _of_put(message: Message, decision: Decision) -> Laws:
    if not isinstance(message, Put):
        return
    answers = [effect.answer for effect in decision.effects if isinstance(effect, Answer)]
    got = [each for each in answers if isinstance(each, Served) and each.entry.content is message.content]
    yield all(each.outcome == "waited" for each in got), "R4: a put ended a wait with a stale payload"


def _of_waiters(before: State, state: State, now_s: float) -> Laws:
    if state.deadlines is before.deadlines and state.builds is before.builds:
        return
    waiters = list(state.all_waiters())
    yield state.waiting == len(waiters), "I9: those who wait are miscounted"
    kept = Counter(each.kept.build_id for each in waiters if each.kept)
    counted = {build_id: each.readers for build_id, each in state.kept.items()}
    yield counted == kept, "R4: what is kept for waiting readers is miscounted"
    groups = (*state.waiters.values(), *state.for_checks.values())
    yield all(groups), "I9: nobody waits for a key or a check, and yet it is remembered"
    for waiter in waiters:
        yield waiter.until_s > now_s, "I4: a reader waits past its deadline"
        yield (
            waiter.awaits == "check" or waiter.read.target.key in state.builds,
            "R7: a reader waits for a build that is not there",
        )


def _is_awaited(key: Hashable, state: State) -> bool:
    return key in state.waiters
