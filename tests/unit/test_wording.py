"""Rule J7: how spans, moments and foreign text read."""

import pytest

from hermes_cache.explain.wording import clock_time, one_line, span


@pytest.mark.parametrize(
    ("span_s", "told"),
    [
        (-3.0, "0 s"), (0.0, "0 s"), (0.01234, "0.0123 s"), (119.0, "119 s"), (120.0, "2 min"),
        (7_199.0, "120 min"), (7_200.0, "2 h"), (172_800.0, "2 days"), (1e9, "11600 days"), (float("nan"), "0 s"),
    ],
)  # fmt: skip
def test_a_span_has_the_unit_that_suits_it(span_s: float, told: str) -> None:
    """J7"""
    assert span(span_s) == told


@pytest.mark.parametrize(
    ("at_s", "told"),
    [(0.25, "00:00:00.250Z"), (1_700_000_000.0, "22:13:20.000Z"), (1e300, "1e+300 s"), (-1e18, "-1e+18 s")],
)
def test_a_moment_is_written_even_if_no_calendar_has_it(at_s: float, told: str) -> None:
    """J7"""
    assert clock_time(at_s) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("two\nlines\x1b", "two lines "),
        ("caf\udce9", "caf "),
        (("a", 1), "('a', 1)"),
        ("x" * 201, "x" * 200 + "..."),
    ],
)
def test_whatever_a_value_holds_it_is_one_bounded_line(value: object, told: str) -> None:
    """J7"""
    assert one_line(value) == told
