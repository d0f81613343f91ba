"""What a command logged, as a program that collects logs reads it."""

import json
import subprocess
from dataclasses import dataclass

AS_JSON = ("--log-format", "json")


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    event: str
    level: str
    fields: dict[str, object]


def log_of(process: "subprocess.Popen[str]") -> list[Line]:
    """Return all that a command logs as JSON until it ends; each line must be an object."""
    assert process.stderr
    return [_line(json.loads(line)) for line in process.stderr]


def _line(told: dict[str, object]) -> Line:
    assert str(told.pop("time")).endswith("+00:00")
    return Line(str(told.pop("event")), str(told.pop("level")), told)
