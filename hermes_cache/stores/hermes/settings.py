"""Reads the front end's settings: the view fields that a request leaves open take their values from here.

Source: rule W1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes.json_files import read_json
from hermes_cache.stores.hermes.values import flag, text


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """The settings that decide what a sidebar shows; the fields are named as those of a key."""

    show_cli: bool = True
    show_previous_messaging: bool = False
    show_cron: bool = False
    show_webhook: bool = False
    show_kanban: bool = False
    show_claude_code: bool = True
    source_filter: str | None = None


def read_view_settings(path: Path) -> ViewSettings:
    """Read a settings file; a missing or broken one, and a missing field, gives the front end's defaults."""
    try:
        content = read_json(path)
    except SourceError:
        return ViewSettings()
    return _view_settings(content) if isinstance(content, dict) else ViewSettings()


def _view_settings(content: Mapping[str, object]) -> ViewSettings:
    # Who had settings before terminal sessions could be shown was not to see them appear.
    is_older = bool(content.keys() - {"onboarding_completed"})
    return ViewSettings(
        show_cli=flag(content.get("show_cli_sessions", not is_older)),
        show_previous_messaging=flag(content.get("show_previous_messaging_sessions")),
        show_cron=flag(content.get("show_cron_sessions")),
        show_webhook=flag(content.get("show_webhook_sessions")),
        show_kanban=flag(content.get("show_kanban_sessions")),
        show_claude_code=flag(content.get("show_claude_code_sessions", True)),
        source_filter=text(content.get("agent_session_source_filter")),
    )
