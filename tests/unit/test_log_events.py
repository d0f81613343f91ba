"""Rule W1: the events that the package logs, their levels and their fields are those of the operators' page."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from re import MULTILINE, findall, fullmatch
from typing import NamedTuple

from hermes_cache.log_output import UNBOUNDED
from hermes_cache.log_output import __file__ as log_output_path

PACKAGE = Path(log_output_path).parent
PAGE = PACKAGE.parent / "docs" / "operators.md"
LEVELS = {
    "debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error",
    "_run": "error", "_line": "warning",
}  # fmt: skip
"""The functions that log, with their levels."""

OF_HELPERS = {"_run": {"event_id"}, "_line": {"left_out", "count"}}
"""The fields that functions add which are given the name of an event."""


class Listed(NamedTuple):
    """A row of the page."""

    event: str
    level: str
    fields: str
    meaning: str
    advice: str


class Module:
    """What a module logs."""

    def __init__(self, source: Path) -> None:
        self._tree = ast.parse(source.read_text(encoding="utf-8"))
        functions = [
            each for each in ast.walk(self._tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        self._functions: dict[str, ast.AST] = {each.name: each for each in functions}
        self._around = {id(node): each for each in functions for node in ast.walk(each)}

    def logged(self) -> Iterator[tuple[str, str, set[str]]]:
        """Yield each event that it logs, with the level and the names of its fields."""
        for call in ast.walk(self._tree):
            if not isinstance(call, ast.Call):
                continue
            called = _name_of(call)
            for name in (each.value for each in call.args if isinstance(each, ast.Constant)):
                if called in LEVELS and isinstance(name, str) and fullmatch(r"hermes_cache\.[a-z_]+", name):
                    extra = next((each.value for each in call.keywords if each.arg == "extra"), None)
                    fields = OF_HELPERS.get(called, set()) | self._fields(extra, self._around.get(id(call)))
                    yield name, LEVELS[called], {field.removeprefix("hermes_cache.") for field in fields}

    def _fields(self, value: ast.expr | None, function: ast.AST | None) -> set[str]:
        """Return the keys of a mapping, found where it is written."""
        match value:
            case ast.Dict(keys=keys, values=values):
                named = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
                spread = [each for key, each in zip(keys, values, strict=True) if key is None]
                return named.union(*[self._fields(each, function) for each in spread])
            case ast.Name(id=name) if function is not None:
                assigned = [
                    each.value for each in ast.walk(function)
                    if isinstance(each, ast.Assign | ast.AnnAssign) and name in map(_target, _targets(each))
                ]  # fmt: skip
                return set[str]().union(*[self._fields(each, function) for each in assigned])
            case ast.IfExp(body=one, orelse=other):
                return self._fields(one, function) | self._fields(other, function)
            case ast.Call(args=arguments):
                called = self._functions.get(_name_of(value))
                dicts = [each for each in ast.walk(called) if isinstance(each, ast.Dict)] if called else []
                return set[str]().union(*[self._fields(each, function) for each in [*dicts, *arguments]])
            case _:
                return set()


def _name_of(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _targets(assignment: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]


def _target(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else ""


def listed() -> list[Listed]:
    rows = findall(
        r"^\| `(hermes_cache\.[a-z_]+)` \| ([a-z]+) \| ?(.*?) \| (.*?) \| (.*?) \|$", PAGE.read_text(), MULTILINE
    )
    return [Listed(*row) for row in rows]


def test_the_page_lists_each_event_with_its_level_and_its_fields_and_no_other() -> None:
    """W1"""
    levels, fields = set[tuple[str, str]](), defaultdict[str, set[str]](set)
    for source in PACKAGE.rglob("*.py"):
        for event, level, named in Module(source).logged():
            levels.add((event, level))
            fields[event] |= named

    rows = listed()

    assert len({row.event for row in rows}) == len(rows)
    assert {(row.event, row.level) for row in rows} == levels
    assert {row.event: set(findall(r"[a-z_]+", row.fields)) for row in rows} == fields
    assert set(fields) >= UNBOUNDED


def test_each_event_has_a_meaning_and_advice() -> None:
    """W1"""
    assert [row.event for row in listed() if not row.meaning or not row.advice] == []
