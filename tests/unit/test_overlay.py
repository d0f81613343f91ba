"""The overlay, rule by rule."""

import json
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from hermes_cache.sessions.overlay import Live, LiveSession, lay_over, overlay
from hermes_cache.sessions.rows import time_s

NOBODY: frozenset[str] = frozenset()
NO_SESSION: Mapping[str, LiveSession] = {}


def row(session_id: str, **fields: object) -> dict[str, object]:
    return {"session_id": session_id, "is_streaming": False, **fields}


def ids(rows: list[object]) -> list[object]:
    return [each["session_id"] for each in rows if isinstance(each, dict)]


def test_rows_that_stay_as_they_are_are_the_same_objects() -> None:
    """O1"""
    rows = [row("a", last_message_at=2.0), row("b", last_message_at=1.0)]

    laid = overlay(rows, Live(frozenset({"turn"}), {"elsewhere": LiveSession("turn")}))

    assert laid[0] is rows[0]
    assert laid[1] is rows[1]


def test_the_cached_rows_are_left_alone() -> None:
    """O1"""
    rows: list[object] = [row("a", updated_at=1.0), "no row", row("b", active_stream_id="turn")]
    before = json.dumps(rows)

    overlay(rows, Live(frozenset({"turn"}), {"a": LiveSession("turn", "hello", 5.0, 6.0, 7.0)}))

    assert json.dumps(rows) == before


def test_a_live_row_is_a_plain_new_dict() -> None:
    """O1"""
    cached = row("a")

    laid = lay_over(cached, Live(NOBODY, {"a": LiveSession(pending_user_message="hello")}))

    assert type(laid) is dict
    assert laid is not cached


def test_live_state_tells_the_stream_and_the_pending_message() -> None:
    """O2"""
    live = LiveSession("turn", "hello", pending_started_at=5.0)

    laid = lay_over(row("a", title="Cats"), Live(frozenset({"turn"}), {"a": live}))

    assert laid == {
        "session_id": "a",
        "title": "Cats",
        "is_streaming": True,
        "active_stream_id": "turn",
        "has_pending_user_message": True,
        "pending_started_at": 5.0,
    }


def test_a_gateways_own_session_is_read_by_the_names_of_its_attributes() -> None:
    """O1, O7"""
    session = SimpleNamespace(active_stream_id="turn", updated_at=7.0, title="not live")

    live = LiveSession.of(session, attention="approval")

    assert live == LiveSession("turn", updated_at=7.0, extra={"attention": "approval"})
    assert live.extra == {"attention": "approval"}
    assert lay_over(row("a"), Live(NOBODY, {"a": live}))["attention"] == "approval"


def test_a_live_session_without_a_stream_clears_the_cached_one() -> None:
    """O2"""
    cached = row("a", active_stream_id="old", is_streaming=True, has_pending_user_message=True)

    laid = lay_over(cached, Live(frozenset({"old"}), {"a": LiveSession()}))

    assert laid == row("a", active_stream_id=None, has_pending_user_message=False)


@pytest.mark.parametrize("name", ["pending_started_at", "updated_at", "last_message_at"])
@pytest.mark.parametrize(
    ("cached", "live", "shown"),
    [(5.0, 6.0, 6.0), (5.0, 4.0, 5.0), (5.0, None, 5.0), (None, 4.0, 4.0), ("9", 8.0, "9"), ("seven", 4.0, 4.0)],
)
def test_a_live_time_is_shown_where_it_is_greater(
    name: str, cached: object, live: float | None, shown: object
) -> None:
    """O2"""
    times: dict[str, Any] = {name: live}

    laid = lay_over(row("a", **{name: cached}), Live(NOBODY, {"a": LiveSession(**times)}))

    assert laid[name] == shown


def test_a_live_row_that_already_says_so_is_the_same_object() -> None:
    """O1, O2"""
    cached = row("a", active_stream_id="turn", has_pending_user_message=False, is_streaming=True, updated_at=9.0)

    laid = lay_over(cached, Live(frozenset({"turn"}), {"a": LiveSession("turn", updated_at=9.0)}))

    assert laid is cached


@pytest.mark.parametrize(
    ("stream_id", "is_streaming"),
    [("turn", True), ("other", False), (None, False), (7, False), (["turn"], False), ({}, False), ("", False)],
)
@pytest.mark.parametrize("cached", [True, False, None, 1, 0, "true"])
def test_a_row_streams_exactly_where_its_stream_is_active(
    stream_id: object, cached: object, *, is_streaming: bool
) -> None:
    """O3"""
    laid = lay_over({"active_stream_id": stream_id, "is_streaming": cached}, Live(frozenset({"turn"}), NO_SESSION))

    assert laid["is_streaming"] is is_streaming


