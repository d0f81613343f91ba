"""The cache actor: the one owner of a cache's state.

All reads, writes and invalidations go through its mailbox. A message is decided by the core, its state is taken
over in one step, and then its effects are run. An effect that fails, for lack of stack or memory, is run once more
by the actor's own thread; one that fails again is announced, and its readers get an error. A hit is no message:
what was last judged a hit is remembered and looked up without a lock, on any thread. It stands until an entry, a
version or a stream changes, until a check finds otherwise, or until the moment when its age or the age of its
check ends it.
Source: rules R1, R2, E5, L4, L6.
"""

import contextlib
from collections import deque
from collections.abc import Hashable
from dataclasses import replace
from math import inf
from typing import Final, assert_never

import pykka

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.cache.effect_runner import EffectRunner, one_line_of, text_of
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import (
    Abandon,
    Answer,
    Deliver,
    Effect,
    Release,
    RunBuild,
    Served,
    TakeCheck,
    Tell,
)
from hermes_cache.core.hits import Hit, Hits
from hermes_cache.core.messages import (
    Built,
    Checked,
    CheckFailed,
    Evict,
    Failed,
    Follow,
    Leave,
    Message,
    Notified,
    Publish,
    Put,
    Stop,
    Tick,
    Unfollow,
    Weighed,
)
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import Counts, Tally
from hermes_cache.core.state import Read, State, Target
from hermes_cache.core.transitions import Ended, Evicted, Stored
from hermes_cache.core.turn import Decision
from hermes_cache.core.use_order import UseOrder
from hermes_cache.ports import Clock

AGAIN: Final = "again"
"""The reply to what was said of a profile whose alias must be asked anew (K3)."""

_RETRY_S: Final = 0.1
"""When a timer that failed is tried again."""

_MOST_READ_SCOPES: Final = 4_096
"""Profiles come from outside: past so many, checks pause until the next read of their scope."""


