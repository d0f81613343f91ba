"""The cache actor: the one owner of a cache's state.

All reads, writes and invalidations go through its mailbox. A message is decided by the core, its state is taken
over in one step, and then its effects are run. An effect that fails, for lack of stack or memory, is run once more
by the actor's own thread; one that fails again is announced, and its readers are told. A hit is no message: what
was last judged a hit is remembered and looked up without a lock, on any thread. It stands until an entry, a
version or a stream changes, until a check finds otherwise, or until the moment when its age or the age of its
check ends it.
Source: rules R1, R2, E5, L4, L6.
"""

import contextlib
from collections import Counter, deque
from dataclasses import replace
from math import inf
from typing import Final

import pykka

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.actors.tallies import Tallies
from hermes_cache.actors.works import Works, told
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Answer, Effect, RunBuild, Served, TakeCheck
from hermes_cache.core.freshness import Verdict, judge, trusted_for_s, ttl_s
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.messages import Built, Checked, CheckFailed, Failed, Message, Publish, Tick, Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Read, State, Target
from hermes_cache.errors import CallLostError
from hermes_cache.ports import Clock

AGAIN: Final = "again"
"""The reply to what was said of a profile whose alias must be asked anew (K3)."""

_MOST_READ_SCOPES: Final = 4_096
"""Profiles come from outside: past so many, checks pause until the next read of their scope."""


class Hit:
    """A key's last hit, and how often it was had again."""

    __slots__ = ("count", "served", "until_s", "used_s")

    def __init__(self, served: Served, until_s: float, now_s: float) -> None:
        self.served = served
        self.until_s = until_s
        self.used_s = now_s
        self.count = 0


