"""Storing: what is held, what has to go, and when subscribers hear that rows moved.

Source: rules P4, B4, E6, E9.
"""

from collections.abc import Hashable
from math import inf
from typing import Final, Literal

from hermes_cache.core.answering import answer_failed, answer_stale, is_over_kept_bound
from hermes_cache.core.messages import Built, Put, Recency, Weighed
from hermes_cache.core.state import Entry, News
from hermes_cache.core.transitions import Bound, Evicted, Measured, NewsDelayed, NewsSent, Stored
from hermes_cache.core.turn import Turn

_NEWS_EVERY_S: Final = 2.0
"""Subscribers hear of one profile's rows at most this often (E9)."""


def why_not_stored(turn: Turn, entry: Entry) -> str | None:
    """Say why a payload may not be stored, in words: it is outdated, older than what is held, or too large."""
    if entry.version < turn.state.version_of(entry.target):
        return "an event overtook it"
    held = turn.state.entry_of(entry.target)
    if held is not None and held.is_newer_than(entry):
        return "what is held was read later"
    size_bytes, most = entry.content.size_bytes, turn.policy.max_bytes
    return f"its {size_bytes} bytes are over Policy.max_bytes, {most}" if size_bytes > most else None


def store(turn: Turn, entry: Entry, message: Built | Put) -> None:
    """Store a payload, evict what has to go for it, and send the news of rows that moved."""
    turn.record(Measured(message.held_bytes))
    replaced = turn.state.entry_of(entry.target)
    turn.record(Stored(entry))
    if replaced:
        turn.let_go(replaced)
    _evict(turn, message.recency, keep=entry.target.key)
    for profile in sorted(message.moved, key=str):
        _send_news(turn, profile)


def weighed(turn: Turn, message: Weighed) -> None:
    """Take in what is held by an exact measure, and evict what is over the bound."""
    turn.record(Measured(message.held_bytes))
    # What is on its way in or out weighs in, and must not push out the very last; once all is settled, it may go.
    unsettled = message.leaving or turn.state.running() > 0
    _evict(turn, message.recency, keep=next(iter(reversed(message.recency)), None) if unsettled else None)


def send_delayed_news(turn: Turn) -> None:
    """Send subscribers the news that were delayed, if they are due (E9)."""
    for profile, news in list(turn.state.news.items()):
        if due_again_s(news) <= turn.now_s:
            turn.record(NewsSent(profile, turn.now_s))


def due_again_s(news: News) -> float:
    """Return when subscribers are to hear of a profile once more; infinity if they are not."""
    return news.sent_at_s + _NEWS_EVERY_S if news.is_due_again else inf


def forget(turn: Turn, key: Hashable) -> None:
    """Let go of the entry of a key, if there is one: its profile is gone (X8)."""
    if key in turn.state.entries:
        drop(turn, key, "gone")


def _send_news(turn: Turn, profile: str | None) -> None:
    news = turn.state.news.get(profile)
    if news is None or news.sent_at_s + _NEWS_EVERY_S <= turn.now_s:
        turn.record(NewsSent(profile, turn.now_s))
    else:
        turn.record(NewsDelayed(profile, news.sent_at_s + _NEWS_EVERY_S))


def _evict(turn: Turn, recency: Recency, *, keep: Hashable | None) -> None:
    coldest_first = iter(recency)
    while (bound := _bound_reached(turn)) is not None:
        key = next((key for key in coldest_first if key != keep and key in turn.state.entries), None)
        if key is None:
            break
        drop(turn, key, bound)
    _answer_those_kept_for(turn)


def _bound_reached(turn: Turn) -> Literal["entries", "bytes"] | None:
    if len(turn.state.entries) > turn.policy.max_entries:
        return "entries"
    return "bytes" if turn.state.held_bytes > turn.policy.max_bytes else None


def drop(turn: Turn, key: Hashable, bound: Bound) -> None:
    """Let go of the entry of a key that is held."""
    entry = turn.state.entries[key]
    turn.record(Evicted(key, bound))
    turn.let_go(entry)


def _answer_those_kept_for(turn: Turn) -> None:
    """If too much is kept for waiting readers, answer those at once whose payload is not held any more (R4)."""
    if not is_over_kept_bound(turn):
        return
    for kept in list(turn.state.kept.values()):
        target = kept.entry.target
        if turn.state.entry_of(target) is kept.entry:
            continue
        both = (*turn.state.for_build(target).values(), *turn.state.for_check(target).values())
        for waiter in turn.dismiss(each for each in both if each.kept is kept.entry):
            failure = turn.state.failures.get(target.key)
            if failure is None:
                answer_stale(turn, waiter, kept.entry, waiter.reason or "source")
            else:
                # What is kept may be too old to stand in for builds that fail (R7).
                answer_failed(turn, waiter, failure)
