"""Rule P4: what the held contents weigh together, shared rows once."""

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

from hermes_cache.cache.effect_runner import EffectRunner
from hermes_cache.cache.ledger import Ledger
from hermes_cache.payload.content import Content
from hermes_cache.payload.frozen import Json
from hermes_cache.payload.rows import EncodedRow
from hermes_cache.sessions.rows import freeze_row
from hermes_cache.threads.calls import Call
from tests.simulation.core_script import content
from tests.steps import steps_of
from tests.waiting import WAIT_S

T = TypeVar("T")

_ROWS = [freeze_row({"session_id": str(number), "title": "x" * number}) for number in range(4)]


class _ReadMeanwhile(EncodedRow):
    """A row that a finalizer has decoded, in the middle of being decoded."""

    __slots__ = ("read",)

    def __init__(self, encoded: bytes, read: Callable[[], object]) -> None:
        super().__init__(encoded, b"", None)
        self.read = read

    def decoded(self) -> Json:
        read, self.read = self.read, lambda: None
        read()
        return super().decoded()


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


def test_a_further_content_of_the_same_rows_takes_few_bytes_a_row() -> None:
    """P4: 64 entries over one home hold little more than its rows."""
    rows = tuple([EncodedRow(b"{}", b"", None) for _ in range(5_000)])
    ledger, contents = Ledger(), [Content(b"{}", rows, name="sessions") for _ in range(3)]
    held_bytes: list[int] = []
    tracemalloc.start()
    for each in contents:
        ledger.add(each)
        held_bytes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert held_bytes[2] - held_bytes[1] < 45 * len(rows)


def test_a_ledger_does_not_grow_by_rows_that_are_gone() -> None:
    """P4"""
    ledger = Ledger()
    kept: list[Content] = []
    held_bytes: list[int] = []
    tracemalloc.start()
    for _ in range(20):
        # The earlier ones live, so no row is where an earlier one was.
        kept.append(Content(b"{}", tuple([EncodedRow(b"{}", b"", None) for _ in range(500)]), name="sessions"))
        before = tracemalloc.get_traced_memory()[0]
        ledger.add(kept[-1])
        ledger.drop(kept[-1])
        held_bytes.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()

    assert sum(held_bytes[1:]) < 32 * 500


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


def _replaced(count: int) -> Callable[[], object]:
    """Return what counts in a list of so many rows that differs in one from its predecessor, and that one out."""
    rows = [EncodedRow(b"{}", b"", None) for _ in range(count)]
    ledger, older = Ledger(), Content(b"{}", tuple(rows), name="sessions")
    ledger.add(older)
    newer = older.changed(b"{}", [count // 2], [(0, EncodedRow(b"{}", b"", None))])
    return lambda: (ledger.add(newer, older), ledger.drop(older))


def test_a_list_that_replaces_one_from_which_it_differs_in_a_row_costs_the_same_however_long_it_is() -> None:
    """P4, B8: each refresh does that in the process that serves."""
    short, long = steps_of(_replaced(100)), steps_of(_replaced(5_000))

    assert long <= 1.1 * short


def test_a_read_in_the_middle_of_counting_counts_nothing_twice() -> None:
    """P4, L6: a finalizer that reads may strike any thread at any moment."""
    ledger = Ledger()
    encoded = b'{"title":"some title","counts":[1000,2000]}'
    rows = [_ReadMeanwhile(encoded, lambda: ledger.note_decoded(held)), EncodedRow(encoded, b"", None)]
    held = Content(b"{}", tuple(rows), name="sessions")
    plain = Content(b"{}", tuple([EncodedRow(encoded, b"", None) for _ in rows]), name="sessions")
    other = Ledger()

    weights = [ledger.add(held), _within(lambda: ledger.note_decoded(held))]

    assert weights == [other.add(plain), other.note_decoded(plain)]
    assert ledger.drop(held) == 0


def test_a_read_in_the_middle_of_another_gets_the_same_payload() -> None:
    """P1, L6"""
    nobody: Any = None
    runner = EffectRunner(nobody, nobody, nobody, nobody, max_bytes=1000, owner_field=None)
    payloads: list[object] = []
    row = _ReadMeanwhile(b'{"title":"x"}', lambda: payloads.append(runner.decoded(held, lambda _: None)))
    held = Content(b"{}", (row,), name="sessions")

    payloads.append(_within(lambda: runner.decoded(held, lambda _: None)))

    assert payloads[0] is payloads[1]
    assert payloads[0] == {"sessions": [{"title": "x"}]}


def _within(act: Callable[[], T]) -> T:
    """Do something on another thread, which may block itself."""
    call = Call(act)
    threading.Thread(target=call.run, daemon=True).start()
    assert call.wait(WAIT_S), "it waits for itself"
    return call.result()
