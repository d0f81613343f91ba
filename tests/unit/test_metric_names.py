"""Rule W1: metrics are named as Prometheus's own checks want them, and their labels are bounded.

The checks are those of `promtool check metrics`.
"""

from itertools import pairwise
from pathlib import Path
from re import MULTILINE, findall, fullmatch, search

import pytest

from hermes_cache.integrations.measures import MEASURES, Measure

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
UNITS_THAT_ARE_NO_BASE = "milliseconds|ms|minutes|hours|days|kilobytes|megabytes|mib|kb|mb|percent|bits"
TYPES = "gauge|counter|summary|histogram|untyped"

measures = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


@measures
def test_a_name_is_in_base_units_and_names_no_type(measure: Measure) -> None:
    """W1"""
    words = measure.name.split("_")

    assert fullmatch(r"hermes_cache(_[a-z]+)+", measure.name)
    assert not search(rf"_({UNITS_THAT_ARE_NO_BASE})(_|$)", measure.name)
    assert not search(rf"_({TYPES})(_|$)", measure.name)
    assert not any(one == other for one, other in pairwise(words))


@measures
def test_a_name_has_no_ending_that_belongs_to_another_type(measure: Measure) -> None:
    """W1: the ending `_total` of a counter is added by the library."""
    assert not measure.name.endswith(("_total", "_count", "_sum", "_bucket", "_created", "_info"))


@measures
def test_a_meaning_is_one_sentence(measure: Measure) -> None:
    """W1"""
    assert measure.meaning[0].isupper() or measure.meaning[0].isdigit()
    assert measure.meaning.endswith(".")
    assert "\n" not in measure.meaning


@measures
def test_labels_are_names_that_are_free(measure: Measure) -> None:
    """W1"""
    assert all(fullmatch(r"[a-z]+", label) for label in measure.labels)
    assert not {"cache", "le", "quantile", "job", "instance"}.intersection(measure.labels)
    assert len(set(measure.labels)) == len(measure.labels)


def test_each_name_is_there_once() -> None:
    """W1"""
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)


def exposed(measure: Measure) -> str:
    return f"{measure.name}_total" if measure.kind == "counter" else measure.name


def test_the_operators_page_lists_each_metric_with_its_labels_and_meaning() -> None:
    """W1"""
    listed = findall(r"^\| `(hermes_cache_[a-z_]+)` \| ?(.*?) \| (.*) \|$", PAGE.read_text(), MULTILINE)

    assert [(name, tuple(findall("[a-z]+", labels)), meaning) for name, labels, meaning in listed] == [
        (exposed(measure), measure.labels, measure.meaning) for measure in MEASURES
    ]
