"""Reads what the list needs from a `state.db` of any schema version, in one read transaction.

The columns are found by asking the table; a missing one reads as NULL. No aggregate runs over all messages: the
last one of a session is one step in an index, and if that index is missing, the value is left out.
Source: rules X2, X3, X8.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection, Cursor, OperationalError
from typing import Final, NamedTuple

from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes.first_messages import NO_OPENING, opening_of
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.read_only import read_database
from hermes_cache.stores.hermes.source_tags import cron_job_id, is_placeholder
from hermes_cache.stores.hermes.values import text

CONTINUED: Final = frozenset({"compression", "cli_close"})
"""How sessions end that another one continues."""

_FORK_MARKERS: Final = ("_branched_from", "_reset_from", "_delegate_from")

_IS_MARKED: Final = """
CASE WHEN coalesce(instr(sessions.model_config, '"{marker}"'), 0) = 0 THEN 0
WHEN json_valid(sessions.model_config)
THEN json_extract(sessions.model_config, '$.{marker}') = sessions.parent_session_id
ELSE 1 END
"""
"""A mark names the parent. What continues a marked session inherits a mark that names another one."""

_FIRST_VERSION_WITH_MARKS: Final = 16
"""When an agent of this schema version first opens a database, it marks the delegates that are there, too."""

_HAS_LAST_MESSAGE_INDEX: Final = """
SELECT 1 FROM pragma_index_list('messages') AS listed
JOIN pragma_index_info(listed.name) AS first ON first.seqno = 0 AND first.name = 'session_id'
JOIN pragma_index_info(listed.name) AS second ON second.seqno = 1 AND second.name = 'timestamp'
WHERE listed.partial = 0
"""

_WITH_LAST_MESSAGE: Final = """
LEFT JOIN messages AS last ON last.rowid = coalesce(
    (SELECT rowid FROM messages WHERE session_id = sessions.id AND timestamp < 253402300800.0
    ORDER BY timestamp DESC LIMIT 1),
    (SELECT rowid FROM messages WHERE session_id = sessions.id ORDER BY timestamp DESC LIMIT 1)
)
"""
"""One step in the index for each session, whatever is asked of its last message.

