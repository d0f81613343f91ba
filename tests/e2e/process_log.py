"""What a command logged, as a program that collects logs reads it."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tests.waiting import PROCESS_S

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
    return list(_lines_of(process))


def log_until(process: "subprocess.Popen[str]", event: str) -> list[Line]:
    """Return what a command logs up to an event; one that does not log it in time is killed."""
    lines: list[Line] = []
    watchdog = threading.Timer(PROCESS_S, process.kill)
    watchdog.start()
    for line in _lines_of(process):
        lines.append(line)
        if line.event == event:
            break
    watchdog.cancel()
    return lines


def _lines_of(process: "subprocess.Popen[str]") -> Iterator[Line]:
    assert process.stderr
    for text in process.stderr:
        line = _line(json.loads(text))
        if (line.event, line.fields.get("subject")) not in _OF_THIS_MACHINE:
            yield line


def _line(told: dict[str, object]) -> Line:
    assert str(told.pop("time")).endswith("+00:00")
    return Line(str(told.pop("event")), str(told.pop("level")), told)