class CacheActor(MailboxActor):
    """Decides what comes in, and remembers hits.

    The messages are the core's. The reply is `AGAIN` or None, for `Put` and `Evict` whether they did something.
    Readers are answered as an effect.

    Args:
        policy: The bounds and spans.
        clock: The time.
        runner: Runs the effects.
        state: What is known from before.
    """

    def __init__(self, policy: Policy, clock: Clock, runner: EffectRunner, state: State) -> None:
        super().__init__(clock=clock.monotonic_s)
        self.hits = Hits(policy)
        self._used_hits: set[Hit] = set()
        self._counts = Counts()
        self._policy = policy
        self._runner = runner
        self.state = state
        self.hits_served = 0
        self._effects: deque[Effect] = deque()
        self._failed: Effect | None = None
        self._used = UseOrder(policy.repeat_window)
        self._read_scopes: set[object] = set()

    def hit(self, target: Target) -> Served | None:
        """Return the last hit of a key if it still is one; from any thread, without a lock.

        Nothing is called between the look at a counter and its store, so no other thread comes in between.
        """
        now_s = self._clock()
        hit = self.hits.at(target.key, now_s)
        if hit is None:
            return None
        hit.used_s = now_s
        hit.count += 1
        self.hits_served += 1
        # After the count: `_count_hits` takes it out first, so no hit is left uncounted for good.
        self._used_hits.add(hit)
        return hit.served

    def coldest_first(self) -> tuple[Hashable, ...]:
        """Name what is held, those first that are evicted first; from any thread, without a lock."""
        used, held = self._used.copy(), self.state.entries
        for key in held:
            used.add(key)
        for hit in sorted(self._used_hits.copy(), key=_used_s):
            used.use(hit.served.entry.target.key, hit.used_s, hit.count)
        return tuple(dict.fromkeys([key for key in used if key in held]))

    def tally(self) -> Tally:
        """Return what was counted, reads of this very moment too; from any thread."""
        return self._counts.tally(self.hits_served)

    def counted_for(self, key: Hashable) -> dict[str, int]:
        """Count the reads of a key by outcome, since the payload that it holds was built (J7); from any thread."""
        counts, hit = self._counts.of(key), self.hits.get(key)
        if hit is not None and hit.count:
            counts["hit"] += hit.count
        return dict(counts)

    def send(self, message: Message) -> None:
        """Take what comes of an effect; once the cache is stopped, nobody wants it any more.

        What fails here, for lack of stack or memory or by an interrupt, is left to the actor's own thread.
        """
        with contextlib.suppress(pykka.ActorDeadError):
            try:
                self.actor_ref.ask(message)
            except pykka.ActorDeadError:
                raise
            except Exception:  # noqa: BLE001 - safe to say twice: the core knows what it has taken in
                self.actor_ref.tell(message)

    def on_receive(self, message: object) -> object:
        """Decide a message."""
        return self._decide(message)  # type: ignore[arg-type]  # pykka's messages have no type

    def on_wake(self) -> None:
        """Let time pass."""
        try:
            self._decide(Tick())
        except Exception:
            # For lack of memory: the timer must not be lost with it.
            self.wake_at_s = self._clock() + _RETRY_S
            raise

    def _decide(self, message: Message) -> str | bool | None:
        if isinstance(message, Read | Publish) and self._is_outdated(message):
            return AGAIN
        self._count_hits()
        self._used.now_s = self._clock()
        before = self.state
        decision = decide(before, self._completed(message), self._clock(), self._policy)
        self.hits.follow(before, decision.state)
        self.state = decision.state
        self._follow(decision)
        if isinstance(message, Put):
            # What nobody used yet is evicted first; a gateway that puts a payload uses it.
            self._use(message.mark.target.key)
        self._effects.extend(decision.effects)
        # Due at once, until all effects were run: whatever comes in between, the own thread goes on.
        self.wake_at_s = -inf
        try:
            if isinstance(message, Checked):
                self.hits.renew(self.state, message.target)
            if self._run_effects():
                self.wake_at_s = self.state.wake_at_s
        except Exception:  # noqa: BLE001 - no stack or memory is left on this thread; the own thread tries again
            self.hits.forget()
        return _reply_to(message, decision)

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
                return Built(build, content, check, took_s, held_bytes, moved, self._used)
            case Weighed():
                return Weighed(message.held_bytes, self._used, message.leaving)
            case Put():
                return replace(message, recency=self._used)
            case (
                Checked() | CheckFailed() | Publish() | Failed() | Leave() | Tick() | Stop() | Evict()
                | Follow() | Unfollow() | Notified()
            ):  # fmt: skip
                return message
            case _:
                assert_never(message)

    def _run_effects(self) -> bool:
        """Run what is asked for, in order; false if one failed and is left to the own thread."""
        effects = self._effects
        if self._failed is not None and self.thread.is_alive and not self.thread.is_current:
            return False
        while effects:
            effect = effects[0]
            try:
                if isinstance(effect, Answer) and self._failed is not effect:
                    self._note(effect)
                elif isinstance(effect, Deliver) and isinstance(effect.answer, Served):
                    self._use(effect.key)
                self._runner.run(effect, self.send)
            except Exception as failure:  # noqa: BLE001 - announced if it fails again
                if self._failed is not effect:
                    self._failed = effect
                    return False
                effects.popleft()
                self._failed = None
                self._give_up(effect, failure)
                continue
            effects.popleft()
            self._failed = None
        return True

    def _give_up(self, effect: Effect, failure: Exception) -> None:
        match effect:
            case Answer():
                self._runner.tell_lost(effect, failure)
            case RunBuild():
                self.actor_ref.tell(Failed(effect.build, failure, text_of(failure)))
            case TakeCheck():
                self.actor_ref.tell(CheckFailed(effect.target, one_line_of(failure), asked_s=effect.asked_s))
            case Deliver() | Abandon() | Tell() | Release():
                # Nobody waits for it; a follower hears of the next change.
                pass
            case _:
                assert_never(effect)
        self._runner.report(failure)

    def _note(self, effect: Answer) -> None:
        answer = effect.answer
        if not isinstance(answer, Served):
            self._counts.add(effect.key, type(answer).__name__)
            return
        self._counts.add(effect.key, answer.outcome, answer.reason)
        self._use(effect.key)
        if answer.outcome == "hit":
            self.hits.remember(self.state, answer, self._clock())

    def _count_hits(self) -> None:
        """Count the hits since the last message, in the order of their last use."""
        used: list[Hit] = []
        while self._used_hits:
            used.append(self._used_hits.pop())
        for hit in sorted(used, key=_used_s):
            # No call between the look and the store: what comes meanwhile is counted the next time.
            count, hit.count = hit.count, 0
            entry = hit.served.entry
            self._used.use(entry.target.key, hit.used_s, count)
            self._read_scopes.add(entry.target.scope)
            if self.state.entry_of(entry.target) is entry:
                self._counts.add_remembered(entry.target.key, "hit", count)

    def _follow(self, decision: Decision) -> None:
        """Keep the order of use of what is held, and count what happened."""
        for happened in decision.transitions:
            match happened:
                case Stored(entry=entry):
                    key = entry.target.key
                    self._counts.begin(key)
                    self._used.add(key)
                case Ended(build=build):
                    self._counts.add_build(build)
                case Evicted(key=key, bound=bound):
                    self._counts.begin(key)
                    self._counts.add_evicted(bound)
                    self._used.drop(key)

    def _use(self, key: Hashable) -> None:
        self._used.use(key, self._clock())


def _reply_to(message: Message, decision: Decision) -> bool | None:
    """Return whether what was put is held, or anything was evicted; None for other messages."""
    if isinstance(message, Put):
        held = decision.state.entry_of(message.mark.target)
        return held is not None and held.content is message.content
    if isinstance(message, Evict):
        return any(isinstance(happened, Evicted) for happened in decision.transitions)
    return None


def _used_s(hit: Hit) -> float:
    return hit.used_s
