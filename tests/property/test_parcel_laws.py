"""Rule B8: what a process receives is what the worker built, whatever was sent before and is still held."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.builders.desk import Desk
from hermes_cache.builders.parcels import Changes, ReceivedRows
from hermes_cache.payload.content import Content
from hermes_cache.sessions.rows import SESSION_LIST

_any_rows = st.lists(st.integers(0, 15), unique=True, max_size=16)
_nearly_all_rows = st.sets(st.integers(0, 15), min_size=13).map(sorted)
_builds = st.lists(st.tuples(st.sampled_from("ab"), _any_rows | _nearly_all_rows, st.booleans()), max_size=12)


class _Rows:
    """Builds what it is told to build."""

    def __init__(self) -> None:
        self.numbers: Sequence[int] = ()

    def __call__(self, key: str) -> Mapping[str, object]:
        rows = [{"session_id": str(number), "title": "x" * number} for number in self.numbers]
        return {"sessions": rows, "count": len(rows), "key": key}


@given(_builds)
def test_what_is_received_is_what_was_built(builds: list[tuple[str, list[int], bool]]) -> None:
    """B8, E9"""
    builder, received = _Rows(), ReceivedRows()
    desk = Desk(builder, SESSION_LIST)
    held: dict[str, Content] = {}

    for key, numbers, is_let_go in builds:
        builder.numbers = numbers
        content = _receive(desk, received, key)
        fresh = _receive(Desk(builder, SESSION_LIST), ReceivedRows(), key)

        assert content.decoded() == fresh.decoded()
        assert content.size_bytes == fresh.size_bytes
        assert _are_shared(content, held)
        held[key] = content
        if is_let_go:
            del held[key], content


def test_a_list_that_is_held_is_sent_as_what_changed() -> None:
    """B8"""
    builder, received = _Rows(), ReceivedRows()
    desk = Desk(builder, SESSION_LIST)
    builder.numbers = range(20)
    first = _receive(desk, received, "a")
    builder.numbers = [30, *range(7), *range(8, 20)]
    last = received.last("a")
    assert last is not None

    sent = desk.build("a", {}, last.list_id)

    assert isinstance(sent, Changes)
    assert (list(sent.gone), [index for index, *_ in sent.come]) == ([7], [0])
    second = received.changed("a", first, sent)
    assert second.decoded() == _receive(Desk(builder, SESSION_LIST), ReceivedRows(), "a").decoded()


def _receive(desk: Desk, received: ReceivedRows, key: str) -> Content:
    """Do as `ProcessExecutor` does."""
    last = received.last(key)
    sent = desk.build(key, {}, last.list_id if last else None)
    if last is not None and isinstance(sent, Changes):
        return received.changed(key, last.content, sent)
    assert not isinstance(sent, Changes)
    held = received.held(key, sent)
    rows = desk.rows(sent.missing(held))
    return received.content(key, sent._replace(rows={**sent.rows, **rows}), held)


def _are_shared(content: Content, held: Mapping[str, Content]) -> bool:
    others = {piece.digest: piece for other in held.values() for piece in other.pieces or ()}
    return all(others.get(piece.digest, piece) is piece for piece in content.pieces or ())
