"""Proves rule X11 for the log of rows: what changed since a number, and when that is forgotten."""

from hermes_cache.stores import row_log
from hermes_cache.stores.row_log import RowLog
from hermes_cache.stores.session_store import Row


def _row(session_id: str, moment: float = 1.0) -> Row:
    return {"session_id": session_id, "last_message_at": moment}


def test_a_row_that_stays_the_same_is_no_change() -> None:
    """X6, X11"""
    log = RowLog()

    changed = [log.put("a", row, number) for number, row in enumerate([None, _row("a"), _row("a"), None, None], 1)]

    assert changed == [False, True, False, True, False]


def test_changes_since_a_number_are_what_came_after_it() -> None:
    """X11"""
    log = RowLog()
    for number, (name, row) in enumerate(
        [("a", _row("a")), ("b", _row("b")), ("a", _row("a", 3.0)), ("b", None)], 1
    ):
        log.put(name, row, number)

    found = [log.since(number) for number in range(5)]

    assert found == [
        ((_row("a", 3.0),), frozenset({"b"})),
        ((_row("a", 3.0),), frozenset({"b"})),
        ((_row("a", 3.0),), frozenset({"b"})),
        ((), frozenset({"b"})),
        ((), frozenset()),
    ]


def test_the_newest_row_is_first() -> None:
    """X11"""
    log = RowLog()
    for name, moment in (("a", 1.0), ("b", 3.0), ("c", 2.0)):
        log.put(name, _row(name, moment), 1)

    log.sort()

    assert [row["session_id"] for row in log.rows] == ["b", "c", "a"]


def test_sessions_that_are_gone_are_forgotten_past_the_bound_and_older_changes_with_them() -> None:
    """X11"""
    log = RowLog()
    for number in range(row_log.MOST_GONE + 1):
        log.put(f"s{number}", _row(f"s{number}"), 1)
    for number in range(row_log.MOST_GONE + 1):
        log.put(f"s{number}", None, number + 2)

    assert log.since(1) is None
    found = log.since(2)
    assert found is not None
    assert len(found[1]) == row_log.MOST_GONE