A message from after the year 9999 is the last one only if all are, as all may have texts instead of times.
"""

_LAST_SAID: Final = """
CASE WHEN last.role <> 'tool' THEN last.timestamp ELSE (
    SELECT timestamp FROM messages
    WHERE session_id = sessions.id AND role <> 'tool' AND timestamp <= last.timestamp
    ORDER BY timestamp DESC LIMIT 1
) END
"""
"""Goes backwards through the index; the outputs of tools that it passes over are few."""

_MESSAGE_COUNT: Final = """
CASE WHEN last.rowid IS NULL THEN 0
WHEN coalesce({kept}, 0) NOT BETWEEN 1 AND 9007199254740992
THEN (SELECT count(*) FROM messages WHERE session_id = sessions.id)
ELSE {kept} END
"""
"""The count that the agent keeps, unless there is no message, or what it keeps is no count."""

_USERS_MESSAGES: Final = (
    "SELECT session_id, count(*) FROM messages NOT INDEXED WHERE role = 'user' GROUP BY session_id"
)
"""In the order of the file: an index would lead through it at random."""

_USERS_MESSAGES_OF: Final = """
SELECT session_id, count(*) FROM messages
WHERE role = 'user' AND session_id IN (SELECT value FROM json_each(?)) GROUP BY session_id
"""

_MOST_BY_INDEX: Final = 0.25
"""If a first reading counts a greater share of the sessions, it counts all, in the order of the file."""

_SHOWN: Final = {
    "active": " AND coalesce(active, 1) <> 0",
    "display_kind": " AND coalesce(display_kind, '') <> 'hidden'",
}
"""By the name of a column of messages, what must hold of one that is shown."""

_FIRST_MESSAGES: Final = """
SELECT value, (
    SELECT substr(CAST(content AS BLOB), 1, 4000) FROM messages
    WHERE session_id = value AND role = 'user' AND content IS NOT NULL{shown} ORDER BY {order} LIMIT 1
) FROM json_each(?)
"""
"""As bytes, since SQLite cuts a text at its first NUL."""

_ROUTING: Final = "SELECT session_key, entry_json FROM gateway_routing ORDER BY updated_at, scope"
_ROUTING_COLUMNS: Final = frozenset({"scope", "session_key", "entry_json", "updated_at"})


class SessionRecord(NamedTuple):
    """One row of `sessions` as it stands there; any value may be NULL or damaged.

    Columns that no list shows, such as the heartbeat's, are not read, so that they never make news. `forked` says
    whether the agent marked it as a branch, a reset or a delegate of its parent. `moved_at` is the time of its
    last message, `last_message_at` that of the last one that is no tool's output, `user_message_count` how many
    its user wrote. `first_message` is an `Opening`, the beginning of what its user wrote first, if it was ever
    without a title.
    """

    id: object
    source: object = None
    model: object = None
    parent_session_id: object = None
    started_at: object = None
    ended_at: object = None
    end_reason: object = None
    message_count: object = None
    input_tokens: object = None
    output_tokens: object = None
    cache_read_tokens: object = None
    cache_write_tokens: object = None
    cwd: object = None
    billing_provider: object = None
    estimated_cost_usd: object = None
    actual_cost_usd: object = None
    title: object = None
    display_name: object = None
    session_key: object = None
    user_id: object = None
    chat_id: object = None
    chat_type: object = None
    thread_id: object = None
    archived: object = None
    hidden: object = None
    pinned: object = None
    forked: object = None
    moved_at: object = None
    last_message_at: object = None
    user_message_count: object = None
    first_message: object = None


_COLUMNS: Final = SessionRecord._fields[:-5]

_COUNT_AT: Final = SessionRecord._fields.index("message_count")
_MOVED_AT: Final = SessionRecord._fields.index("moved_at")
_TITLE_AT: Final = SessionRecord._fields.index("title")
_SOURCE_AT: Final = SessionRecord._fields.index("source")
_END_REASON_AT: Final = SessionRecord._fields.index("end_reason")

_record: Final = partial(tuple.__new__, SessionRecord)
"""Takes half the time of `_make`, which only adds a look at the length."""


@dataclass(frozen=True, slots=True)
class StateReading:
    """What a `state.db` held at one moment.

    Attributes:
        sessions: Its sessions by id.
        routing: The gateway's routing entries as JSON text, by session key.
        marks_delegates: Whether its agent marks the sessions of delegates.
    """

    sessions: dict[str, SessionRecord]
    routing: dict[str, object]
    marks_delegates: bool = True


def read_state_db(
    path: Path,
    before: Mapping[str, SessionRecord] | None = None,
    looks: Looks | None = None,
    *,
    jobs: Collection[str] = (),
) -> StateReading:
    """Read a database.

    Args:
        path: The database.
        before: The sessions of an earlier reading; those that did not change stay the same objects.
        looks: Knows whether the database stands still.
        jobs: The scheduled jobs that have a name; their sessions are known by that, and need no first message.

    Raises:
        SourceError: It is missing, locked, being written, truncated, corrupt or none.
    """
    return read_database(path, partial(_tolerant_reading, path, before or {}, jobs), looks or Looks())


def named_anew(records: Mapping[str, SessionRecord]) -> dict[str, SessionRecord]:
    """Return the records of an earlier reading so that the next one finds the first messages that it lacks.

    It is for jobs that lost their name: their records are taken for changed ones.
    """
    is_lacking = {sid for sid, record in records.items() if record.source == "cron" and not record.first_message}
    return {sid: record._replace(source=None) if sid in is_lacking else record for sid, record in records.items()}


def _tolerant_reading(
    path: Path, before: Mapping[str, SessionRecord], jobs: Collection[str], connection: Connection
) -> StateReading:
    try:
        return _reading(connection.cursor(), path, before, jobs)
    except OperationalError as error:
        if "Could not decode" not in str(error):
            raise
    # Decoding in Python costs five times as much, so only a database with broken text pays for it.
    connection.text_factory = _decoded
    return _reading(connection.cursor(), path, before, jobs)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _reading(
    cursor: Cursor, path: Path, before: Mapping[str, SessionRecord], jobs: Collection[str]
) -> StateReading:
    present = _columns_of(cursor, "sessions")
    if "id" not in present:
        raise SourceError(path, "has no table of sessions with an id")
    has_messages = _has_messages(cursor)
    sessions = _sessions(cursor, present, before, jobs, is_indexed=has_messages and _is_indexed(cursor))
    if not sessions and has_messages:
        raise SourceError(path, "has messages but no session")
    return StateReading(sessions, _routing(cursor), _marks_delegates(cursor))


def _sessions(
    cursor: Cursor,
    present: frozenset[str],
    before: Mapping[str, SessionRecord],
    jobs: Collection[str],
    *,
    is_indexed: bool,
) -> dict[str, SessionRecord]:
    has_roles = is_indexed and "role" in _columns_of(cursor, "messages")
    sessions: dict[str, SessionRecord] = {}
    # A record is made once, when all of it is known: each one more is one more for the garbage collector to visit.
    changed: dict[str, tuple[object, ...]] = {}
    for row in cursor.execute(_sessions_query(present, is_indexed=is_indexed, has_roles=has_roles)):
        session_id = row[0]
        old = before.get(session_id)
        if old is not None and old[:-2] == row:
            sessions[session_id] = old
        elif isinstance(session_id, str) and session_id.strip():
            changed[session_id] = row
    if not changed or not has_roles:
        return sessions | {session_id: _record((*row, None, None)) for session_id, row in changed.items()}
    kept = {sid: old for sid, row in changed.items() if (old := before.get(sid)) and _says_the_same(old, row)}
    uncounted = [session_id for session_id in changed if session_id not in kept]
    is_whole = not sessions and len(uncounted) > _MOST_BY_INDEX * len(changed)
    counts = _counts_of_users_messages(cursor, uncounted, is_whole=is_whole)
    counts |= {session_id: old.user_message_count for session_id, old in kept.items()}
    openings = {session_id: old.first_message for session_id, old in kept.items() if old.first_message}
    untitled = [sid for sid, row in changed.items() if counts.get(sid) and _is_nameless(row, jobs)]
    openings |= _openings(cursor, [session_id for session_id in untitled if session_id not in openings])
    for session_id, row in changed.items():
        sessions[session_id] = _record((*row, counts.get(session_id, 0), openings.get(session_id)))
    return sessions


def _is_nameless(row: tuple[object, ...], jobs: Collection[str]) -> bool:
    title, source = text(row[_TITLE_AT]), str(row[_SOURCE_AT])
    if title is not None and not is_placeholder(title, source):
        return False
    # A session that another one continues is shown by that, under this one's first message.
    return source != "cron" or row[_END_REASON_AT] in CONTINUED or cron_job_id(str(row[0])) not in jobs


def _says_the_same(old: SessionRecord, row: tuple[object, ...]) -> bool:
    return old.message_count == row[_COUNT_AT] and old.moved_at == row[_MOVED_AT]


def _counts_of_users_messages(cursor: Cursor, session_ids: Sequence[str], *, is_whole: bool) -> dict[str, object]:
    """Count what users wrote in sessions; all of the table's are counted at once if `is_whole`.

    Roles stand in no index, so a message is looked at once for each change of its session, and not at each read.
    """
    if is_whole:
        return dict(cursor.execute(_USERS_MESSAGES))
    return dict(cursor.execute(_USERS_MESSAGES_OF, (json.dumps(session_ids),)))


def _openings(cursor: Cursor, session_ids: Sequence[str]) -> dict[str, object]:
    """Return the beginning of what their users wrote in sessions."""
    if not session_ids:
        return {}
    present = _columns_of(cursor, "messages")
    shown = "".join([condition for name, condition in _SHOWN.items() if name in present])
    query = _FIRST_MESSAGES.format(shown=shown, order="timestamp, id" if "id" in present else "timestamp")
    heads = cursor.execute(query, (json.dumps(session_ids),))
    return {session_id: opening_of(head) or NO_OPENING for session_id, head in heads}


def _marks_delegates(cursor: Cursor) -> bool:
    # The columns do not tell: the mark is a field of a JSON column that every version has.
    if "version" not in _columns_of(cursor, "schema_version"):
        return True
    cursor.execute("SELECT max(version) FROM schema_version")
    (version,) = cursor.fetchone()
    return not isinstance(version, int) or version >= _FIRST_VERSION_WITH_MARKS


def _has_messages(cursor: Cursor) -> bool:
    if not _columns_of(cursor, "messages"):
        return False
    cursor.execute("SELECT 1 FROM messages LIMIT 1")
    return cursor.fetchone() is not None


def _columns_of(cursor: Cursor, name: str) -> frozenset[str]:
    cursor.execute("SELECT name FROM pragma_table_info(?)", (name,))
    return frozenset(name for (name,) in cursor.fetchall())


def _sessions_query(present: frozenset[str], *, is_indexed: bool, has_roles: bool) -> str:
    columns = {name: f"sessions.{name}" if name in present else "NULL" for name in _COLUMNS}
    if is_indexed:
        columns["message_count"] = _MESSAGE_COUNT.format(kept=columns["message_count"])
    marks = " OR ".join([f"({_IS_MARKED.format(marker=marker)})" for marker in _FORK_MARKERS])
    forked = marks if {"model_config", "parent_session_id"} <= present else "NULL"
    moved_at, source = ("last.timestamp", _WITH_LAST_MESSAGE) if is_indexed else ("NULL", "")
    selected = ", ".join([*columns.values(), forked, moved_at, _LAST_SAID if has_roles else moved_at])
    return f"SELECT {selected} FROM sessions {source}"  # noqa: S608 - names of our own


def _is_indexed(cursor: Cursor) -> bool:
    cursor.execute(_HAS_LAST_MESSAGE_INDEX)
    return cursor.fetchone() is not None


def _routing(cursor: Cursor) -> dict[str, object]:
    if not _columns_of(cursor, "gateway_routing") >= _ROUTING_COLUMNS:
        return {}
    return {key: entry for key, entry in cursor.execute(_ROUTING) if isinstance(key, str)}
