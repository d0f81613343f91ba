"""A turn: the decisions that one message leads to.

Each is folded into the state at once, so that later ones of the same turn see it; the effects are gathered.
Nothing outside changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hermes_cache.core.effects import Answer, Effect, Release, Served, Tell
from hermes_cache.core.notices import notices_of
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Entry, Read, State, Target, Waiter
from hermes_cache.core.transitions import Left, Measured, Transition, Waited
from hermes_cache.errors import HermesCacheError
from hermes_cache.payload.content import Content


class Decision(NamedTuple):
    """What came of a message.

    Attributes:
        state: The state after it.
        transitions: What happened; folded over the state before, they make the state after.
        effects: What is to be done now, in order.
    """

    state: State
    transitions: tuple[Transition, ...]
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class Turn:
    """The state that one decision works on."""

    state: State
    policy: Policy
    now_s: float
    transitions: list[Transition]
    effects: list[Effect]
    loose: dict[int, Entry] = field(default_factory=dict)
    """What was evicted, or lost a reader that might fall back to it: the end of the turn lets it go."""

    @classmethod
    def over(cls, state: State, policy: Policy, now_s: float) -> "Turn":
        """Begin a turn."""
        return cls(state, policy, now_s, [], [])

    def record(self, transition: Transition) -> None:
        """Let something happen."""
        self.state = transition.apply(self.state)
        self.transitions.append(transition)

    def do(self, effect: Effect) -> None:
        """Ask something of the world."""
        self.effects.append(effect)

    def answer(self, read: Read, answer: Served | HermesCacheError) -> None:
        """Answer a read that does not wait, or no longer."""
        self.do(Answer(read.reader, read.target.key, answer))

    def wait(self, waiter: Waiter, *, until_s: float) -> None:
        """Let a read wait, until then or its own bound."""
        bound_s = waiter.request.began_s + waiter.request.timeout_s
        number = self.state.last_wait + 1
        self.record(Waited(replace(waiter, until_s=min(until_s, bound_s), number=number)))

    def dismiss(self, waiters: Iterable[Waiter]) -> list[Waiter]:
        """Let reads wait no more, and return them in order."""
        dismissed = list(waiters)
        if dismissed:
            self.record(Left(tuple(dismissed)))
            self.loose.update({waiter.kept.build_id: waiter.kept for waiter in dismissed if waiter.kept})
        return dismissed

    def let_go(self, entry: Entry) -> None:
        """Let go of an entry that is not held any more, once no waiting reader may fall back to it (R4)."""
        if self.state.is_kept(entry) or entry.build_id in self.loose:
            self.loose[entry.build_id] = entry
        else:
            self._release(entry)

    def discard(self, content: Content, target: Target) -> None:
        """Let go of a content that is not stored, unless it is what is held."""
        if not self.state.holds(content, target):
            self.do(Release(content))

    def decision(self) -> Decision:
        """End the turn: let go of what is not needed any more, and announce what happened."""
        for entry in self.loose.values():
            if not self.state.is_kept(entry):
                self._release(entry)
        news = [Tell(notice) for happened in self.transitions for notice in notices_of(happened)]
        return Decision(self.state, tuple(self.transitions), (*self.effects, *news))

    def _release(self, entry: Entry) -> None:
        self.record(Measured(max(0, self.state.held_bytes - entry.content.size_bytes)))
        self.do(Release(entry.content))
