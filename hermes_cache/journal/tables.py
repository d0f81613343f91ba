"""The tables of a journal in a database, and what is read from them and written to them in one transaction.

A sequence number of a database is handed out before the commit, so that a reader could pass a number whose
transaction commits late. Here the last number is a row: who appends holds it until the commit, so numbers become
visible in their order, without holes, in every database. Source: rule J4.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from hermes_cache.bus.codec import checksum, decode, encode, verified
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.distribution import DISTRIBUTION
from hermes_cache.errors import JournalDamagedError, JournalGapError, JournalSetupError
from hermes_cache.journal.driver_connection import DriverConnection
from hermes_cache.ports import Position, Recorded, Snapshot

Statements: TypeAlias = Connection | DriverConnection
"""Runs statements in one transaction."""

_BIG: Final = BigInteger().with_variant(Integer, "sqlite")
_METADATA: Final = MetaData()

_JOURNAL: Final = Table(
    "hermes_cache_journal",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("last_seq", _BIG, nullable=False),
    Column("last_mark", Text, nullable=False),
    Column("checksum", _BIG, nullable=False),
)
_EVENTS: Final = Table(
    "hermes_cache_events",
    _METADATA,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("at_s", Float(53), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", _BIG, nullable=False),
)
_SNAPSHOT: Final = Table(
    "hermes_cache_snapshot",
    _METADATA,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("mark", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", _BIG, nullable=False),
)

# Made once: putting a statement together takes longer than SQLite takes to run it.
_END: Final = select(_JOURNAL.c.name, _JOURNAL.c.last_seq, _JOURNAL.c.last_mark, _JOURNAL.c.checksum)
_LOCKED_END: Final = _END.with_for_update()
_START: Final = select(_SNAPSHOT.c.seq)
_KNOWN: Final = select(_EVENTS.c.event_id, _EVENTS.c.seq).where(
    _EVENTS.c.event_id.in_(bindparam("marks", expanding=True))
)
_ROWS: Final = (
    select(_EVENTS)
    .where(_EVENTS.c.seq > bindparam("after"), _EVENTS.c.seq <= bindparam("end"))
    .order_by(_EVENTS.c.seq)
)
_FIRST_ROWS: Final = _ROWS.limit(bindparam("most"))
_END_AND_POSITION: Final = _END.add_columns(
    select(func.max(_SNAPSHOT.c.seq)).scalar_subquery().label("start"),
    select(_EVENTS.c.event_id).where(_EVENTS.c.seq == bindparam("at")).scalar_subquery().label("mark"),
    select(_SNAPSHOT.c.mark).where(_SNAPSHOT.c.seq == bindparam("at")).scalar_subquery().label("snapshot_mark"),
)
_ADD: Final = insert(_EVENTS)
_MOVE: Final = update(_JOURNAL)

_STREAMED: Final = {"yield_per": 1_000}
"""How many rows of a run that is gone or damaged are held at a time, while its end is looked for."""

_IDS_A_QUERY: Final = 500
"""SQLite took 999 parameters at most for long."""


def _to_version_1(connection: Connection) -> None:
    _METADATA.create_all(connection, tables=[_EVENTS, _SNAPSHOT])


_STEPS: Final[tuple[Callable[[Connection], None], ...]] = (_to_version_1,)
"""What brings the tables from each version to the next."""


def is_prepared(connection: Connection) -> bool:
    """Say whether the tables are there, and of this version."""
    if not connection.dialect.has_table(connection, _JOURNAL.name):
        return False
    return connection.scalar(select(_JOURNAL.c.schema_version)) == len(_STEPS)


def prepare(connection: Connection, where: str) -> None:
    """Make the tables, or bring them to this version; nobody else may be at it.

    Raises:
        JournalSetupError: A later version made them.
        JournalDamagedError: No version made them.
    """
    _METADATA.create_all(connection, tables=[_JOURNAL])
    version = connection.scalar(select(_JOURNAL.c.schema_version))
    if version is None:
        first = Position(uuid4().hex)
        connection.execute(insert(_JOURNAL).values(id=1, schema_version=0, name=first.journal, **_counter(first)))
        version = 0
    if not isinstance(version, int) or version < 0:
        raise JournalDamagedError(None, f"its tables have version {version!r}")
    if version > len(_STEPS):
        raise JournalSetupError(
            where, f"its tables have version {version}; upgrade {DISTRIBUTION} or name another"
        )
    for step in _STEPS[version:]:
        step(connection)
    if version != len(_STEPS):
        connection.execute(update(_JOURNAL).values(schema_version=len(_STEPS)))


def append_events(connection: Statements, events: Sequence[AppliedEvent]) -> list[int]:
    """Write the events that are not known, and give the numbers of all."""
    bodies = {str(event.id): (event, encode(event)) for event in events}
    # Locked before anything is looked up: a later reader of this row sees all that is below its number.
    end = _checked_end(connection, _LOCKED_END)
    seqs = _known(connection, list(bodies))
    rows = []
    for seq, mark in enumerate((mark for mark in bodies if mark not in seqs), end.seq + 1):
        event, body = bodies[mark]
        rows.append((seq, mark, event.at_s, body, checksum(seq, body)))
    if rows:
        connection.execute(_ADD, [dict(zip(_EVENTS.c.keys(), row, strict=True)) for row in rows])
        connection.execute(_MOVE, _counter(Position(end.journal, rows[-1][0], rows[-1][1])))
    seqs |= {row[1]: row[0] for row in rows}
    return [seqs[str(event.id)] for event in events]


def read_end(connection: Statements) -> Position:
    """Return the position of the last event.

    Raises:
        JournalDamagedError: The row that keeps it is damaged, and with it the whole journal.
    """
    return _checked_end(connection, _END)


def read_seq(connection: Statements, event_id: EventId) -> int | None:
    """Return the number of an event; None where it is not kept."""
    mark = str(event_id)
    return _known(connection, [mark]).get(mark)


def read_after(connection: Statements, after: Position, limit: int) -> list[Recorded]:
    """Return the events after a position, up to the first that is gone or damaged.

    Raises:
        JournalGapError: The position is none of this journal, or compacted.
        JournalDamagedError: The first is gone or damaged; it names the whole run of such rows.
    """
    end = _check_position(connection, after)
    if after.seq == end.seq:
        return []
    rows = connection.execute(_FIRST_ROWS, {"after": after.seq, "end": end.seq, "most": limit}).all()
    found = [_recorded_or_damaged(after.journal, row, end.seq) for row in rows]
    recorded = [each for each in found if isinstance(each, Recorded)]
    sound = [each for seq, each in enumerate(recorded, after.seq + 1) if each.position.seq == seq]
    if sound or not limit:
        return sound
    first, reason = found[0] if found else None, "it is gone"
    if isinstance(first, JournalDamagedError) and first.seq == after.seq + 1:
        reason = first.reason
    if rows and not recorded:
        recorded = _first_sound(connection, Position(after.journal, rows[-1].seq), end)
    last_seq, last_mark = (recorded[0].position.seq - 1, "") if recorded else (end.seq, end.mark)
    raise JournalDamagedError(
        after.seq + 1, reason, last_seq=last_seq, last_mark=last_mark, behind=tuple(recorded)
    )


def read_snapshot(connection: Connection) -> Snapshot | None:
    """Return the snapshot.

    Raises:
        JournalDamagedError: It is damaged.
    """
    row = connection.execute(select(_SNAPSHOT)).one_or_none()
    if row is None:
        return None
    position = Position(read_end(connection).journal, row.seq, row.mark)
    return Snapshot(position, verified(row.seq, row.body, row.checksum))


def read_foldable(connection: Connection) -> tuple[int | None, Snapshot | None]:
    """Return the number that a snapshot stands under, and the snapshot; None for each that is not there.

    A damaged one is not there: who waited for it to be mended would let the journal grow for ever.
    """
    stands_under = connection.scalar(_START)
    try:
        return stands_under, read_snapshot(connection)
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        return stands_under, None


def read_cut(connection: Connection, before_s: float, max_events: int) -> int:
    """Return the number of the last event that is to be compacted; 0 or an older one where none is."""
    last = read_end(connection).seq
    younger = connection.scalar(select(func.min(_EVENTS.c.seq)).where(_EVENTS.c.at_s >= before_s))
    return max(last - max_events, last if younger is None else younger - 1)


def sound_events(connection: Connection, after: Position, until: int) -> tuple[list[AppliedEvent], Position]:
    """Return the events after a position that are not damaged, up to a number, and the position there."""
    events = []
    position = after
    for row in connection.execute(
        select(_EVENTS).where(_EVENTS.c.seq > after.seq, _EVENTS.c.seq <= until).order_by(_EVENTS.c.seq)
    ):
        position = Position(after.journal, row.seq, row.event_id)
        try:
            events.append(decode(row.seq, row.body, row.checksum))
        except JournalDamagedError:
            continue
    return events, position


def replace_snapshot(connection: Connection, stands_under: int | None, later: Snapshot) -> int:
    """Put a snapshot in the place of an earlier one, and drop what it covers; give how many were dropped.

    Nothing is done where another process was quicker.

    Args:
        stands_under: The number of the earlier one; None where there was none.
    """
    _checked_end(connection, _LOCKED_END)
    if connection.scalar(_START) != stands_under:
        return 0
    position, body = later.position, later.body
    connection.execute(delete(_SNAPSHOT))
    row = {"seq": position.seq, "mark": position.mark, "body": body, "checksum": checksum(position.seq, body)}
    connection.execute(insert(_SNAPSHOT).values(row))
    return connection.execute(delete(_EVENTS).where(_EVENTS.c.seq <= position.seq)).rowcount


def _counter(end: Position) -> dict[str, object]:
    return {"last_seq": end.seq, "last_mark": end.mark, "checksum": _sum(end)}


def _sum(end: Position) -> int:
    return checksum(end.seq, f"{end.journal} {end.mark}".encode())


def _checked_end(connection: Statements, query: Select[tuple[str, int, str, int]]) -> Position:
    return _end_of(connection.execute(query).all())


def _end_of(rows: Sequence[Any]) -> Position:
    if len(rows) != 1:
        raise JournalDamagedError(None, f"it has {len(rows)} rows that say where it ends, not one")
    row = rows[0]
    end = Position(row.name, row.last_seq, row.last_mark)
    if not isinstance(end.seq, int) or _sum(end) != row.checksum:
        raise JournalDamagedError(None, f"the checksum of its end, {end.seq!r}, is wrong")
    return end


def _known(connection: Statements, marks: list[str]) -> dict[str, int]:
    parts = (marks[at : at + _IDS_A_QUERY] for at in range(0, len(marks), _IDS_A_QUERY))
    found = (connection.execute(_KNOWN, {"marks": part}) for part in parts)
    return {row.event_id: row.seq for rows in found for row in rows}


def _check_position(connection: Statements, position: Position) -> Position:
    """Return the journal's end, if a position lies before it in the same journal."""
    rows = connection.execute(_END_AND_POSITION, {"at": position.seq}).all()
    end = _end_of(rows)
    if position.journal != end.journal:
        raise JournalGapError(position.seq, "another journal is in its place")
    start = rows[0].start or 0
    if not start <= position.seq <= end.seq:
        raise JournalGapError(position.seq, f"the journal holds {start + 1} to {end.seq}")
    # Where that row is gone nothing tells; who has read it misses nothing.
    marks = {rows[0].mark, rows[0].snapshot_mark} - {None}
    if position.mark and marks and position.mark not in marks:
        raise JournalGapError(position.seq, "the journal went on differently from there")
    return end


def _first_sound(connection: Statements, after: Position, end: Position) -> list[Recorded]:
    """Find the first event behind a run of rows that are gone or damaged: one query, however long the run is."""
    with connection.execute(_ROWS, {"after": after.seq, "end": end.seq}, execution_options=_STREAMED) as rows:
        found = (_recorded_or_damaged(after.journal, row, end.seq) for row in rows)
        return [*islice((each for each in found if isinstance(each, Recorded)), 1)]


def _recorded_or_damaged(
    journal: str, row: Row[tuple[int, str, float, bytes, int]], last_seq: int
) -> Recorded | JournalDamagedError:
    try:
        event = decode(row.seq, row.body, row.checksum)
    except JournalDamagedError as damaged:
        return damaged
    if str(event.id) != row.event_id:
        return JournalDamagedError(row.seq, f"it is {event.id} and stands under the id {row.event_id!r}")
    return Recorded(Position(journal, row.seq, row.event_id), event, is_last=row.seq == last_seq)
