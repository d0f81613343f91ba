"""Rule P4: what the held contents weigh together, shared rows once."""

from hermes_cache.cache.ledger import Ledger
from hermes_cache.payload.content import Content
from hermes_cache.sessions.rows import freeze_row
from tests.simulation.core_script import content

_ROWS = [freeze_row({"session_id": str(number), "title": "x" * number}) for number in range(4)]


def _own_bytes(made: Content) -> int:
    return len(made.envelope)


def test_a_row_that_contents_share_counts_once_until_the_last_of_them_goes() -> None:
    """P4"""
    ledger, first, second = Ledger(), content(_ROWS[:3]), content(_ROWS[1:])
    weights = [ledger.add(first), ledger.add(second), ledger.drop(first), ledger.drop(second)]

    encoded = [len(piece.encoded) for piece in content(_ROWS).pieces or ()]

    assert weights == [
        first.size_bytes,
        sum(encoded) + _own_bytes(first) + _own_bytes(second),
        second.size_bytes,
        0,
    ]


def test_a_content_is_counted_in_and_out_once() -> None:
    """P4"""
    ledger, held, other = Ledger(), content(_ROWS), content(_ROWS[:1])

    weights = [ledger.add(held), ledger.add(held), ledger.drop(other), ledger.drop(held), ledger.drop(held)]

    assert weights == [held.size_bytes] * 3 + [0, 0]


def test_a_row_that_comes_twice_in_one_content_counts_once() -> None:
    """P4"""
    ledger, twice = Ledger(), content([_ROWS[1], _ROWS[1]])

    weights = [ledger.add(twice), ledger.drop(twice)]

    assert weights == [content([_ROWS[1]]).size_bytes, 0]
