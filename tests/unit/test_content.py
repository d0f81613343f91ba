"""Rules P4, O6 and E9: what an entry holds."""

import tracemalloc

import orjson

from hermes_cache.payload.content import Content, owners_that_differ, rows_differ
from hermes_cache.payload.frozen import Payload, frozen_dict
from hermes_cache.payload.rows import EncodedRow, encoded_json
from hermes_cache.sessions.rows import freeze, freeze_row
from tests.contents import content_of


def test_the_content_of_a_payload_keeps_its_rows_as_pieces() -> None:
    """O6"""
    payload = freeze({"sessions": [{"session_id": "a"}], "total": 1})

    content = content_of(payload)

    assert content.decoded() is payload
    assert content.envelope == b'{"total":1}'
    assert content.size_bytes == len(content.envelope) + sum(len(piece.encoded) for piece in content.pieces or ())


def test_a_payload_without_rows_is_all_envelope() -> None:
    """O6"""
    content = content_of(freeze({"total": 0}))

    body = content.body([])

    assert content.pieces is None
    assert content.rows() == []
    assert body == b'{"total":0}'


def test_contents_that_share_a_row_share_its_piece() -> None:
    """P4"""
    row = freeze_row({"session_id": "a"})

    first, second = (content_of(freeze({"sessions": [row], "n": n})) for n in range(2))

    assert first.pieces is not None
    assert second.pieces is not None
    assert first.pieces[0] is second.pieces[0]


def test_pieces_are_decoded_into_rows_that_keep_them() -> None:
    """P4, B8"""
    original = content_of(freeze({"sessions": [{"session_id": "a"}, None]}))
    pieces = tuple(EncodedRow(piece.encoded, piece.digest, piece.facts) for piece in original.pieces or ())
    content = Content(b'{"total":2}', pieces, name="sessions")

    payload = content.decoded()

    assert payload == {"total": 2, "sessions": [{"session_id": "a", "is_streaming": False}, None]}
    assert content.decoded() is payload
    assert [piece.encoded for piece in content_of(payload).pieces or ()] == [p.encoded for p in pieces]


def test_an_envelope_alone_is_decoded() -> None:
    """B8"""
    content = Content(b'{"total":2}', None)

    assert content.decoded() == {"total": 2}


def test_a_body_takes_the_rows_given_in_position_of_its_own() -> None:
    """O6"""
    for fields in ({}, {"total": 1}):
        content = content_of(freeze({"sessions": [{"session_id": "a"}], **fields}))

        body = content.body([*(piece.encoded for piece in content.pieces or ()), b'{"session_id":"b"}', b"null"])

        rows = [{"session_id": "a", "is_streaming": False}, {"session_id": "b"}, None]
        assert orjson.loads(body) == {"sessions": rows, **fields}


def test_profiles_differ_where_their_rows_do() -> None:
    """E9"""
    older = content_of(freeze({"sessions": [{"id": 1, "profile": "work"}, {"id": 2, "profile": "home"}]}))
    newer = content_of(freeze({"sessions": [{"id": 1, "profile": "work"}, {"id": 3, "profile": "home"}]}))

    assert owners_that_differ(older, newer, "profile") == {"home"}
    assert owners_that_differ(older, older, "profile") == frozenset()
    assert rows_differ(older, newer)
    assert not rows_differ(older, older)


def test_rows_of_no_profile_differ_for_none() -> None:
    """E9"""
    older = content_of(freeze({"sessions": [{"id": 1}, 7]}))
    newer = content_of(freeze({"sessions": []}))

    assert owners_that_differ(older, newer, "profile") == {None}


def test_a_kept_row_takes_no_more_memory_than_its_bytes_need() -> None:
    """X14: orjson alone keeps 16 KB for each"""
    row = frozen_dict(Payload, {"session_id": "a", "title": "t" * 500})
    tracemalloc.start()

    kept = [encoded_json(row) for _ in range(100)]
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept[0] == orjson.dumps(row)
    assert held_bytes < 2 * sum(map(len, kept))
