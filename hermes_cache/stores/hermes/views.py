"""Makes the content of a key from a snapshot: a pure filter, so no key is cold once one is warm.

The order of the steps decides the counts: flags and source, one row per peer, visible and hidden, then the counts,
then the side of the sidebar, then the page of archived rows. Lists are whole: nothing is cut unless the key asks.
No I/O here. Source: rules X4, X7, K1.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import encoded_json
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import SESSION_LIST
from hermes_cache.stores.hermes.projection import Session, Snapshot

_OF_A_PARENT: Final = (
    "session_id",
    "title",
    "display_title",
    "profile",
    "archived",
    "source_tag",
    "session_source",
)


def view(snapshot: Snapshot, key: SessionListKey) -> Content:
    """Return the content of a key, newest session first; equal snapshots give equal contents."""
    counted = _counted(snapshot.sessions, key)
    sided = counted
    if key.sidebar_source is not None:
        sided = [session for session in counted if _side(session) == key.sidebar_source]
    paged = set(map(id, _page([session for session in sided if session.is_archived], key)))
    listed = [session for session in sided if not session.is_archived or id(session) in paged]
    envelope = {
        "sidebar_reference_sessions": _references(listed, snapshot.sessions),
        **_counts(counted),
        "include_archived": key.include_archived,
        "all_profiles": key.all_profiles,
        "active_profile": key.profile_name,
        "other_profile_count": snapshot.foreign_count,
        **_page_fields(key),
        **({"stores_loading": True} if snapshot.stores_loading and key.show_claude_code else {}),
    }
    rows = tuple([session.row() for session in listed])
    return Content(encoded_json(envelope), rows, name=SESSION_LIST.name)


def _counted(sessions: Iterable[Session], key: SessionListKey) -> list[Session]:
    gates = _open_gates(key)
    passed = [session for session in sessions if session.gate in gates]
    if key.source_filter is not None:
        passed = [session for session in passed if session.joined.tag == key.source_filter]
    if not key.show_previous_messaging:
        passed = list(_newest_per_peer(passed))
    if key.visible_only:
        passed = [session for session in passed if session.is_visible]
    if key.exclude_hidden:
        passed = [session for session in passed if not session.is_hidden]
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


def _newest_per_peer(sorted_sessions: Iterable[Session]) -> Iterator[Session]:
    seen: set[tuple[object, ...]] = set()
    for session in sorted_sessions:
        if session.peer is None:
            yield session
        elif session.peer not in seen:
            seen.add(session.peer)
            yield session


def _side(session: Session) -> str:
    return "webui" if session.gate == "webui" else "cli"


def _counts(sessions: Sequence[Session]) -> dict[str, object]:
    counts = Counter([(session.gate == "webui", session.is_archived) for session in sessions])
    webui, archived_webui = counts[True, False], counts[True, True]
    cli, archived_cli = counts[False, False], counts[False, True]
    return {
        "cli_count": cli + archived_cli,
        "archived_count": archived_webui + archived_cli,
        "archived_webui_count": archived_webui,
        "archived_cli_count": archived_cli,
        "webui_session_count": webui,
        "cli_session_count": cli,
    }


def _page(archived: list[Session], key: SessionListKey) -> list[Session]:
    if not key.include_archived:
        return []
    start = key.archived_offset
    return archived[start:] if key.archived_limit is None else archived[start : start + key.archived_limit]


def _page_fields(key: SessionListKey) -> dict[str, object]:
    if key.archived_limit is None:
        return {}
    return {"archived_limit": key.archived_limit, "archived_offset": key.archived_offset}


def _references(listed: Sequence[Session], sessions: Sequence[Session]) -> list[dict[str, object]]:
    """Name the parents that the list leaves out, so that their children can be shown below them."""
    wanted = {
        (each.joined.profile, each.joined.parent.tip_id) for each in listed if each.joined.parent is not None
    }
    if not wanted:
        return []
    wanted -= {(each.joined.profile, each.joined.id) for each in listed}
    return [_reference(each) for each in sessions if (each.joined.profile, each.joined.id) in wanted]


def _reference(session: Session) -> dict[str, object]:
    row = session.row().decoded()
    assert isinstance(row, dict)  # noqa: S101 - the row of a session is a mapping
    return {**{name: row[name] for name in _OF_A_PARENT}, "_sidebar_reference_only": True}
