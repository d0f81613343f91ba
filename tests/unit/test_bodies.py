"""A response body and its compressed form (O6, W4)."""

import gzip
import threading

import pytest

from hermes_cache import bodies
from hermes_cache.bodies import Body

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
    assert body.size_bytes == len(TEXT) + len(packed)


def test_all_who_ask_for_a_new_body_at_once_get_the_same_compressed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # Proves W4: 8 threads ask, and one of them compresses.
    body, calls, together = Body(TEXT, "tag"), [], threading.Barrier(8)

    def compress(text: bytes, level: int, mtime: int) -> bytes:
        calls.append(text)
        return gzip.compress(text, level, mtime=mtime)

    def ask() -> None:
        together.wait(10)
        body.encoded("gzip")

    monkeypatch.setattr(bodies, "gzip", type("Counting", (), {"compress": staticmethod(compress)}))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert calls == [TEXT]


def test_an_unknown_coding_is_refused_by_its_name() -> None:
    # Proves W4.
    body = Body(TEXT, "tag")

    with pytest.raises(ValueError, match="'br'"):
        body.encoded("br")  # type: ignore[arg-type]  # what a caller might try
