"""A gzip stream that is put together of pieces that were compressed apart (D4)."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.rendering.bodies import Body, GzipStream

PIECES = st.lists(st.tuples(st.sampled_from(["text", "body"]), st.binary(max_size=300)), max_size=8)


def _pieces(stream: GzipStream, given_pieces: list[tuple[str, bytes]]) -> list[bytes]:
    packed = []
    for kind, piece in given_pieces:
        packed.append(stream.text(piece) if kind == "text" else b"".join(stream.body(Body(piece, ""))))
    return packed


@given(PIECES)
def test_any_pieces_one_after_the_other_are_one_gzip_file(pieces: list[tuple[str, bytes]]) -> None:
    # Proves D4.
    stream = GzipStream()

    sent = b"".join([stream.begin(), *_pieces(stream, pieces), stream.end()])

    assert gzip.decompress(sent) == b"".join(piece for _, piece in pieces)


@given(PIECES)
def test_each_piece_can_be_read_when_it_arrives(pieces: list[tuple[str, bytes]]) -> None:
    # Proves D4: nobody waits for the next event to read this one.
    stream, reader = GzipStream(), zlib.decompressobj(wbits=31)
    reader.decompress(stream.begin())

    read = [reader.decompress(sent) for sent in _pieces(stream, pieces)]

    assert read == [piece for _, piece in pieces]


def test_a_text_longer_than_a_block_takes_several() -> None:
    # Proves D4.
    stream, text = GzipStream(), bytes(range(256)) * 1_000

    sent = stream.begin() + stream.text(text) + stream.end()

    assert gzip.decompress(sent) == text
