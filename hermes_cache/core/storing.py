"""Storing: what is held, what has to go, and who hears of it.

Source: rules P4, B4, E6, E9.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Final, Literal

from hermes_cache.core.answering import answer_stale, too_much_is_kept
from hermes_cache.core.effects import Release, Tell, TellSourceChanged
from hermes_cache.core.events import EventId
from hermes_cache.core.messages import Built, Recency, Weighed
from hermes_cache.core.notices import BuildDiscarded, EntryEvicted, EntryStored
from hermes_cache.core.state import Entry, Told
from hermes_cache.core.transitions import Evicted, Measured, Stored, SubscribersTold
from hermes_cache.core.turn import Turn

_TOLD_EVERY_S: Final = 2.0
"""Subscribers hear of one profile's rows at most this often (E9)."""


def store(turn: Turn, entry: Entry, message: Built, *, overtaken_by: EventId | None) -> str | None:
    """Store a payload unless an event overtook its build, or it is too large to be held.

    Returns:
        Why it is not stored, in words; None where it is.
    """
    key, size_bytes = entry.target.key, entry.content.size_bytes
    turn.record(Measured(message.held_bytes))
    why_not = _why_not(turn, entry, size_bytes)
    if why_not:
        turn.do(Tell(BuildDiscarded(key, entry.build_id, overtaken_by)))
        turn.do(Release(entry.content))
        return why_not
    replaced = turn.state.entry_of(entry.target)
    turn.record(Stored(entry))
    turn.do(Tell(EntryStored(key, entry.version, size_bytes)))
    if replaced:
        turn.let_go(replaced)
    _evict(turn, message.recency, keep=key)
    for profile in sorted(message.moved, key=str):
        _tell_moved(turn, profile)
    return None


def weighed(turn: Turn, message: Weighed) -> None:
    """Take in what is held by an exact measure, and evict what is over the bound."""
    turn.record(Measured(message.held_bytes))
    # What is on its way in or out weighs in, and must not push out the very last; once all is settled, it may go.
    unsettled = message.leaving or turn.state.running() > 0
    _evict(turn, message.recency, keep=next(iter(reversed(message.recency)), None) if unsettled else None)


def tell_again(turn: Turn) -> None:
    """Tell subscribers of the rows that moved while they were not to be told (E9)."""
    for profile, told in list(turn.state.told.items()):
        if told.again and told.at_s + _TOLD_EVERY_S <= turn.now_s:
            turn.record(SubscribersTold(profile, Told(turn.now_s)))
            turn.do(TellSourceChanged(profile))


def again_at_s(told: Told) -> float | None:
    """Return when subscribers are to hear of a profile once more."""
    return told.at_s + _TOLD_EVERY_S if told.again else None


def _why_not(turn: Turn, entry: Entry, size_bytes: int) -> str | None:
    if entry.version < turn.state.version_of(entry.target):
        return "an event overtook it"
    most = turn.policy.max_bytes
    return f"its {size_bytes} bytes are over Policy.max_bytes, {most}" if size_bytes > most else None


def _tell_moved(turn: Turn, profile: str | None) -> None:
    told = turn.state.told.get(profile)
    if told is None or told.at_s + _TOLD_EVERY_S <= turn.now_s:
        turn.record(SubscribersTold(profile, Told(turn.now_s)))
        turn.do(TellSourceChanged(profile))
        return
    turn.record(SubscribersTold(profile, replace(told, again=True), told.at_s + _TOLD_EVERY_S))


def _evict(turn: Turn, recency: Recency, *, keep: Hashable | None) -> None:
    coldest_first = iter(recency)
    while (bound := _bound_reached(turn)) is not None:
        key = next((key for key in coldest_first if key != keep and key in turn.state.entries), None)
        if key is None:
            break
        _drop(turn, key, bound)
    _answer_those_kept_for(turn)


def _bound_reached(turn: Turn) -> Literal["entries", "bytes"] | None:
    if len(turn.state.entries) > turn.policy.max_entries:
        return "entries"
    return "bytes" if turn.state.held_bytes > turn.policy.max_bytes else None


def _drop(turn: Turn, key: Hashable, bound: Literal["entries", "bytes"]) -> None:
    entry = turn.state.entries[key]
    turn.record(Evicted(key))
    turn.do(Tell(EntryEvicted(key, bound)))
    turn.let_go(entry)


def _answer_those_kept_for(turn: Turn) -> None:
    """If too much is kept for waiting readers, give them at once what is not held any more (R4)."""
    if not too_much_is_kept(turn):
        return
    for kept in list(turn.state.kept.values()):
        target = kept.entry.target
        if turn.state.entry_of(target) is kept.entry:
            continue
        both = (*turn.state.for_build(target).values(), *turn.state.for_check(target).values())
        for waiter in turn.dismiss(each for each in both if each.kept is kept.entry):
            answer_stale(turn, waiter, kept.entry, waiter.reason or "source")
