"""Reads what the list needs from a `state.db` of any schema version, in one read transaction.

The columns are found by asking the table; a missing one reads as NULL. No aggregate runs over all messages: the
last one of a session is one step in an index, and where that index is missing the value is left out.
Source: rules X2, X3, X8.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from sqlite3 import Connection, Cursor, OperationalError
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, case, column, func, literal, null, or_, select, table
from sqlalchemy.dialects import sqlite

from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.read_only import read_database

_DIALECT: Final = sqlite.dialect()

_FORK_MARKERS: Final = ("_branched_from", "_reset_from", "_delegate_from")

_FIRST_VERSION_WITH_MARKS: Final = 16
"""When an agent of this schema version first opens a database, it marks the delegates that are there, too."""

_HAS_LAST_MESSAGE_INDEX: Final = """
SELECT 1 FROM pragma_index_list('messages') AS listed
JOIN pragma_index_info(listed.name) AS first ON first.seqno = 0 AND first.name = 'session_id'
JOIN pragma_index_info(listed.name) AS second ON second.seqno = 1 AND second.name = 'timestamp'
WHERE listed.partial = 0
"""


_ROUTING: Final = table("gateway_routing", *map(column, ("scope", "session_key", "entry_json", "updated_at")))

_MAX_SCHEMAS: Final = 64
"""The profiles of a home have databases of one or two."""


class SessionRecord(NamedTuple):
    """One row of `sessions` as it stands there; any value may be NULL or damaged.

    Columns that no list shows, such as the heartbeat's, are not read, so that they never make news. `forked` says
    whether the agent marked it as a branch, a reset or a delegate; `last_message_at` is that of its messages.
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
    last_message_at: object = None


_COLUMNS: Final = SessionRecord._fields[:-2]

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
    path: Path, before: Mapping[str, SessionRecord] | None = None, looks: Looks | None = None
) -> StateReading:
    """Read a database.

    Args:
        path: The database.
        before: The sessions of an earlier reading; those that did not change stay the same objects.
        looks: Knows whether the database stands still.

    Raises:
        SourceError: It is missing, locked, being written, truncated, corrupt or none.
    """
    return read_database(path, partial(_tolerant_reading, path, before or {}), looks or Looks())


def _tolerant_reading(path: Path, before: Mapping[str, SessionRecord], connection: Connection) -> StateReading:
    try:
        return _reading(connection.cursor(), path, before)
    except OperationalError as error:
        if "Could not decode" not in str(error):
            raise
    # Decoding in Python costs five times as much, so only a database with broken text pays for it.
    connection.text_factory = _decoded
    return _reading(connection.cursor(), path, before)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _reading(cursor: Cursor, path: Path, before: Mapping[str, SessionRecord]) -> StateReading:
    present = _columns_of(cursor, "sessions")
    if "id" not in present:
        raise SourceError(path, "has no table of sessions with an id")
    sessions: dict[str, SessionRecord] = {}
    has_messages = _has_messages(cursor)
    for row in _rows(cursor, _sessions_query(present, is_indexed=has_messages and _is_indexed(cursor))):
        session_id = row[0]
        old = before.get(session_id)
        if old is not None and old == row:
            sessions[session_id] = old
        elif isinstance(session_id, str) and session_id.strip():
            sessions[session_id] = _record(row)
    if not sessions and has_messages:
        raise SourceError(path, "has messages but no session")
    return StateReading(sessions, _routing(cursor), _marks_delegates(cursor))


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


def _rows(cursor: Cursor, query: str) -> Iterator[tuple[Any, ...]]:
    # The driver's own rows, one at a time: SQLAlchemy's take half as long again, and thousands held at once wake
    # the garbage collector, which takes as long as the reading.
    cursor.execute(query)
    return iter(cursor.fetchone, None)


def _compiled(query: Select[Any]) -> str:
    return str(query.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def _columns_of(cursor: Cursor, name: str) -> frozenset[str]:
    cursor.execute("SELECT name FROM pragma_table_info(?)", (name,))
    return frozenset(name for (name,) in cursor.fetchall())


@lru_cache(_MAX_SCHEMAS)
def _sessions_query(present: frozenset[str], *, is_indexed: bool) -> str:
    sessions = table("sessions", *map(column, present))
    columns: dict[str, ColumnElement[Any]] = {
        name: sessions.c[name] if name in present else null().label(name) for name in _COLUMNS
    }
    last_message_at = _last_message_at(sessions.c.id) if is_indexed else null()
    if is_indexed:
        columns["message_count"] = _message_count(sessions.c.id, columns["message_count"], last_message_at)
    return _compiled(
        select(*columns.values(), _forked(present), last_message_at.label("last_message_at")).select_from(sessions)
    )


def _forked(present: frozenset[str]) -> ColumnElement[Any]:
    if "model_config" not in present:
        return null().label("forked")
    marked = [func.instr(column("model_config"), f'"{marker}"') > 0 for marker in _FORK_MARKERS]
    return or_(*marked).label("forked")


def _is_indexed(cursor: Cursor) -> bool:
    cursor.execute(_HAS_LAST_MESSAGE_INDEX)
    return cursor.fetchone() is not None


def _last_message_at(session_id: ColumnElement[Any]) -> ColumnElement[Any]:
    messages = table("messages", column("session_id"), column("timestamp"))
    return select(func.max(messages.c.timestamp)).where(messages.c.session_id == session_id).scalar_subquery()


def _message_count(
    session_id: ColumnElement[Any], kept: ColumnElement[Any], last_message_at: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Return the count that the agent keeps, unless there is no message, or it keeps none."""
    messages = table("messages", column("session_id"))
    counted = select(func.count()).where(messages.c.session_id == session_id).scalar_subquery()
    return case((last_message_at.is_(None), literal(0)), (func.coalesce(kept, 0) == 0, counted), else_=kept).label(
        "message_count"
    )


def _routing(cursor: Cursor) -> dict[str, object]:
    if not set(_ROUTING.c.keys()) <= _columns_of(cursor, _ROUTING.name):
        return {}
    return {key: entry for key, entry in _rows(cursor, _routing_query()) if isinstance(key, str)}


@cache
def _routing_query() -> str:
    columns = _ROUTING.c
    return _compiled(select(columns.session_key, columns.entry_json).order_by(columns.updated_at, columns.scope))
