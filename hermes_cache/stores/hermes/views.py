"""Makes the content of a key from a snapshot: a pure filter, so no key is cold once one is warm.

The order of the steps decides the counts: flags and source, visible, one row per peer, the newest of terminals,
hidden, then the counts, then the side of the sidebar, then the page of archived rows. Archived sessions
push out others only in a view that lists them. Lists are whole: nothing is cut unless the key asks.
No I/O here. Source: rules X4, X7, K1.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import encoded_json
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import SESSION_LIST
from hermes_cache.stores.hermes.projection import Session, Snapshot, newest_first

_LARGEST_NUMBER: Final = 2**53
"""JavaScript counts no further exactly; no home has so many sessions."""

_MOST_BEHIND_A_PROJECT: Final = 200
"""As many of each kind as the front end has at hand, in a view that limits the agent's sessions."""


def view(snapshot: Snapshot, key: SessionListKey) -> Content:
    """Return the content of a key, newest session first; equal snapshots give equal contents."""
    passed = _passed(snapshot.sessions, key)
    whole = _narrowed(passed, key)
    current = _without_archived(passed, whole, key)
    listed = _of_side(whole if key.include_archived else current, key)
    if key.include_archived and key.archived_limit is not None:
        archived = [session for session in _of_side(whole, key) if session.is_archived]
        page = archived[key.archived_offset : key.archived_offset + key.archived_limit]
        listed = newest_first([*_of_side(current, key), *page])
    references = [] if key.include_archived else _references(listed, _of_side(whole, key))
    envelope = {
        "sidebar_reference_sessions": references,
        **_counts(whole, whole if key.include_archived else current),
        "cli_count": len([None for each in passed if each.is_visible and (not each.is_own or each.has_project)]),
        "include_archived": key.include_archived,
        "all_profiles": key.all_profiles,
        "active_profile": key.profile_name,
        "other_profile_count": snapshot.foreign.own + (snapshot.foreign.of_terminals if key.show_cli else 0),
        **_page_fields(key),
        **({"stores_loading": True} if snapshot.stores_loading else {}),
    }
    gates = _open_gates(key)
    rows = [each.row() if each.gate in gates else each.row_behind_its_project() for each in listed]
    return Content(encoded_json(envelope), tuple(rows), name=SESSION_LIST.name)


def _passed(sessions: Sequence[Session], key: SessionListKey) -> list[Session]:
    """Return what the flags and the source let through, and what is listed for the sake of its project."""
    gates, source = _open_gates(key), key.source_filter
    if source is None:
        behind = _behind_projects(sessions, key) if key.show_cli else frozenset()
        return [each for each in sessions if each.gate in gates or id(each) in behind]
    # The front end's own sessions are listed whatever source of the agent's is asked for.
    return [each for each in sessions if each.gate in gates and (each.is_own or each.joined.tag == source)]


def _behind_projects(sessions: Sequence[Session], key: SessionListKey) -> frozenset[int]:
    """Return by their identity the sessions that are listed for the sake of their project."""
    gates = _open_gates(key)
    behind = [session for session in sessions if session.has_project and session.gate not in gates]
    if key.agent_limit is not None:
        kinds = {session.gate for session in behind}
        newest = [[each for each in behind if each.gate == kind][:_MOST_BEHIND_A_PROJECT] for kind in kinds]
        behind = [session for each in newest for session in each]
    return frozenset(map(id, behind))


def _without_archived(passed: list[Session], whole: list[Session], key: SessionListKey) -> list[Session]:
    """Return what is listed if archived sessions push out none."""
    archived = [session for session in passed if session.is_archived]
    if any(each.peer is not None or (each.is_of_terminal and key.agent_limit is not None) for each in archived):
        return _narrowed([session for session in passed if not session.is_archived], key)
    return [session for session in whole if not session.is_archived] if archived else whole


def _narrowed(sessions: Iterable[Session], key: SessionListKey) -> list[Session]:
    # What is not visible takes no seat: not that of a chat, and none of the newest.
    kept = [session for session in sessions if session.is_visible or not key.visible_only]
    if not key.show_previous_messaging:
        kept = list(_newest_per_peer(kept))
    if key.agent_limit is not None:
        terminals = [session for session in kept if session.is_of_terminal]
        cut = set(map(id, terminals[key.agent_limit :]))
        kept = [session for session in kept if id(session) not in cut]
    if key.exclude_hidden:
        gates = _open_gates(key)
        kept = [session for session in kept if not session.is_hidden and session.gate in gates]
    return kept


def _of_side(sessions: list[Session], key: SessionListKey) -> list[Session]:
    if key.sidebar_source is None:
        return sessions
    return [session for session in sessions if session.is_of_terminal == (key.sidebar_source == "cli")]


def _open_gates(key: SessionListKey) -> frozenset[str]:
    gates = {
        "webui": True,
        "cli": key.show_cli,
        "cron": key.show_cron,
        "webhook": key.show_webhook,
        "kanban": key.show_kanban,
        "claude_code": key.show_claude_code,
    }
    return frozenset(gate for gate, is_open in gates.items() if is_open or gate == key.source_filter)


def _newest_per_peer(sorted_sessions: Sequence[Session]) -> Iterator[Session]:
    seen: set[tuple[object, ...]] = set()
    talking = {each.peer[:2] for each in sorted_sessions if each.peer is not None and each.is_routed}
    for session in sorted_sessions:
        if session.peer is None:
            yield session
        elif session.peer not in seen and not (session.is_left_behind and session.peer[:2] in talking):
            seen.add(session.peer)
            yield session


def _counts(whole: Sequence[Session], shown: Sequence[Session]) -> dict[str, object]:
    archived = Counter([session.is_of_terminal for session in whole if session.is_archived])
    sides = Counter([session.is_of_terminal for session in shown])
    return {
        "archived_count": archived.total(),
        "archived_webui_count": archived[False],
        "archived_cli_count": archived[True],
        "webui_session_count": sides[False],
        "cli_session_count": sides[True],
    }


def _page_fields(key: SessionListKey) -> dict[str, object]:
    if key.archived_limit is None:
        return {}
    limits = {"archived_limit": key.archived_limit, "archived_offset": key.archived_offset}
    return {name: min(limit, _LARGEST_NUMBER) for name, limit in limits.items()}


def _references(listed: Sequence[Session], whole: Sequence[Session]) -> list[dict[str, object]]:
    """Name the archived ancestors of what is listed, below which it is not shown."""
    archived = {(each.joined.profile, each.joined.id): each for each in whole if each.is_archived}
    found: dict[tuple[str, str], Session] = {}
    for session in listed if archived else ():
        parent = _parent_of(session)
        while parent in archived and parent not in found:
            found[parent] = archived[parent]
            parent = _parent_of(archived[parent])
    return [_reference(each) for each in found.values()]


def _parent_of(session: Session) -> tuple[str, str]:
    joined = session.joined
    return (joined.profile, (joined.parent.tip_id if joined.parent else joined.parent_id) or "")


def _reference(session: Session) -> dict[str, object]:
    row = session.row().decoded()
    assert isinstance(row, dict)  # noqa: S101 - the row of a session is a mapping
    return {**row, "_sidebar_reference_only": True}
