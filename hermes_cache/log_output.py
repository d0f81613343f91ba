"""The log of a command: each record is one line on standard error, as text or as JSON, at a bounded rate.

A thread of its own writes the lines. So a pipe that nobody reads, or a slow disk, delays no thread that logs.
Lines that do not fit into the queue are dropped, and so is a line that cannot be written.

If an event is logged more often than `MOST_A_MINUTE` times in a minute, the rest is left out, and at the end of
the minute one line says how many. So an attack cannot fill a disk. Source: rules W1, W6.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from traceback import format_exception
from typing import Final, Literal, Self, TypeAlias

import orjson

LogFormat: TypeAlias = Literal["text", "json"]

MOST_A_MINUTE: Final = 30
"""Lines of one event; enough to see what happens, and at most 15 KB of each event."""

UNBOUNDED: Final = frozenset({"hermes_cache.request"})
"""What an operator asks for one by one, with `--access-log`."""

_PACKAGE: Final = "hermes_cache"
_PREFIX: Final = f"{_PACKAGE}."
_MINUTE_S: Final = 60.0
_MOST_WAITING: Final = 1_000
_LONGEST_TEXT: Final = 500
_MOST_BITS: Final = 63
_STANDARD_ERROR: Final = 2
_LAST_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a command logs.

    Attributes:
        level: The least level of the package's records, such as `info`. Other packages log from `warning` on.
        form: The form of a line.
    """

    level: str = "info"
    form: LogFormat = "text"


class LogOutput(logging.Handler):
    """Writes the records of this process to standard error, from `begin` to `end`.

    Args:
        settings: How it logs.
        target: The number of the open file that it writes to.
    """

    def __init__(self, settings: LogSettings, target: int = _STANDARD_ERROR) -> None:
        super().__init__()
        self.settings = settings
        self._target = target
        self._rate = _Rate()
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._is_ending = False
        self._writer = threading.Thread(target=self._write_all, name="hermes_cache.log", daemon=True)

    def begin(self) -> Self:
        """Take the records of all packages."""
        logging.getLogger(_PACKAGE).setLevel(self.settings.level.upper())
        logging.getLogger().addHandler(self)
        threading.excepthook = _log_thread_failure
        self._writer.start()
        return self

    def end(self) -> None:
        """Take no more records, and write what waits, for at most a second."""
        threading.excepthook = threading.__excepthook__
        logging.getLogger().removeHandler(self)
        logging.getLogger(_PACKAGE).setLevel(logging.NOTSET)
        self._is_ending = True
        self._waiting.put(b"")
        self._writer.join(_LAST_WAIT_S)

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record to the thread that writes."""
        with suppress(Exception):  # what another package logs may not fit its own form
            event = _event_of(record)
            if event in UNBOUNDED or self._rate.admits(event, time.monotonic()):
                self._put(self._line(record.created, record.levelname, event, _fields_of(record)))
            elif self._waiting.empty():
                # The writer sleeps without a bound while nothing is left out.
                self._waiting.put(b"")

    def _put(self, line: bytes) -> None:
        if self._waiting.qsize() < _MOST_WAITING:
            self._waiting.put(line)

    def _line(self, at_s: float, level: str, event: str, fields: Mapping[str, object]) -> bytes:
        form = _json_line if self.settings.form == "json" else _text_line
        return form(datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds"), level, event, fields)

    def _write_all(self) -> None:
        while not (self._is_ending and self._waiting.empty()):
            with suppress(Empty):
                self._write(self._waiting.get(timeout=self._rate.left_s(time.monotonic())))
            at_end = self._is_ending and self._waiting.empty()
            for event, count in self._rate.take_left_out(time.monotonic(), at_end=at_end).items():
                fields = {"left_out": event, "count": count}
                self._write(self._line(time.time(), "WARNING", "hermes_cache.lines_left_out", fields))

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: the interpreter cannot end while a thread that hangs has the lock of that object.
        with suppress(OSError):
            while line:
                line = line[os.write(self._target, line) :]


class _Rate:
    """Counts the lines of each event in a minute, for all threads."""

    def __init__(self) -> None:
        # A signal handler may log while the thread that it interrupts holds the lock.
        self._lock = threading.RLock()
        self._ends_at_s = 0.0
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def admits(self, event: str, now_s: float) -> bool:
        """Count a line, and say whether it may be written."""
        with self._lock:
            self._end_minute(now_s)
            self._counts[event] += 1
            return self._counts[event] <= MOST_A_MINUTE

    def left_s(self, now_s: float) -> float | None:
        """Return after how long something must be said of what is left out; None if nothing is."""
        with self._lock:
            if self._left_out:
                return 0.0
            is_over = max(self._counts.values(), default=0) > MOST_A_MINUTE
            return max(0.0, self._ends_at_s - now_s) if is_over else None

    def take_left_out(self, now_s: float, *, at_end: bool) -> Counter[str]:
        """Return how many lines of each event were left out in the minutes that are over, and forget it."""
        with self._lock:
            self._end_minute(now_s, at_end=at_end)
            taken, self._left_out = self._left_out, Counter()
            return taken

    def _end_minute(self, now_s: float, *, at_end: bool = False) -> None:
        if now_s < self._ends_at_s and not at_end:
            return
        for event, count in self._counts.items():
            if count > MOST_A_MINUTE:
                self._left_out[event] += count - MOST_A_MINUTE
        self._counts.clear()
        self._ends_at_s = now_s + _MINUTE_S


def active_settings() -> LogSettings | None:
    """Return how this process logs; None if it has no log of a command."""
    outputs = (each for each in logging.getLogger().handlers if isinstance(each, LogOutput))
    return next((each.settings for each in outputs), None)


def _log_thread_failure(failed: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, in the form of the log; else Python prints it as it likes."""
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        extra = {"hermes_cache.thread": failed.thread.name if failed.thread else None}
        logging.getLogger(__name__).error("hermes_cache.thread_failed", exc_info=failed.exc_value, extra=extra)