class CacheActor(MailboxActor):
    """Decides what comes in, and remembers hits.

    The messages are the core's; the reply is `AGAIN` or None, and readers are answered as an effect.

    Args:
        policy: The bounds and spans.
        clock: The time.
        works: Runs the effects.
        state: What is known from before.
    """

    def __init__(self, policy: Policy, clock: Clock, works: Works, state: State) -> None:
        super().__init__(clock=clock.monotonic_s)
        self.hits: dict[SessionListKey, Hit] = {}
        self.outcomes: Counter[str] = Counter()
        self._tallies = Tallies()
        self._policy = policy
        self._works = works
        self.state = state
        self.hits_had = 0
        self._effects: deque[Effect] = deque()
        self._failed: Effect | None = None
        self._used_s: dict[SessionListKey, float] = {}
        self._read_scopes: set[object] = set()

    def hit(self, target: Target) -> Served | None:
        """Return the last hit of a key if it still is one; from any thread, without a lock.

        Nothing is called between the look at a counter and its store, so no other thread comes in between.
        """
        hit = self.hits.get(target.key)
        if hit is None:
            return None
        now_s = self._clock()
        if now_s >= hit.until_s:
            return None
        hit.used_s = now_s
        hit.count += 1
        self.hits_had += 1
        return hit.served

    def counted(self) -> dict[str, int]:
        """Count the reads by outcome, those of this very moment too; from any thread."""
        outcomes = dict(self.outcomes)
        hits = outcomes.get("hit", 0) + self.hits_had
        return {**outcomes, "hit": hits} if hits else outcomes

    def counted_for(self, key: SessionListKey) -> dict[str, int]:
        """Count the reads of a key by outcome, since the payload that it holds was built (J7); from any thread."""
        counts, hit = self._tallies.of(key, self._held_build(key)), self.hits.get(key)
        if hit is not None and hit.count:
            counts["hit"] += hit.count
        return dict(counts)

    def send(self, message: Message) -> None:
        """Take what comes of an effect; once the cache is stopped, nobody wants it any more."""
        with contextlib.suppress(pykka.ActorDeadError):
            try:
                self.actor_ref.ask(message)
            except CallLostError:
                # Safe to say twice: the core knows what it has taken in.
                self.actor_ref.ask(message)

    def on_receive(self, message: object) -> object:
        """Decide a message."""
        return self._decide(message)  # type: ignore[arg-type]  # pykka's messages have no type

    def on_wake(self) -> None:
        """Let time pass."""
        self._decide(Tick())

    def _decide(self, message: Message) -> str | None:
        if isinstance(message, Read | Publish) and self._is_outdated(message):
            return AGAIN
        self._count_hits()
        before = self.state
        decision = decide(before, self._completed(message), self._clock(), self._policy)
        if not _leaves_hits(before, decision.state):
            self.hits = {}
        self.state = decision.state
        self._effects.extend(decision.effects)
        # Due at once, until all effects were run: whatever comes in between, the own thread goes on.
        self.wake_at_s = -inf
        try:
            if isinstance(message, Checked):
                self._renew_hits(message.target)
            if self._run_effects():
                self.wake_at_s = self.state.wake_at_s
        except Exception:  # noqa: BLE001 - no stack or memory is left on this thread; the own thread tries again
            self.hits = {}
        return None

    def _is_outdated(self, message: Read | Publish) -> bool:
        return message.settings is not None and message.settings != self.state.settings

    def _completed(self, message: Message) -> Message:
        """Add what lies beside the state: what was read since, and the order of use."""
        match message:
            case Read():
                if len(self._read_scopes) >= _MOST_READ_SCOPES:
                    self._read_scopes.clear()
                self._read_scopes.add(message.target.scope)
                return message
            case Checked(by_build=False) | CheckFailed(by_build=False):
                read_since = message.target.scope in self._read_scopes
                self._read_scopes.discard(message.target.scope)
                return replace(message, read_since=read_since)
            case Built(build, content, check, took_s, held_bytes, moved):
                return Built(build, content, check, took_s, held_bytes, moved, self._recency())
            case Weighed():
                return Weighed(message.held_bytes, self._recency(), message.leaving)
            case _:
                return message

    def _run_effects(self) -> bool:
        """Run what is asked for, in order; false where one failed and is left to the own thread."""
        effects = self._effects
        while effects:
            effect = effects[0]
            try:
                if isinstance(effect, Answer):
                    self._note(effect)
                self._works.run(effect, self.send)
            except Exception as failure:  # noqa: BLE001 - announced if it fails again
                if self._failed is not effect:
                    self._failed = effect
                    return False
                effects.popleft()
                self._give_up(effect, failure)
                continue
            effects.popleft()
        return True

    def _give_up(self, effect: Effect, failure: Exception) -> None:
        self._works.report(failure)
        if isinstance(effect, RunBuild):
            self.actor_ref.tell(Failed(effect.build, failure))
        elif isinstance(effect, TakeCheck):
            self.actor_ref.tell(CheckFailed(effect.target, told(failure), asked_s=effect.asked_s))

    def _note(self, effect: Answer) -> None:
        answer = effect.answer
        outcome = answer.outcome if isinstance(answer, Served) else type(answer).__name__
        self.outcomes[outcome] += 1
        self._tallies.add(effect.key, self._held_build(effect.key), outcome)
        if not isinstance(answer, Served):
            return
        now_s = self._clock()
        target = answer.entry.target
        self._used_s[target.key] = now_s
        if outcome == "hit":
            self.hits[target.key] = Hit(answer, self._hit_until_s(answer), now_s)

    def _held_build(self, key: SessionListKey) -> int:
        entry = self.state.entries.get(key)
        return entry.build_id if entry else 0

    def _hit_until_s(self, served: Served) -> float:
        """Give the moment up to which nothing but a message can make a hit stale."""
        entry = served.entry
        until_s = min(entry.built_at_s + ttl_s(entry, self._policy), self.state.streams.next_expiry_s())
        if not entry.target.watched:
            return until_s
        check = self.state.check_of(entry.target)
        if check is None or self._policy.stamp_interval == 0:
            return -inf
        return min(until_s, check.began_s + trusted_for_s(check, self._policy))

    def _count_hits(self) -> None:
        """Count the hits since the last message."""
        for key, hit in self.hits.items():
            if hit.count:
                # No call between the look and the store: what comes meanwhile is counted the next time.
                count, hit.count = hit.count, 0
                self._used_s[key] = hit.used_s
                self._read_scopes.add(hit.served.entry.target.scope)
                self._tallies.add(key, hit.served.entry.build_id, "hit", count)

    def _renew_hits(self, checked: Target) -> None:
        """Let a check carry the hits of its scope on, where it found nothing moved and another one follows."""
        state = self.state
        scope = state.scopes.get(checked.scope)
        for key, hit in list(self.hits.items()):
            target = hit.served.entry.target
            if target.scope != checked.scope:
                continue
            now_s = self._clock()
            verdict = judge(state, self._policy, Read(None, target, now_s), now_s, check_by_s=-inf)
            if verdict is Verdict.FRESH and scope is not None and scope.due_s < inf:
                hit.until_s = self._hit_until_s(hit.served)
            else:
                del self.hits[key]

    def _recency(self) -> tuple[SessionListKey, ...]:
        held = self.state.entries
        self._used_s = {key: used_s for key, used_s in self._used_s.items() if key in held}
        return tuple(sorted(self._used_s, key=self._used_s.__getitem__))


def _leaves_hits(before: State, after: State) -> bool:
    """Say whether nothing that a hit was judged by changed, but for checks."""
    unchanged = before.entries is after.entries and before.versions is after.versions
    return unchanged and before.streams is after.streams and not after.stopped
