"""What a view shows where a request does not say: the switches of the home's settings file."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from hermes_cache.core.keys import SessionListKey

_logger = logging.getLogger(__name__)

_CHECK_INTERVAL_S: Final = 1.0
"""A switch may take effect this late, so that a request almost never waits for the file system."""

_FileMark: TypeAlias = tuple[int, int, int] | None


def default_view(settings: Mapping[str, object]) -> SessionListKey:
    """Give the view that a settings file asks for.

    Command-line sessions show unless told otherwise, but not where a file from before that switch exists: there
    they stay out, as they did. Having been welcomed is no settings of that kind.

    Source: rule W1.
    """
    source_filter = settings.get("agent_session_source_filter")
    older_file = "show_cli_sessions" not in settings and bool(settings.keys() - {"onboarding_completed"})
    return SessionListKey(
        show_cli=_switch(settings, "show_cli_sessions", default=not older_file),
        show_previous_messaging=_switch(settings, "show_previous_messaging_sessions", default=False),
        show_cron=_switch(settings, "show_cron_sessions", default=False),
        show_webhook=_switch(settings, "show_webhook_sessions", default=False),
        show_kanban=_switch(settings, "show_kanban_sessions", default=False),
        show_claude_code=_switch(settings, "show_claude_code_sessions", default=True),
        visible_only=True,
        source_filter=source_filter if isinstance(source_filter, str) else None,
    )


def _switch(settings: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = settings.get(name, default)
    return value if isinstance(value, bool) else default


@dataclass(frozen=True, slots=True)
class _Reading:
    checked_at_s: float
    mark: _FileMark
    view: SessionListKey


class ViewDefaults:
    """Follows a settings file: read anew when it moved, looked at once a second at most.

    A file that cannot be read or parsed leaves the view as it was, and is logged once for each of its states.
    Safe from any thread: a reading is one value, replaced whole.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        mark = _mark(path)
        self._reading = _Reading(clock(), mark, self._read(mark, default_view({})))

    def view(self) -> SessionListKey:
        """Give the view as the file tells it now, or told it within the last second."""
        now_s, reading = self._clock(), self._reading
        if now_s - reading.checked_at_s < _CHECK_INTERVAL_S:
            return reading.view
        mark = _mark(self._path)
        view = reading.view if mark == reading.mark else self._read(mark, reading.view)
        self._reading = _Reading(now_s, mark, view)
        return view

    def _read(self, mark: _FileMark, last: SessionListKey) -> SessionListKey:
        if mark is None:
            return default_view({})
        try:
            settings = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError) as error:
            return self._keep(last, str(error))
        if not isinstance(settings, dict):
            return self._keep(last, "not an object")
        return default_view(settings)

    def _keep(self, last: SessionListKey, reason: str) -> SessionListKey:
        told = {"hermes_cache.path": str(self._path), "hermes_cache.reason": reason}
        _logger.warning("hermes_cache.settings_unreadable", extra=told)
        return last


def _mark(path: Path) -> _FileMark:
    try:
        stat = os.stat(path)  # noqa: PTH116 -- Path.stat costs thrice as much
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
