"""The cache actor: the one owner of a cache's state.

All reads, writes and invalidations go through its mailbox. A message is decided by the core, its state is taken
over in one step, and then its effects are run: whoever is interrupted in between, the next to run the mailbox goes
on where it stopped. A hit is no message of that kind: what was last judged a hit is remembered, and stands until
an entry, a version or a stream changes, until a check finds otherwise, or until the moment when its age or the age
of its check ends it.
Source: rules R1, R2, E5, L4.
"""

import contextlib
from collections import Counter, deque
from math import inf
from typing import Final

import pykka

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.actors.tallies import Tallies
from hermes_cache.actors.works import Works
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Answer, Effect, RunBuild, Served
from hermes_cache.core.freshness import Verdict, judge, trusted_for_s, ttl_s
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.messages import Built, Checked, Failed, Message, Publish, Tick, Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Read, State, Target
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock

logger = QuietLogger(__name__)

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


class _Turn:
    """A message that was decided, and those of its effects that have not been run."""

    __slots__ = ("effects", "message", "state")

    def __init__(self, message: object, state: State, effects: deque[Effect]) -> None:
        self.message = message
        self.state = state
        self.effects = effects


class CacheActor(MailboxActor):
    """Decides what comes in, and remembers hits.

    A `Target` is asked for a hit: the reply is `Served`, or None. Any other message is the core's; its reply is
    `AGAIN` or None, and readers are answered as an effect.

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
        self._turn_taken = _Turn(None, state, deque())
        self._used_s: dict[SessionListKey, float] = {}
        self._read_scopes: set[object] = set()

    @property
    def state(self) -> State:
        """The state as of the last message; it may be looked at from any thread."""
        return self._turn_taken.state

    def counted(self) -> dict[str, int]:
        """Count the reads by outcome, those of this very moment too; from any thread."""
        recent = sum(hit.count for hit in list(self.hits.values()))
        outcomes = dict(self.outcomes)
        return {**outcomes, "hit": outcomes.get("hit", 0) + recent} if recent else outcomes

    def counted_for(self, key: SessionListKey) -> dict[str, int]:
        """Count the reads of a key by outcome, since the payload that it holds was built (J7); from any thread."""
        counts, hit = self._tallies.of(key, self._held_build(key)), self.hits.get(key)
        if hit is not None and hit.count:
            counts["hit"] += hit.count
        return dict(counts)

    def send(self, message: Message) -> None:
        """Take what comes of an effect; once the cache is stopped, nobody wants it any more."""
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.ask(message)

    def on_receive(self, message: object) -> object:
        """Answer a read from the last hit, or decide a message."""
        if type(message) is Target:
            return self._hit(message)
        return self._decide(message)  # type: ignore[arg-type]  # pykka's messages have no type

    def on_wake(self) -> None:
        """Let time pass."""
        self._decide(Tick())

    def _hit(self, target: Target) -> Served | None:
        hit = self.hits.get(target.key)
        if hit is None:
            return None
        now_s = self._clock()
        if now_s >= hit.until_s:
            return None
        hit.count += 1
        hit.used_s = now_s
        return hit.served

    def _decide(self, message: Message) -> str | None:
        if isinstance(message, Read | Publish) and self._is_outdated(message):
            return AGAIN
        if self._turn_taken.message is not message:
            self._run_effects()
            self._count_hits()
            before = self.state
            decision = decide(before, self._completed(message), self._clock(), self._policy)
            if not _leaves_hits(before, decision.state):
                self.hits = {}
            # One step: an interrupt comes before all of it, or after.
            self._turn_taken = _Turn(message, decision.state, deque(decision.effects))
            if isinstance(message, Checked):
                self._renew_hits(message.target)
        self._run_effects()
        self.wake_at_s = self.state.wake_at_s
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
            case Checked(by_build=False):
                read_since = message.target.scope in self._read_scopes
                self._read_scopes.discard(message.target.scope)
                return Checked(message.target, message.check, by_build=False, read_since=read_since)
            case Built(build, content, check, took_s, held_bytes, moved):
                return Built(build, content, check, took_s, held_bytes, moved, self._recency())
            case Weighed():
                return Weighed(message.held_bytes, self._recency(), message.leaving)
            case _:
                return message

    def _run_effects(self) -> None:
        effects = self._turn_taken.effects
        while effects:
            try:
                self._run(effects[0])
            except Exception as failure:  # noqa: BLE001 - logged by `_survive`
                self._survive(effects[0], failure)
            effects.popleft()

    def _run(self, effect: Effect) -> None:
        if isinstance(effect, Answer):
            self._note(effect)
        self._works.run(effect, self.send)

    def _survive(self, effect: Effect, failure: Exception) -> None:
        """Go on where the machine refuses a thread: the build fails, its readers are told."""
        logger.error("hermes_cache.effect_failed", exc_info=failure)
        if isinstance(effect, RunBuild):
            self.actor_ref.tell(Failed(effect.build, failure))

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
                self._used_s[key] = hit.used_s
                self._read_scopes.add(hit.served.entry.target.scope)
                self._tallies.add(key, hit.served.entry.build_id, "hit", hit.count)
                # Both in one step each: an interrupt in between counts a few hits twice, and loses none.
                self.outcomes["hit"] += hit.count
                hit.count = 0

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
