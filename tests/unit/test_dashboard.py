"""Rule W1: the dashboard and the alerts ask for what caches tell, and the dashboard shows all of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from re import findall, finditer, fullmatch
from typing import get_args

import pytest

from hermes_cache.core.state import Outcome
from hermes_cache.core.transitions import Bound
from hermes_cache.integrations.measures import MEASURES, Measure

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
DASHBOARD = json.loads((FOLDER / "hermes-cache.json").read_text(encoding="utf-8"))
OF_THE_SERVER = {"job", "instance"}
"""Labels that Prometheus itself adds."""


def exposed(measure: Measure) -> set[str]:
    """Return the names of a measure's series."""
    match measure.kind:
        case "counter":
            return {f"{measure.name}_total"}
        case "histogram":
            return {f"{measure.name}_{ending}" for ending in ("bucket", "sum", "count")}
        case "gauge":
            return {measure.name}


LABELS = {
    name: {*measure.labels, "cache", *OF_THE_SERVER, *({"le"} if name.endswith("_bucket") else ())}
    for measure in MEASURES
    for name in exposed(measure)
}
VALUES: dict[str, set[str]] = {"outcome": set(get_args(Outcome)), "bound": set(get_args(Bound))}
"""What labels can be, of those by whose value something is selected."""


def expressions() -> list[str]:
    """Return what the panels and the variables of the dashboard ask for."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [*asked, *variables]


def alerts() -> list[dict[str, object]]:
    """Return the rules of the alerts."""
    yaml = pytest.importorskip("yaml")
    [group] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, object]] = group["rules"]
    return rules


def selected(expression: str) -> Iterator[tuple[str, set[str], dict[str, str]]]:
    """Yield each series that an expression asks for, the labels by which it groups, and those that it compares."""
    grouped = {label for labels in findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(", ")}
    for found in finditer(r"\b(hermes_cache_[a-z_]+)(?:\{([^}]*)\})?", expression):
        compared = dict(findall(r'([a-z]+)(?:=~|!=|=)"([^"]*)"', found[2] or ""))
        yield found[1], grouped, compared


@pytest.mark.parametrize("expression", expressions())
def test_each_expression_of_the_dashboard_asks_for_series_and_labels_that_are_there(expression: str) -> None:
    """W1"""
    _check(expression)


def test_each_series_is_on_the_dashboard() -> None:
    """W1"""
    shown = {name for expression in expressions() for name, *_ in selected(expression)}

    assert [measure.name for measure in MEASURES if not exposed(measure) <= shown] == []


def test_each_panel_has_a_name_of_its_own_and_lies_beside_the_others() -> None:
    """W1"""
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    squares = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(titles)) == len(titles)
    assert len(set(squares)) == len(squares)
    assert max(x for x, _ in squares) < 24


def test_each_alert_asks_for_what_is_there_and_says_what_to_do() -> None:
    """W1"""
    rules = alerts()
    for rule in rules:
        _check(str(rule["expr"]))
        assert fullmatch(r"HermesCache[A-Za-z]+", str(rule["alert"]))
        assert rule["labels"] in ({"severity": "warning"}, {"severity": "critical"})
        notes = rule["annotations"]
        assert isinstance(notes, dict)
        assert set(notes) == {"summary", "what_to_do"}

    assert len({str(rule["alert"]) for rule in rules}) == len(rules) >= 8


def _check(expression: str) -> None:
    asked = list(selected(expression))
    assert asked
    for name, grouped, compared in asked:
        assert name in LABELS
        assert grouped | set(compared) <= LABELS[name]
        values = {label: set(value.split("|")) for label, value in compared.items() if not value.startswith("$")}
        assert all(value <= VALUES[label] for label, value in values.items())
