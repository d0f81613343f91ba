"""What small JSON files of a home hold: a gateway's peers, the names of scheduled jobs, projects, view settings.

A newer agent keeps the gateway's file only as a mirror of a table in `state.db`, an older one has the file alone.
So both are read, and the table wins. Whatever a file holds, nothing here raises. Source: rules W1, X7.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes.json_files import SMALL_BYTES, read_json
from hermes_cache.stores.hermes.values import flag, text

_PROJECT_OF_TAG: Final = (("cron", "Cron Jobs"), ("webhook", "Webhooks"))
"""The names of the projects in which the front end gathers the sessions of a tag."""


class Routing(NamedTuple):
    """What a gateway knows of a session's peer.

    Attributes:
        session_key: Names the peer; the same for all sessions of one peer.
        display_name: The peer's name, or its chat's.
    """

    session_key: str
    display_name: str | None


def routing_by_session(file: object, table: Mapping[str, object]) -> dict[str, Routing]:
    """Return the peer of each session that a gateway keeps a peer for.

    Args:
        file: The decoded `sessions.json`, whatever it holds.
        table: The entries of the table as JSON text, by session key.
    """
    from_file = file if isinstance(file, dict) else {}
    entries = {**from_file, **{key: _decoded(entry) for key, entry in table.items()}}
    found: dict[str, Routing] = {}
    for key, entry in entries.items():
        session_id = text(entry.get("session_id")) if isinstance(entry, dict) else None
        if session_id and not key.startswith("_"):
            found[session_id] = _routing(key, entry)
    return found


def job_names(content: object) -> dict[str, str]:
    """Return the names of scheduled jobs by id.

    Args:
        content: The decoded `jobs.json`, whatever it holds.
    """
    jobs = content.get("jobs") if isinstance(content, dict) else None
    names: dict[str, str] = {}
    for job in jobs if isinstance(jobs, list) else ():
        job_id, name = (text(job.get("id")), text(job.get("name"))) if isinstance(job, dict) else (None, None)
        if job_id and name:
            names[job_id] = name
    return names


def projects_by_tag(content: object, profile: str, owner: Callable[[str | None], str]) -> dict[str, str]:
    """Return the project of all sessions of a tag, for the tags that have one; the first of a name is taken.

    Args:
        content: The decoded `projects.json`, whatever it holds.
        profile: The profile whose projects count.
        owner: Returns the profile that a name in the file means.
    """
    projects = [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    own = [each for each in reversed(projects) if owner(text(each.get("profile"))) == profile]
    named = [(text(each.get("name")), text(each.get("project_id"))) for each in own]
    ids = {name: project_id for name, project_id in named if project_id}
    return {tag: ids[name] for tag, name in _PROJECT_OF_TAG if name in ids}


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
    """Read a settings file; if it or a field of it is missing or broken, the front end's defaults count."""
    try:
        content = read_json(path, most_bytes=SMALL_BYTES)
    except SourceError:
        return ViewSettings()
    return _view_settings(content) if isinstance(content, dict) else ViewSettings()


def _view_settings(content: Mapping[str, object]) -> ViewSettings:
    # A user with settings from before terminal sessions could be shown was not to see them appear.
    is_older = bool(content.keys() - {"onboarding_completed"}) or flag(content.get("onboarding_completed"))
    source_filter = text(content.get("agent_session_source_filter"))
    return ViewSettings(
        show_cli=flag(content.get("show_cli_sessions", not is_older)),
        show_previous_messaging=flag(content.get("show_previous_messaging_sessions")),
        show_cron=flag(content.get("show_cron_sessions")),
        show_webhook=flag(content.get("show_webhook_sessions")),
        show_kanban=flag(content.get("show_kanban_sessions")),
        show_claude_code=flag(content.get("show_claude_code_sessions", True)),
        source_filter=source_filter.strip().lower() if source_filter else None,
    )


def redacts_secrets(content: object) -> bool:
    """Say whether secrets are masked, as the front end does it unless the setting is false or 0.

    Args:
        content: The decoded settings file, whatever it holds.
    """
    said = content.get("api_redact_enabled", True) if isinstance(content, dict) else True
    # A word or null may be a mistake, and a secret that is shown cannot be taken back.
    return said not in (False, 0)


def _decoded(entry: object) -> object:
    try:
        return orjson.loads(entry) if isinstance(entry, str | bytes) else None
    except orjson.JSONDecodeError:
        return None


def _routing(key: str, entry: Mapping[str, object]) -> Routing:
    origin = entry.get("origin")
    chat_name = text(origin.get("chat_name")) if isinstance(origin, dict) else None
    return Routing(text(key) or "", text(entry.get("display_name")) or chat_name)
