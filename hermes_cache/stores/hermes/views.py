"""Makes the content of a key from a snapshot: a pure filter, so no key is cold once one is warm.

The order of the steps decides the counts: flags and source, one row per peer, the newest of terminals, visible and
hidden, then the counts, then the side of the sidebar, then the page of archived rows. Archived sessions take the
place of others only in a view that lists them. Lists are whole: nothing is cut unless the key asks.
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
from hermes_cache.stores.hermes.values import text

_BACKGROUND: Final = frozenset({"cron", "webhook", "kanban"})

_LEFT_BEHIND: Final = frozenset({"session_reset", "session_switch"})
"""How sessions end from which a chat has moved on."""


def view(snapshot: Snapshot, key: SessionListKey) -> Content:
    """Return the content of a key, newest session first; equal snapshots give equal contents."""
    passed = _passed(snapshot.sessions, key)
    whole = _narrowed(passed, key)
    has_archived = any(session.is_archived for session in passed)
    current = _narrowed([each for each in passed if not each.is_archived], key) if has_archived else whole
    listed = _of_side(whole if key.include_archived else current, key)
    if key.include_archived and key.archived_limit is not None:
        archived = [session for session in _of_side(whole, key) if session.is_archived]
        page = archived[key.archived_offset : key.archived_offset + key.archived_limit]
        listed = newest_first([*_of_side(current, key), *page])
    references = [] if key.include_archived else _references(listed, _of_side(whole, key))
    envelope = {
        "sidebar_reference_sessions": references,
        **_counts(whole, whole if key.include_archived else current),
        "cli_count": sum(map(_is_the_agents, passed)),
        "include_archived": key.include_archived,
        "all_profiles": key.all_profiles,
        "active_profile": key.profile_name,
        "other_profile_count": snapshot.foreign_count,
        **_page_fields(key),
        **({"stores_loading": True} if snapshot.stores_loading and key.show_claude_code else {}),
    }
    gates = _open_gates(key)
    rows = [each.row() if each.gate in gates else each.row_behind_its_project() for each in listed]
    return Content(encoded_json(envelope), tuple(rows), name=SESSION_LIST.name)


def _passed(sessions: Iterable[Session], key: SessionListKey) -> list[Session]:
    """Return what the flags and the source let through, and what is listed for the sake of its project."""
    gates, source = _open_gates(key), key.source_filter
    if source is None:
        return [each for each in sessions if each.gate in gates or (key.show_cli and _has_project(each))]
    # The front end's own sessions are listed whatever source of the agent's is asked for.
    return [each for each in sessions if each.gate in gates and (each.joined.web or each.joined.tag == source)]


def _has_project(session: Session) -> bool:
    if session.gate not in _BACKGROUND or not session.is_visible:
        return False
    return bool(session.joined.project_id or (session.joined.web and session.joined.web.project_id))


def _is_the_agents(session: Session) -> bool:
    # Of what runs in the background the front end lists the agent's row, even if it has one of its own.
    return session.is_visible and (session.joined.web is None or session.gate in _BACKGROUND)


def _narrowed(sessions: Iterable[Session], key: SessionListKey) -> list[Session]:
    kept = list(sessions)
    if not key.show_previous_messaging:
        kept = list(_newest_per_peer(kept))
    if key.agent_limit is not None:
        terminals = [session for session in kept if session.is_of_terminal]
        cut = set(map(id, terminals[key.agent_limit :]))
        kept = [session for session in kept if id(session) not in cut]
    if key.visible_only:
        kept = [session for session in kept if session.is_visible]
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
    talking = {each.peer[:2] for each in sorted_sessions if each.peer is not None and each.joined.routing}
    for session in sorted_sessions:
        if session.peer is None:
            yield session
        elif session.peer not in seen and not (session.peer[:2] in talking and _is_left_behind(session)):
            seen.add(session.peer)
            yield session


def _is_left_behind(session: Session) -> bool:
    """Say whether a chat has moved on from a session, if the gateway talks to its source."""
    joined = session.joined
    agent = joined.agent
    if joined.routing is not None:
        return False
    is_nobodys = agent is None or not any(map(text, (agent.session_key, agent.chat_id, agent.thread_id)))
    return is_nobodys or joined.parent_id is not None or (agent is not None and agent.end_reason in _LEFT_BEHIND)


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
    return {"archived_limit": key.archived_limit, "archived_offset": key.archived_offset}


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
