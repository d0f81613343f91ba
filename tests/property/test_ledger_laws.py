"""Rule P4: whatever contents come, replace one another and go, what is held is the sum of the different rows."""

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.cache.ledger import Ledger, object_bytes
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import EncodedRow, Piece

_PIECES = [EncodedRow(b'{"title":"%s"}' % (b"x" * number), b"%d" % number, None) for number in range(8)]
_NUMBERS = st.integers(0, 4)
_LISTS = st.lists(
    st.one_of(st.permutations(_PIECES[:5]), st.lists(st.sampled_from(_PIECES), max_size=8, unique_by=id)),
    min_size=3,
    max_size=5,
)
_TWICE = st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=2)
_ACTS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "drop", "decode"]), _NUMBERS, _NUMBERS), min_size=20, max_size=40
)


def _weight(held: list[Content], decoded: set[int]) -> int:
    rows: dict[int, Piece] = {id(piece): piece for content in held for piece in content.pieces or ()}
    objects = [object_bytes(piece.decoded()) for each, piece in rows.items() if each in decoded]
    envelopes = [len(content.envelope) for content in held]
    return sum(envelopes) + sum([len(piece.encoded) for piece in rows.values()]) + sum(objects)


@given(lists=_LISTS, twice=_TWICE, acts=_ACTS)
def test_what_is_held_is_the_sum_of_the_different_rows(
    lists: list[list[EncodedRow]], twice: list[tuple[int, int]], acts: list[tuple[str, int, int]]
) -> None:
    """P4: also if a row stands in a content twice."""
    for which, at in twice:
        each = lists[which % len(lists)]
        each += each[at : at + 1]
    ledger, held, decoded = Ledger(), list[Content](), set[int]()
    contents = [Content(b"{%d}" % number, tuple(each), name="sessions") for number, each in enumerate(lists)]

    for act, which, other in acts:
        content = contents[which % len(contents)]
        match act:
            case "add":
                ledger.add(content, contents[other % len(contents)])
                held += [] if content in held else [content]
            case "drop":
                ledger.drop(content)
                held = [each for each in held if each is not content]
                decoded &= {id(piece) for each in held for piece in each.pieces or ()}
            case "decode":
                ledger.note_decoded(content)
                decoded |= {id(piece) for each in held if each is content for piece in each.pieces or ()}
        assert ledger.held_bytes == _weight(held, decoded)

    for content in contents:
        ledger.drop(content)
    assert ledger.held_bytes == 0
