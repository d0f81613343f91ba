"""Compressed bodies are kept, and only so many."""

import gzip

from hermes_cache.gateway.session_lists import CompressedBodies


def test_a_body_is_compressed_once_as_long_as_its_name_stands() -> None:
    # Proves W5.
    bodies = CompressedBodies()

    first = bodies.get("a", b"x" * 5_000)
    second = bodies.get("a", b"x" * 5_000)

    assert first is second
    assert gzip.decompress(first) == b"x" * 5_000
    assert len(first) < 500


def test_the_body_asked_for_longest_ago_goes_first() -> None:
    # Proves W5.
    bodies = CompressedBodies(limit=2)
    kept = bodies.get("a", b"a")
    dropped = bodies.get("b", b"b")

    bodies.get("a", b"a")
    bodies.get("c", b"c")

    assert bodies.get("a", b"a") is kept
    assert bodies.get("b", b"b") is not dropped
