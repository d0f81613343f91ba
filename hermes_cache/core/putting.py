"""Putting and evicting: what a gateway itself hands in for a key, and takes out.

What is put counts as read from its mark on, as a build's payload does from the build's beginning. It is stored
only if no event touched the key since, and answers only the readers whose version it is new enough for. Nobody
checked its sources, so its stamp counts as moved. A build that runs goes on in both cases.
Source: rules R1, V2, P4.
"""

from hermes_cache.core.answering import deliver
from hermes_cache.core.effects import Served
from hermes_cache.core.messages import Evict, Put
from hermes_cache.core.record import PastBuild, PastOutcome
from hermes_cache.core.stamps import Check, Stamp
from hermes_cache.core.state import Entry, Waiter
from hermes_cache.core.storing import drop, store, why_not_stored
from hermes_cache.core.transitions import Measured, PutIn
from hermes_cache.core.turn import Turn


def put(turn: Turn, message: Put) -> None:
    """Take in a payload that a gateway made, and answer the readers that it may answer."""
    target = message.mark.target
    held = turn.state.entry_of(target)
    if held is not None and held.content is message.content:
        return
    entry = _entry_of(turn, message, held)
    why_not = "the cache was stopped" if turn.state.stopped else why_not_stored(turn, entry)
    outcome: PastOutcome = "discarded" if why_not else "stored"
    at_s = message.mark.at_s
    past = PastBuild(entry.build_id, "put", at_s, turn.now_s - at_s, outcome, why_not, None)
    turn.record(PutIn(target.key, past))
    if why_not:
        turn.record(Measured(message.held_bytes))
        turn.discard(entry.content, target)
    else:
        store(turn, entry, message)
        deliver(turn, target, Served(entry, "built"))
    _answer_waiters(turn, entry)


def evict(turn: Turn, message: Evict) -> None:
    """Let go of what is held for some keys, or for all. A build of them goes on, and is stored."""
    keys = tuple(turn.state.entries) if message.keys is None else message.keys
    for key in keys:
        if key in turn.state.entries:
            drop(turn, key, "asked")


def _entry_of(turn: Turn, message: Put, held: Entry | None) -> Entry:
    mark = message.mark
    return Entry(
        mark.target,
        message.content,
        mark.version,
        Stamp(mark.marker, Check.missing()),
        turn.now_s,
        held.build_s if held else 0.0,
        turn.state.last_build + 1,
        mark.at_s,
    )


def _answer_waiters(turn: Turn, entry: Entry) -> None:
    answers = [(waiter, _answer_for(waiter, entry)) for waiter in turn.state.for_build(entry.target).values()]
    turn.dismiss([waiter for waiter, served in answers if served is not None])
    for waiter, served in answers:
        if served is not None:
            turn.answer(waiter.read, served)


def _answer_for(waiter: Waiter, entry: Entry) -> Served | None:
    """Return what a reader gets that waits for a build; None if it waits on."""
    request = waiter.request
    is_read_since = entry.read_from_s >= request.began_s
    if entry.version < waiter.version or (request.freshness.insists and not is_read_since):
        return None
    # What moved when the read began is in the payload for sure only if that was read later.
    is_current = is_read_since or waiter.reason in ("miss", "event")
    if not is_current or waiter.moves > entry.stamp.marker.moves:
        # It may have it as stale, but only once its wait is over (R4).
        return None
    return Served(entry, "waited", waiter.reason, waiter.overtaken_by)
