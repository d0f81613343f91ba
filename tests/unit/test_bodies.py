"""A response body and its compressed form (O6, W4)."""

import gzip
import threading

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.rendering import bodies
from hermes_cache.rendering.bodies import Body
from tests.waiting import WAIT_S

TEXT = b"x" * 5_000


def test_a_body_is_compressed_when_somebody_asks_and_then_kept() -> None:
    # Proves W4.
    body = Body(TEXT, "tag")

    before = body.made("gzip")
    packed = body.encoded("gzip")

    assert before is None
    assert gzip.decompress(packed) == TEXT
    assert body.encoded("gzip") is packed
    assert body.made("gzip") is packed
    assert body.size_bytes == len(TEXT) + len(packed) + len(body.opening().deflated)


def test_all_who_ask_for_a_new_body_at_once_get_the_same_compressed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # Proves W4: 8 threads ask, and one of them compresses.
    body, together = Body(TEXT, "tag"), threading.Barrier(8)
    calls: list[int] = []
    opened = bodies._opened

    def counted(part: memoryview, coding: bodies.Coding) -> bodies.Opening:
        calls.append(len(part))
        return opened(part, coding)

    def ask() -> None:
        together.wait(WAIT_S)
        body.encoded("gzip")

    monkeypatch.setattr(bodies, "_opened", counted)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    assert calls == [len(TEXT) - 1]


@given(st.binary(min_size=1, max_size=100_000), st.binary(max_size=2_000))
def test_a_body_with_another_ending_decompresses_to_itself(text: bytes, ending: bytes) -> None:
    # Proves O7, for bodies within deflate's window of 32 KiB and beyond it.
    ended = Body(text, "tag").ending_in(ending)

    assert ended.body == text[:-1] + ending
    assert gzip.decompress(ended.encoded("gzip")) == ended.body
    assert ended.etag == "tag"


def test_the_part_that_bodies_share_is_compressed_once() -> None:
    # Proves O7: the second answer costs its own fields alone.
    body = Body(b"{" + TEXT + b"}", "tag")
    first, second = body.ending_in(b',"server_time":1}'), body.ending_in(b',"server_time":2}')

    before = second.made("gzip")
    first.encoded("gzip")
    opening = body.opening()
    packed = second.made("gzip")

    assert before is None
    assert packed is not None
    assert gzip.decompress(packed) == second.body
    assert body.opening() is opening
    assert body.size_bytes == len(body.body) + len(opening.deflated)


def test_an_unknown_coding_is_refused_by_its_name() -> None:
    # Proves W4.
    body = Body(TEXT, "tag")

    with pytest.raises(ValueError, match="'br'"):
        body.encoded("br")  # type: ignore[arg-type]  # what a caller might try


@given(st.binary(min_size=1, max_size=100_000), st.binary(max_size=2_000))
def test_zstd_frames_of_a_body_and_of_its_ending_follow_each_other(text: bytes, ending: bytes) -> None:
    # Proves W4, O7.
    body = Body(text, "tag")
    ended = body.ending_in(ending)

    assert zstd.decompress(body.encoded("zstd")) == text
    assert zstd.decompress(ended.encoded("zstd")) == ended.body


def test_without_zstd_a_body_is_compressed_by_gzip_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Proves W4.
    monkeypatch.setattr(bodies, "codings", lambda: ("gzip",))

    with pytest.raises(ValueError, match="install the extra zstd"):
        Body(TEXT, "tag").encoded("zstd")