def test_a_row_that_does_not_say_whether_it_streams_does_not_stream() -> None:
    """O3"""
    laid = lay_over({"session_id": "a"}, Live(NOBODY, NO_SESSION))

    assert laid == row("a")


def test_a_live_stream_that_is_not_active_does_not_stream() -> None:
    """O3"""
    laid = lay_over(row("a"), Live(NOBODY, {"a": LiveSession("turn")}))

    assert (laid["active_stream_id"], laid["is_streaming"]) == ("turn", False)


def test_running_rows_stand_before_later_ones() -> None:
    """O4"""
    rows = [
        row("latest", last_message_at=99.0),
        row("streams", active_stream_id="turn", last_message_at=1.0),
        row("waits", active_stream_id="next", has_pending_user_message=True, last_message_at=2.0),
        row("only pending", has_pending_user_message=True, last_message_at=3.0),
        row("only a stream", active_stream_id="gone", last_message_at=4.0),
    ]

    laid = overlay(rows, Live(frozenset({"turn"}), NO_SESSION))

    assert ids(laid) == ["waits", "streams", "latest", "only a stream", "only pending"]


def test_ties_keep_the_order_of_the_builder() -> None:
    """O4"""
    rows = [row("a", last_message_at=1.0), row("b", last_message_at="1"), row("c"), row("d", updated_at=1)]

    laid = overlay(rows, Live(NOBODY, NO_SESSION))

    assert ids(laid) == ["a", "b", "d", "c"]


@pytest.mark.parametrize(
    ("fields", "expected_s"),
    [
        ({"last_message_at": 3.0, "updated_at": 9.0, "created_at": 9.0}, 3.0),
        ({"last_message_at": 0, "updated_at": 2.0, "created_at": 9.0}, 2.0),
        ({"last_message_at": None, "updated_at": "soon", "created_at": 1.0}, 1.0),
        ({"last_message_at": 3.0, "pending_started_at": 4.0}, 4.0),
        ({"last_message_at": 3.0, "pending_started_at": 2.0}, 3.0),
        ({"pending_started_at": "4.5"}, 4.5),
        ({}, 0.0),
    ],
)
def test_the_time_of_a_row_is_its_first_positive_one_or_the_pending_one(
    fields: dict[str, object], expected_s: float
) -> None:
    """O4"""
    assert time_s(fields) == expected_s


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [
        (1, 1.0),
        (1.5, 1.5),
        ("1.5", 1.5),
        (" 15e-1 ", 1.5),
        (0, 0.0),
        (-1, 0.0),
        (-1.5, 0.0),
        ("-1", 0.0),
        (float("nan"), 0.0),
        (float("inf"), 0.0),
        ("inf", 0.0),
        ("nan", 0.0),
        ("1_0", 0.0),
        ("\u0661", 0.0),
        ("", 0.0),
        ("9" * 400, 0.0),
        (10**400, 0.0),
        (2**64, float(2**64)),
        (True, 0.0),
        (None, 0.0),
        ([1], 0.0),
        ({"at": 1}, 0.0),
    ],
)
@pytest.mark.parametrize("name", ["last_message_at", "updated_at", "created_at", "pending_started_at"])
def test_what_is_no_positive_finite_number_counts_as_nothing(name: str, value: object, expected_s: float) -> None:
    """O4"""
    assert time_s({name: value}) == expected_s


@pytest.mark.parametrize("hostile", [None, 7, "text", ["session_id"], True, 1.5])
def test_a_row_that_is_no_mapping_is_served_as_one_that_does_not_stream(hostile: object) -> None:
    """O5"""
    laid = overlay([hostile], Live(frozenset({"turn"}), {"a": LiveSession("turn")}))

    assert laid == [{"is_streaming": False}]


@pytest.mark.parametrize("session_id", [None, 7, ["a"], {"a": 1}, True, ""])
def test_a_row_without_a_session_id_stays_harmless(session_id: object) -> None:
    """O5"""
    cached = {"session_id": session_id, "is_streaming": False}

    laid = overlay([cached, {"is_streaming": False}], Live(NOBODY, {"a": LiveSession("turn")}))

    assert laid == [cached, {"is_streaming": False}]


def test_any_mapping_is_a_row() -> None:
    """O5"""
    cached = MappingProxyType(row("a"))

    untouched = lay_over(cached, Live(NOBODY, NO_SESSION))
    laid = lay_over(cached, Live(NOBODY, {"a": LiveSession("turn")}))

    assert untouched is cached
    assert laid == row("a", active_stream_id="turn", has_pending_user_message=False)
