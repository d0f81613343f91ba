"""The views that are compared: settings of the front end times parameters of a request."""

from itertools import product
from typing import Any, Final, NamedTuple

from hermes_cache.sessions.keys import SessionListKey

_SHOW_ALL: Final[dict[str, object]] = {
    "show_cli_sessions": True,
    "show_cron_sessions": True,
    "show_webhook_sessions": True,
    "show_kanban_sessions": True,
    "show_previous_messaging_sessions": True,
}

SETTINGS: Final[dict[str, dict[str, object]]] = {
    "own": {"show_cli_sessions": False},
    "agents": {"show_cli_sessions": True},
    "cron": {"show_cli_sessions": True, "show_cron_sessions": True},
    "webhook": {"show_cli_sessions": True, "show_webhook_sessions": True},
    "kanban": {"show_cli_sessions": True, "show_kanban_sessions": True},
    "messaging": {"show_cli_sessions": True, "show_previous_messaging_sessions": True},
    "everything": _SHOW_ALL,
    "only telegram": {"show_cli_sessions": True, "agent_session_source_filter": "telegram"},
    "only cron": {"show_cli_sessions": True, "agent_session_source_filter": "cron"},
}
"""By name, what stands in settings.json. Claude Code's sessions stand outside of a home and are left out."""

PARAMETERS: Final[dict[str, dict[str, str]]] = {
    "plain": {},
    "with archived": {"include_archived": "1"},
    "a page of archived": {"include_archived": "1", "archived_limit": "2", "archived_offset": "1"},
    "no hidden": {"exclude_hidden": "1"},
    "webui tab": {"sidebar_source": "webui"},
    "cli tab": {"sidebar_source": "cli"},
    "all profiles": {"all_profiles": "1", "include_archived": "1"},
    "profile work": {"profile": "work", "include_archived": "1"},
}


class View(NamedTuple):
    """One view.

    Attributes:
        settings: The name of its settings.
        parameters: The name of its parameters.
    """

    settings: str
    parameters: str

    def __str__(self) -> str:
        return f"{self.settings}, {self.parameters}"

    def key(self, agent_limit: int | None = None) -> SessionListKey:
        """Return the key that a request for this view means."""
        settings, parameters = SETTINGS[self.settings], PARAMETERS[self.parameters]
        flags: dict[str, Any] = {
            name.removesuffix("_sessions"): value for name, value in settings.items() if name.startswith("show_")
        }
        asked: dict[str, Any] = {
            name: value if name in {"profile", "sidebar_source"} else int(value)
            for name, value in parameters.items()
        }
        source_filter: Any = settings.get("agent_session_source_filter")
        return SessionListKey(
            **flags, **asked, source_filter=source_filter, visible_only=True, agent_limit=agent_limit
        )


VIEWS: Final = tuple(View(*names) for names in product(SETTINGS, PARAMETERS))
