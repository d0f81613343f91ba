"""Masking the texts of rows that hold no secret: titles, an untitled row's first message, a URL.

One thread, 500 texts of 20 to 80 signs. The baseline looks for each known beginning with `in`, as a plain first
look does.
"""

from collections.abc import Callable
from random import Random

from hermes_cache.stores import masking
from tests.benchmarks.figures import Figure, faster
from tests.benchmarks.timing import Benchmark, side_by_side

_TEXTS = (
    "Fix the importer", "Plan a trip to Lisbon: part two", "Review the front-end tests before the release",
    "why does https://example.com/page?x=1 answer with 500 when my_inbox is empty", "una migración de datos",
)  # fmt: skip
_BEGINNINGS = (
    *masking._WORD_TOKENS, *masking._SIGN_TOKENS, *masking._LONG_TOKENS, "sk-", "sk_", "AKIA", "AIza", "eyJ",
    "-----BEGIN", "authorization:", "password=", "secret=", "token=", "key=", "://",
)  # fmt: skip


def test_texts_without_a_secret(benchmark: Benchmark, record: Callable[[Figure], None]) -> None:
    """X12"""
    random = Random(0)
    texts = [f"{random.choice(_TEXTS)} {number}" for number in range(500)]

    def masked() -> list[str]:
        return [masking.mask(text) for text in texts]

    def looked_through() -> list[bool]:
        return [any(beginning in text for beginning in _BEGINNINGS) for text in texts]

    ours_s, baseline_s = side_by_side(benchmark, masked, looked_through, calls=(5, 5), rounds=10)

    assert masked() == texts
    record(faster("mask 500 texts", ours_s, f"`in` for {len(_BEGINNINGS)} beginnings", baseline_s, least=1.5))
