"""Reads which session a gateway keeps for each peer: from its file, and from its table in `state.db`.

Newer agents keep the file only as a mirror, older ones have the file alone, so both are read and the table wins.
Source: rule X7.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from hermes_cache.stores.hermes.values import moment_s, text


class Routing(NamedTuple):
    """What a gateway knows of a session's peer.

    Attributes:
        session_key: Names the peer; the same for all sessions of one peer.
        display_name: The peer's name, or its chat's.
        updated_at_s: When the gateway last used the session, in epoch seconds.
    """

    session_key: str
    display_name: str | None
    updated_at_s: float | None


def routing_by_session(file: object, table: Mapping[str, object]) -> dict[str, Routing]:
    """Return the peer of each session that a gateway keeps one for.

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


def _decoded(entry: object) -> object:
    try:
        return orjson.loads(entry) if isinstance(entry, str | bytes) else None
    except orjson.JSONDecodeError:
        return None


def _routing(key: str, entry: Mapping[str, object]) -> Routing:
    origin = entry.get("origin")
    chat_name = text(origin.get("chat_name")) if isinstance(origin, dict) else None
    # The gateway writes these times in local time without a zone.
    updated_at_s = moment_s(entry.get("updated_at"), naive_zone=None)
    return Routing(text(key) or "", text(entry.get("display_name")) or chat_name, updated_at_s)
