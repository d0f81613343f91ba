"""What the tags of a session's source mean to a sidebar. Tags are an open set: an unknown one is `other`.

No I/O here. Source: rule X7.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

UNKNOWN: Final = "unknown"
"""What an agent writes before it knows better."""

_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("discord", "email", "wecom", "wecom_callback", "slack", "telegram", "weixin", "matrix"), "messaging"
        ),
        **dict.fromkeys(("acp", "cli", "tui"), "cli"),
        **{tag: tag for tag in ("cron", "webhook", "kanban", "tool", "webui", "claude_code")},
        "api_server": "api",
    }
)

_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "webui": "WebUI",
        "cli": "CLI",
        "tui": "TUI",
        "acp": "ACP",
        "api_server": "API",
        "sms": "SMS",
        "wecom": "WeCom",
    }
)

_PLACEHOLDERS: Final = frozenset({"untitled", "cli", "cli session"})

_TERMINAL: Final = frozenset({"cli", "claude_code"})

BACKGROUND: Final = frozenset({"cron", "webhook", "kanban"})
"""What runs without anybody who looks on."""

_GATED: Final = BACKGROUND | {"claude_code"}

_MAX_TAGS: Final = 256
"""A home has some twenty."""

_CRON_ID: Final = re.compile(r"cron_(.+)_\d{8}_\d{6}")
"""Job ids may hold underscores, so the time is matched from the right."""


@lru_cache(_MAX_TAGS)
def session_source(tag: str) -> str:
    """Return the kind that a tag is shown as."""
    return _MEANINGS.get(tag, "other")


@lru_cache(_MAX_TAGS)
def is_of_terminal(tag: str) -> bool:
    """Say whether the front end files sessions of a tag under `cli`: terminals, editors and other agents."""
    return session_source(tag) in _TERMINAL


def source_label(tag: str) -> str:
    """Return a tag in words."""
    return _LABELS.get(tag) or tag.replace("_", " ").title()


def is_placeholder(title: str, tag: str) -> bool:
    """Say whether a title is one that the front end writes if there is none, such as `Cli Session`."""
    lowered = title.lower()
    return lowered in _PLACEHOLDERS or (lowered.endswith(" session") and lowered[:-8] == tag)


@lru_cache(_MAX_TAGS)
def gate(tag: str, *, is_native: bool) -> str:
    """Say which of a key's flags lets such sessions through: `webui` always, the others by `show_<gate>`.

    Args:
        is_native: Whether the session was begun in the web front end, whatever its tag.
    """
    meaning = session_source(tag)
    if meaning in _GATED:
        return meaning
    return "webui" if is_native else "cli"


def cron_job_id(session_id: str) -> str | None:
    """Return the job that a scheduled session ran for, as its id says."""
    found = _CRON_ID.fullmatch(session_id)
    return found.group(1) if found else None
