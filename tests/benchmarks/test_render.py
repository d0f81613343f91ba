"""A response body with two live rows.

One key, 500 and 5,000 rows of 35 fields, every read a hit, one thread, no sources. The live rows move before every
call, so that no body can be used again. The baseline copies the payload, lays the live rows over it, sorts and
encodes, as a handler on the lock cache does.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from itertools import count
from typing import Any

import pytest

from hermes_cache import Bus, LiveSession, Policy, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, faster
from tests.benchmarks.rows import made_payload, made_rows
from tests.benchmarks.timing import Benchmark, side_by_side

_KEY = SessionListKey()
_LIVE_IDS = ("20261101_000007", "20261101_000400")


@pytest.mark.parametrize(("rows", "least", "calls"), [(500, 200, 20), (5_000, 100, 3)])
def test_render(benchmark: Benchmark, record: Callable[[Figure], None], rows: int, least: int, calls: int) -> None:
    """O1, O6"""
    moments = count(1_790_000_001.0)
    live: dict[str, LiveSession] = {}
    plain = {**made_payload(rows), "sessions": made_rows(rows)}

    def move() -> dict[str, LiveSession]:
        at_s = next(moments)
        live.update({each: LiveSession(active_stream_id=each, updated_at=at_s) for each in _LIVE_IDS})
        return live

    bus, policy = Bus(), Policy(ttl=3_600.0, streaming_ttl=3_600.0)
    with SessionListCache(lambda _key: made_payload(rows), policy=policy, bus=bus, live_sessions=move) as cache:
        for each in _LIVE_IDS:
            bus.stream_started.send(None, stream_id=each)
        bodies = [cache.render(_KEY).body, cache.render(_KEY).body]
        spans = side_by_side(
            benchmark,
            lambda: cache.render(_KEY),
            lambda: _rendered_by_copy(plain, move()),
            calls=(calls, 1),
            rounds=20,
        )
        ours, theirs = json.loads(cache.render(_KEY).body), json.loads(_rendered_by_copy(plain, live))

    assert bodies[0] != bodies[1]
    assert _told(ours) == _told(theirs)
    record(faster(f"render with 2 live rows of {rows:,}", spans[0], "copy, overlay, dumps", spans[1], least=least))


def _rendered_by_copy(payload: dict[str, Any], live: dict[str, LiveSession]) -> bytes:
    copied = deepcopy(payload)
    for row in copied["sessions"]:
        session = live.get(row["session_id"])
        row["is_streaming"] = session is not None
        if session is not None:
            row["active_stream_id"] = session.active_stream_id
            row["has_pending_user_message"] = False
            row["updated_at"] = max(row["updated_at"], session.updated_at or 0.0)
    copied["sessions"].sort(key=lambda row: (row["is_streaming"], row["last_message_at"]), reverse=True)
    return json.dumps(copied).encode()


def _told(body: dict[str, Any]) -> list[object]:
    return [(row["session_id"], row["active_stream_id"]) for row in body["sessions"]]
