"""Tables and timers: the next version of a collection, and the one before unchanged (rule B5)."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.core.tables import Table, Timers

_CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120)


@given(_CHANGES)
def test_a_table_is_a_dict_whose_versions_stay(changes: list[tuple[bool, int]]) -> None:
    """Every version holds what a dict would hold; none changes when the next is made."""
    table: Table[int, int] = Table()
    plain: dict[int, int] = {}
    versions = [(table, dict(plain))]

    for number, (is_set, key) in enumerate(changes):
        if is_set:
            table, plain[key] = table.with_one(key, number), number
        else:
            table = table.without([key, key + 1])
            plain.pop(key, None)
            plain.pop(key + 1, None)
        versions.append((table, dict(plain)))

    versions.append(
        (table.with_all(dict.fromkeys(range(0, 40, 3), -1)), plain | dict.fromkeys(range(0, 40, 3), -1))
    )

    for version, expected in versions:
        assert dict(version) == expected
        assert len(version) == len(expected)
        assert [key in version for key in range(42)] == [key in expected for key in range(42)]
        assert [version.get(key, -1) for key in range(42)] == [expected.get(key, -1) for key in range(42)]


def test_a_table_keeps_the_order_of_insertion() -> None:
    """I15: no order hangs on a hash"""
    table: Table[str, int] = Table()
    names = [f"name {number}" for number in range(100)]
    for number, name in enumerate(names):
        table = table.with_one(name, number)

    table = table.without(names[10:20]).with_one("name 5", -1).with_one("last", 0)

    assert list(table) == [*names[:10], *names[20:], "last"]
    assert list(reversed(table)) == list(table)[::-1]


def test_a_key_that_is_not_there_is_an_error_and_to_take_it_out_changes_nothing() -> None:
    """As in a dict."""
    table: Table[str, int] = Table()

    assert table.without(["a"]) is table
    assert table.get("a") is None
    with pytest.raises(KeyError):
        table["a"]


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=400), st.floats(0, 10))
def test_timers_are_due_in_order(acts: list[tuple[float, bool]], now_s: float) -> None:
    """What is due by a moment is what a sorted list would give; timers that were taken out are not."""
    timers = Timers()
    for number, (at_s, _) in enumerate(acts):
        timers = timers.with_one(at_s, number, f"thing {number}")
    for number, (at_s, is_taken_out) in enumerate(acts):
        timers = timers.without(at_s, number) if is_taken_out else timers

    left = sorted((at_s, number) for number, (at_s, is_taken_out) in enumerate(acts) if not is_taken_out)
    assert timers.due(now_s) == [f"thing {number}" for at_s, number in left if at_s <= now_s]
    assert timers.first_s() == (left[0][0] if left else inf)
    assert not left or timers.first() == left[0]


def test_a_timer_at_infinity_is_none_and_one_that_is_not_there_cannot_be_taken_out() -> None:
    """B5"""
    timers = Timers().with_one(1.0, 1)

    assert timers.with_one(inf, 2) is timers
    assert timers.without(2.0, 1) is timers
    assert timers.without(1.0, 2) is timers
    assert Timers().without(1.0, 1) == Timers()


def test_timers_are_equal_if_they_hold_the_same_however_they_came() -> None:
    """A fold in two steps gives what a fold in one gives."""
    one, other = Timers().with_one(1.0, 1).with_one(2.0, 2), Timers().with_one(2.0, 2).with_one(1.0, 1)

    assert one == other
    assert hash(one) == hash(other)
    assert one != Timers()
    assert one != "timers"
