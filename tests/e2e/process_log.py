"""What a command logged, as a program that collects logs reads it."""

import json
import subprocess
from dataclasses import dataclass

_OF_THIS_MACHINE = {("hermes_cache.found_hint", "environment"), ("hermes_cache.stopped_late", None)}
AS_JSON = ("--log-format", "json")


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    event: str
    level: str
    fields: dict[str, object]


def log_of(process: "subprocess.Popen[str]") -> list[Line]:
    """Return all that a command logs as JSON until it ends; each line must be an object.

    What could be better about the machine of the tests is left out, and that threads end late on a busy one.
    """
    assert process.stderr
    lines = [_line(json.loads(line)) for line in process.stderr]
    return [line for line in lines if (line.event, line.fields.get("subject")) not in _OF_THIS_MACHINE]


def _line(told: dict[str, object]) -> Line:
    assert str(told.pop("time")).endswith("+00:00")
    return Line(str(told.pop("event")), str(told.pop("level")), told)
