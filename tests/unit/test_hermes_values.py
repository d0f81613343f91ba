"""Proves rule X3 for single values: damage costs the value, never more."""

from datetime import UTC, timedelta, timezone

import pytest

from hermes_cache.stores.hermes.values import amount, count, flag, greatest, moment_s, plain, text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ("", None),
        (" \n", None),
        ("a", "a"),
        (b"caf\xc3\xa9", "café"),
        (b"\xff!", "\ufffd!"),
        (7, None),
    ],
)
def test_a_text_is_kept_only_where_it_says_something(raw: object, expected: str | None) -> None:
    assert text(raw) == expected


def test_a_lone_surrogate_does_not_survive() -> None:
    cleaned = text("x\ud800y")

    assert cleaned is not None
    assert cleaned.encode() == b"x?y"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (3, 3), (3.9, 3), ("12", 12), (None, 0), (-1, 0), (2**53, 2**53), (2**53 + 1, 0), (2**70, 0), (5e246, 0),
        (float("nan"), 0), (float("inf"), 0), ("many", 0), (b"3", 0), (True, 1),
    ],
)  # fmt: skip
def test_a_count_is_a_number_that_javascript_can_hold(raw: object, expected: int) -> None:
    assert count(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(None, None), (0.5, 0.5), (2, 2.0), (-0.1, None), (5e246, None), (float("nan"), None), ("1.5", 1.5)],
)
def test_an_amount_is_finite_and_not_negative(raw: object, expected: float | None) -> None:
    assert amount(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(None, False), (0, False), (1, True), (7, True), (True, True), (False, False), ("1", True), ("Yes", True),
     ("0", False), ("maybe", False), (float("nan"), False), (b"1", False)],
)  # fmt: skip
def test_a_flag_is_set_only_by_what_says_so(raw: object, expected: bool) -> None:  # noqa: FBT001 - a table of cases
    assert flag(raw) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (1.5, 1.5), (7, 7.0), ("1790000000.5", 1790000000.5), ("2026-09-21T00:00:00+00:00", 1789948800.0),
        ("2026-09-21T00:00:00Z", 1789948800.0), (None, None), (0, None), (-5, None), (5e246, None),
        (float("nan"), None), ("yesterday", None), ("", None), (b"1", None), ("0001-01-01T00:00:00+14:00", None),
    ],
)  # fmt: skip
def test_a_moment_is_read_from_numbers_and_from_iso_text(raw: object, expected: float | None) -> None:
    assert moment_s(raw) == expected


def test_an_iso_text_without_a_zone_means_the_zone_that_its_writer_uses() -> None:
    raw = "2026-09-21T02:00:00"

    two_hours_east = moment_s(raw, naive_zone=timezone(timedelta(hours=2)))

    assert moment_s(raw, naive_zone=UTC) == 1789956000.0
    assert two_hours_east == 1789948800.0


def test_the_greatest_moment_ignores_what_is_not_there() -> None:
    assert greatest(None, 2.0, 1.0) == 2.0
    assert greatest(None, None) is None


def test_nested_values_lose_only_what_json_cannot_say() -> None:
    raw = {"a": [1, float("nan"), 2**70, "\ud800"], "b": {"c": True, "d": None}, "e": object()}

    assert plain(raw) == {"a": [1, None, None, "?"], "b": {"c": True, "d": None}, "e": None}


def test_nesting_without_end_is_cut() -> None:
    ring: list[object] = []
    ring.append(ring)

    cut = plain(ring, depth=2)

    assert cut == [[None]]
