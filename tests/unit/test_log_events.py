"""Rule W1: the events that the package logs are those of the operators' page."""

import ast
from collections.abc import Iterator
from pathlib import Path
from re import MULTILINE, findall, fullmatch

from hermes_cache.log_output import UNBOUNDED
from hermes_cache.log_output import __file__ as log_output_path

PACKAGE = Path(log_output_path).parent
PAGE = PACKAGE.parent / "docs" / "operators.md"
LEVELS = {
    "debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error",
    "_run": "error", "_line": "warning",
}  # fmt: skip
"""The functions that log, with their levels."""


def logged_in(source: Path) -> Iterator[tuple[str, str]]:
    """Yield the events that a module logs, each with its level."""
    for call in ast.walk(ast.parse(source.read_text())):
        if not isinstance(call, ast.Call):
            continue
        called = getattr(call.func, "attr", getattr(call.func, "id", ""))
        names = [each.value for each in call.args if isinstance(each, ast.Constant)]
        for name in names:
            if called in LEVELS and isinstance(name, str) and fullmatch(r"hermes_cache\.[a-z_]+", name):
                yield name, LEVELS[called]


def test_the_page_lists_each_event_with_its_level_and_no_other() -> None:
    """W1"""
    logged = {event for source in PACKAGE.rglob("*.py") for event in logged_in(source)}
    listed = findall(r"^\| `(hermes_cache\.[a-z_]+)` \| ([a-z]+) \|", PAGE.read_text(), MULTILINE)

    assert len(listed) == len(set(listed))
    assert set(listed) == logged
    assert {event for event, _ in logged} >= UNBOUNDED