def _event_of(record: logging.LogRecord) -> str:
    """Return the name of an event; of what another package logs, the name of its logger."""
    return record.msg if isinstance(record.msg, str) and record.msg.startswith(_PREFIX) else record.name


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields = {
        name.removeprefix(_PREFIX): value for name, value in vars(record).items() if name.startswith(_PREFIX)
    }
    if _event_of(record) is not record.msg:
        fields["message"] = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        fields["error"] = f"{type(error).__name__}: {error}"
        if record.levelno >= logging.ERROR:
            fields["trace"] = "".join(format_exception(error))
    return fields


def _json_line(time_: str, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    own = {"time": time_, "level": level.lower(), "event": event}
    trace = fields.get("trace")
    plain = {name: _plain(value) for name, value in fields.items()}
    if isinstance(trace, str):
        plain["trace"] = list(map(_plain, trace.splitlines()))
    return orjson.dumps({**own, **plain, **own}) + b"\n"


def _text_line(time_: str, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    trace = str(fields.get("trace", "")).splitlines()
    pairs = [f"{name}={_quoted(str(_plain(value)))}" for name, value in fields.items() if name != "trace"]
    first = " ".join([time_, level, event, *pairs])
    return "".join(f"{line}\n" for line in [first, *[f"    {_plain(line)}" for line in trace]]).encode()


def _quoted(text: str) -> str:
    is_plain = text and not any(sign in ' "=' for sign in text)
    return text if is_plain else orjson.dumps(text).decode()


def _plain(value: object) -> object:
    """Return a value of JSON; a text is one printable line of bounded length."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and value.bit_length() <= _MOST_BITS:
        return int(value)
    text = str(value)
    cut = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    return "".join(sign if sign.isprintable() else " " for sign in cut)
