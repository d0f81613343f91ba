"""Turns a snapshot into the payload of a key: a pure filter, so no key is cold once one is warm.

The order of the steps decides the counts: flags and source, one row per peer, visible and hidden, then the counts,
then the side of the sidebar, then the page of archived rows. Lists are whole: nothing is cut unless the key asks.
No I/O here. Source: rules X4, X7, K1.
"""

from collections.abc import Iterable, Iterator, Sequence

from hermes_cache.payload.freezing import Row
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.projection import Session, Snapshot, newest_first


def view(snapshot: Snapshot, key: SessionListKey) -> dict[str, object]:
    """Return the payload of a key, newest session first; equal snapshots give equal payloads."""
    counted = _counted(snapshot.sessions, key)
    sided = [session for session in counted if key.sidebar_source in {None, _side(session)}]
    active = [session for session in sided if not session.row["archived"]]
    archived = [session for session in sided if session.row["archived"]]
    listed = _in_order(active, _page(archived, key)) if key.include_archived else active
    shown = [session.row for session in listed]
    return {
        "sessions": shown,
        "sidebar_reference_sessions": _references(shown, snapshot.sessions),
        **_counts(counted),
        "include_archived": key.include_archived,
        "all_profiles": key.all_profiles,
        "active_profile": key.profile_name,
        "other_profile_count": snapshot.foreign_count,
        **_page_fields(key),
    }


def _counted(sessions: Iterable[Session], key: SessionListKey) -> list[Session]:
    gates = _open_gates(key)
    passed = [session for session in sessions if session.gate in gates]
    if key.source_filter is not None:
        passed = [session for session in passed if session.row["raw_source"] == key.source_filter]
    if not key.show_previous_messaging:
        passed = list(_newest_per_peer(passed))
    if key.visible_only:
        passed = [session for session in passed if session.is_visible]
    if key.exclude_hidden:
        passed = [session for session in passed if not session.row["default_hidden"]]
    return passed


def _open_gates(key: SessionListKey) -> frozenset[str]:
    gates = {
        "webui": True,
        "cli": key.show_cli,
        "cron": key.show_cron,
        "webhook": key.show_webhook,
        "kanban": key.show_kanban,
        "claude_code": key.show_claude_code,
    }
    return frozenset(gate for gate, is_open in gates.items() if is_open)


def _newest_per_peer(newest_first: Iterable[Session]) -> Iterator[Session]:
    seen: set[tuple[object, ...]] = set()
    for session in newest_first:
        if session.peer is None:
            yield session
        elif session.peer not in seen:
            seen.add(session.peer)
            yield session


def _side(session: Session) -> str:
    return "webui" if session.gate == "webui" else "cli"


def _counts(sessions: Sequence[Session]) -> dict[str, object]:
    sides = [(_side(session), session.row["archived"]) for session in sessions]
    archived_webui, archived_cli = sides.count(("webui", True)), sides.count(("cli", True))
    cli = sides.count(("cli", False))
    return {
        "cli_count": cli + archived_cli,
        "archived_count": archived_webui + archived_cli,
        "archived_webui_count": archived_webui,
        "archived_cli_count": archived_cli,
        "webui_session_count": sides.count(("webui", False)),
        "cli_session_count": cli,
    }


def _page(archived: list[Session], key: SessionListKey) -> list[Session]:
    start = key.archived_offset
    return archived[start:] if key.archived_limit is None else archived[start : start + key.archived_limit]


def _page_fields(key: SessionListKey) -> dict[str, object]:
    if key.archived_limit is None:
        return {}
    return {"archived_limit": key.archived_limit, "archived_offset": key.archived_offset}


def _in_order(active: list[Session], archived: list[Session]) -> list[Session]:
    return sorted([*active, *archived], key=newest_first) if archived else active


def _references(shown: Sequence[Row], sessions: Sequence[Session]) -> list[dict[str, object]]:
    """Name the parents that the list leaves out, so that their children can be hung below them."""
    wanted = {(row["profile"], row["_parent_lineage_tip_id"]) for row in shown if "_parent_lineage_tip_id" in row}
    wanted -= {(row["profile"], row["session_id"]) for row in shown} if wanted else set()
    if not wanted:
        return []
    rows = (session.row for session in sessions)
    return [_reference(row) for row in rows if (row["profile"], row["session_id"]) in wanted]


def _reference(row: Row) -> dict[str, object]:
    names = ("session_id", "title", "display_title", "profile", "archived", "source_tag", "session_source")
    return {**{name: row[name] for name in names}, "_sidebar_reference_only": True}
