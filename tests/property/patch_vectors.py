"""Vectors of patches, for every program that applies them; `make vectors` writes them anew.

Each line of the file is a view, a patch for it, and the view to which the patch leads.
"""

from itertools import product
from pathlib import Path
from typing import Any, Final

import orjson
from hypothesis import Phase, assume, given, seed, settings

from hermes_cache.payload.content import content_of
from hermes_cache.payload.freezing import freeze
from hermes_cache.payload.patches import patch_between
from hermes_cache.payload.rows import ListShape
from hermes_cache.rendering.views import PlainViews, View
from tests.property.patch_cases import PAIRS, State, patch

PATH: Final = Path(__file__).with_name("patch_vectors.jsonl")
_OF_SESSIONS: Final = 30
_FEW: Final = 6
"""Shorter lists show little."""

_MAILS: Final = ListShape("mails", "uid", needs_ids=True)
_UIDS: Final[tuple[list[int], ...]] = ([3, 1, 2], [2, 4, 3], [])


def read() -> list[dict[str, Any]]:
    """Return the vectors."""
    return [orjson.loads(line) for line in PATH.read_bytes().splitlines()]


def write() -> None:
    """Make vectors: of session lists from the cases of the property test, and of a list of another kind."""
    vectors: list[dict[str, object]] = []

    @seed(20261128)
    @settings(max_examples=_OF_SESSIONS, phases=[Phase.generate], database=None, deadline=None)
    @given(pair=PAIRS)
    def collect(pair: tuple[State, State]) -> None:
        older, newer = pair
        assume(len(older.rows) + len(newer.rows) > _FEW)
        before, now = older.view(), newer.view()
        vectors.append(_vector(before, now, patch(before, now)))

    collect()
    for before, now in product(map(_mails, _UIDS), repeat=2):
        older, newer = (each.edition(_MAILS, {}, None) for each in (before, now))
        vectors.append(
            _vector(before, now, orjson.loads(patch_between(older, newer, now.pieces, "uid") or b"null"))
        )
    lines = [orjson.dumps(vector, option=orjson.OPT_SORT_KEYS) for vector in vectors]
    PATH.write_bytes(b"\n".join([*lines, b""]))


def _vector(older: View, newer: View, found: dict[str, Any] | None) -> dict[str, object]:
    view = {"edition": older.etag, "body": orjson.loads(older.response.body)}
    return {"view": view, "patch": found, "expected": orjson.loads(newer.response.body)}


def _mails(uids: list[int]) -> View:
    payload = freeze(
        {"mails": [{"uid": uid, "unread": uid in uids[:1]} for uid in uids], "total": len(uids)}, _MAILS
    )
    return PlainViews(1).of("inbox", content_of(payload, _MAILS))


if __name__ == "__main__":
    write()
