"""The tables of a journal in a database, and what is read from them and written to them in one transaction.

A sequence number of a database is handed out before the commit, so that a reader could pass a number whose
transaction commits late. Here the last number is a row: an append holds it until the commit, so numbers become
visible in their order, without holes, in every database.

The first event of a bus that is not called `sessions` changes the form of the tables, since old programs know no
names of buses and would take it for one of their own. In the new form the table of events has another name, so
that the next statement of such a program fails. Then it opens the journal anew, finds a version that it does not
know, and says what to do. Until then old and new programs share the journal. Source: rules J4, J6, K5.
"""

from collections.abc import Sequence
from itertools import islice
from re import sub
from typing import Any, Final, TypeAlias
from uuid import uuid4

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    make_url,
    select,
    text,
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
_SNAPSHOT: Final = Table(
    "hermes_cache_snapshot",
    _METADATA,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("mark", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", _BIG, nullable=False),
)


def _events(name: str, *more: Column[Any]) -> Table:
    return Table(
        name,
        _METADATA,
        Column("seq", _BIG, primary_key=True, autoincrement=False),
        Column("event_id", Text, nullable=False, unique=True),
        Column("at_s", Float(53), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("checksum", _BIG, nullable=False),
        *more,
    )


_EVENTS: Final = _events("hermes_cache_events")
_NAMED_EVENTS: Final = _events("hermes_cache_named_events", Column("bus", Text, nullable=False))

_TO_NAMES: Final = (
    text("ALTER TABLE hermes_cache_events RENAME TO hermes_cache_named_events"),
    text("ALTER TABLE hermes_cache_named_events ADD COLUMN bus TEXT NOT NULL DEFAULT 'sessions'"),
    text("UPDATE hermes_cache_journal SET schema_version = 2"),
)
"""What brings the tables from version 1 to version 2, in every database."""

# Made once, as all statements here: putting one together takes longer than SQLite takes to run it.
_END: Final = select(_JOURNAL.c.name, _JOURNAL.c.last_seq, _JOURNAL.c.last_mark, _JOURNAL.c.checksum)
_LOCKED_END: Final = _END.with_for_update()
_START: Final = select(_SNAPSHOT.c.seq)
_MOVE: Final = update(_JOURNAL)

_STREAMED: Final = {"yield_per": 1_000}
"""How many rows of a run that is gone or damaged are held at a time, while its end is looked for."""

_IDS_A_QUERY: Final = 500
"""SQLite took 999 parameters at most for long."""


class Tables:
    """The tables of one version, with what is read from them and written to them.

    Args:
        events: The table of events.

    Attributes:
        has_names: Whether events of buses of all names have their room there.
    """

    def __init__(self, events: Table) -> None:
        self.has_names = "bus" in events.c
        self._events = events
        self._add = insert(events)
        self._known = select(events.c.event_id, events.c.seq).where(
            events.c.event_id.in_(bindparam("marks", expanding=True))
        )
        self._rows = (
            select(events.c.seq, events.c.event_id, events.c.body, events.c.checksum)
            .where(events.c.seq > bindparam("after"), events.c.seq <= bindparam("end"))
            .order_by(events.c.seq)
        )
        self._first_rows = self._rows.limit(bindparam("most"))
        self._end_and_position = _END.add_columns(
            select(func.max(_SNAPSHOT.c.seq)).scalar_subquery().label("start"),
            select(events.c.event_id).where(events.c.seq == bindparam("at")).scalar_subquery().label("mark"),
            select(_SNAPSHOT.c.mark)
            .where(_SNAPSHOT.c.seq == bindparam("at"))
            .scalar_subquery()
            .label("snapshot_mark"),
        )

    def append_events(self, connection: Statements, events: Sequence[AppliedEvent]) -> list[int]:
        """Write the events that are not known, and return the numbers of all."""
        bodies = {str(event.id): (event, encode(event)) for event in events}
        # Locked before anything is looked up: a later reader of this row sees all that is below its number.
        end = _checked_end(connection, _LOCKED_END)
        seqs = self._seqs(connection, list(bodies))
        rows: list[dict[str, object]] = []
        for seq, mark in enumerate((mark for mark in bodies if mark not in seqs), end.seq + 1):
            event, body = bodies[mark]
            row = {"seq": seq, "event_id": mark, "at_s": event.at_s, "body": body, "checksum": checksum(seq, body)}
            rows.append({**row, "bus": event.id.bus} if self.has_names else row)
            seqs[mark] = seq
        if rows:
            connection.execute(self._add, rows)
            connection.execute(
                _MOVE, _counter(Position(end.journal, end.seq + len(rows), str(rows[-1]["event_id"])))
            )
        return [seqs[str(event.id)] for event in events]

    def read_seq(self, connection: Statements, event_id: EventId) -> int | None:
        """Return the number of an event; None if it is not kept."""
        mark = str(event_id)
        return self._seqs(connection, [mark]).get(mark)

    def read_after(self, connection: Statements, after: Position, limit: int) -> list[Recorded]:
        """Return the events after a position, up to the first that is gone or damaged.

        Raises:
            JournalGapError: The position is none of this journal, or compacted.
            JournalDamagedError: The first is gone or damaged; it names the whole run of such rows.
        """
        end = self._check_position(connection, after)
        if after.seq == end.seq:
            return []
        rows = connection.execute(self._first_rows, {"after": after.seq, "end": end.seq, "most": limit}).all()
        found = [_recorded_or_damaged(after.journal, row, end.seq) for row in rows]
        recorded = [each for each in found if isinstance(each, Recorded)]
        sound = [each for seq, each in enumerate(recorded, after.seq + 1) if each.position.seq == seq]
        if sound or not limit:
            return sound
        first, reason = found[0] if found else None, "it is gone"
        if isinstance(first, JournalDamagedError) and first.seq == after.seq + 1:
            reason = first.reason
        if rows and not recorded:
            recorded = self._first_sound(connection, Position(after.journal, rows[-1].seq), end)
        last_seq, last_mark = (recorded[0].position.seq - 1, "") if recorded else (end.seq, end.mark)
        raise JournalDamagedError(
            after.seq + 1, reason, last_seq=last_seq, last_mark=last_mark, behind=tuple(recorded)
        )

    def read_cut(self, connection: Connection, before_s: float, max_events: int) -> int:
        """Return the number of the last event that is to be compacted; 0 or an older one where none is.

        Args:
            connection: The transaction.
            before_s: Events before this moment go, up to the first later one.
            max_events: So many events of each bus may stay.
        """
        last, events = read_end(connection).seq, self._events
        younger = connection.scalar(select(func.min(events.c.seq)).where(events.c.at_s >= before_s))
        by_age = last if younger is None else younger - 1
        if not self.has_names:
            return max(last - max_events, by_age)
        newer = func.row_number().over(partition_by=events.c.bus, order_by=events.c.seq.desc())
        ranked = select(events.c.seq, newer.label("rank")).subquery()
        return max(
            connection.scalar(select(func.max(ranked.c.seq)).where(ranked.c.rank > max_events)) or 0, by_age
        )

    def sound_events(
        self, connection: Connection, after: Position, until: int
    ) -> tuple[list[AppliedEvent], Position]:
        """Return the events after a position that are not damaged, up to a number, and the position there."""
        events = []
        position = after
        for row in connection.execute(self._rows, {"after": after.seq, "end": until}):
            position = Position(after.journal, row.seq, row.event_id)
            try:
                events.append(decode(row.seq, row.body, row.checksum))
            except JournalDamagedError:
                continue
        return events, position

    def replace_snapshot(self, connection: Connection, stands_under: int | None, later: Snapshot) -> int:
        """Replace a snapshot, and drop the events that the new one covers; return how many were dropped.

        Nothing is done if another process was quicker.

        Args:
            connection: The transaction.
            stands_under: The number of the earlier one; None if there was none.
            later: The new one.
        """
        _checked_end(connection, _LOCKED_END)
        if connection.scalar(_START) != stands_under:
            return 0
        position, body = later.position, later.body
        connection.execute(delete(_SNAPSHOT))
        row = {"seq": position.seq, "mark": position.mark, "body": body, "checksum": checksum(position.seq, body)}
        connection.execute(insert(_SNAPSHOT).values(row))
        return connection.execute(delete(self._events).where(self._events.c.seq <= position.seq)).rowcount

    def _seqs(self, connection: Statements, marks: list[str]) -> dict[str, int]:
        parts = (marks[at : at + _IDS_A_QUERY] for at in range(0, len(marks), _IDS_A_QUERY))
        found = (connection.execute(self._known, {"marks": part}) for part in parts)
        return {row.event_id: row.seq for rows in found for row in rows}

    def _check_position(self, connection: Statements, position: Position) -> Position:
        """Return the journal's end, if a position lies before it in the same journal."""
        rows = connection.execute(self._end_and_position, {"at": position.seq}).all()
        end = _end_of(rows)
        if position.journal != end.journal:
            raise JournalGapError(position.seq, "another journal is in its place")
        start = rows[0].start or 0
        if not start <= position.seq <= end.seq:
            raise JournalGapError(position.seq, f"the journal holds {start + 1} to {end.seq}")
        # If that row is gone, nothing shows it; a reader that has read it misses nothing.
        marks = {rows[0].mark, rows[0].snapshot_mark} - {None}
        if position.mark and marks and position.mark not in marks:
            raise JournalGapError(position.seq, "the journal went on differently from there")
        return end

    def _first_sound(self, connection: Statements, after: Position, end: Position) -> list[Recorded]:
        """Find the first event behind a run of rows that are gone or damaged, however long it is: one query."""
        span = {"after": after.seq, "end": end.seq}
        with connection.execute(self._rows, span, execution_options=_STREAMED) as rows:
            found = (_recorded_or_damaged(after.journal, row, end.seq) for row in rows)
            return [*islice((each for each in found if isinstance(each, Recorded)), 1)]


_VERSIONS: Final = {1: Tables(_EVENTS), 2: Tables(_NAMED_EVENTS)}


OLDEST: Final = _VERSIONS[1]
"""What a journal is made with: old programs can join it until a bus of another name publishes."""


def found_tables(connection: Connection) -> Tables | None:
    """Return the tables that are there; None if there are none, or none of a version that is known."""
    if not connection.dialect.has_table(connection, _JOURNAL.name):
        return None
    version = connection.scalar(select(_JOURNAL.c.schema_version))
    return None if version is None else _VERSIONS.get(version)


def prepare(connection: Connection, where: str) -> Tables:
    """Make the tables, unless they are there, and return them; nobody else may be at it.

    Raises:
        JournalSetupError: A later version made them.
        JournalDamagedError: No version made them.
    """
    _METADATA.create_all(connection, tables=[_JOURNAL])
    version = connection.scalar(select(_JOURNAL.c.schema_version))
    if version is None:
        version, first = 0, Position(uuid4().hex)
        row = {"id": 1, "schema_version": version, "name": first.journal, **_counter(first)}
        connection.execute(insert(_JOURNAL).values(row))
    if version == 0:
        _METADATA.create_all(connection, tables=[_EVENTS, _SNAPSHOT])
        connection.execute(update(_JOURNAL).values(schema_version=1))
        return OLDEST
    if not isinstance(version, int) or version < 1:
        raise JournalDamagedError(None, f"its tables have version {version!r}")
    if version not in _VERSIONS:
        raise JournalSetupError(
            where, f"its tables have version {version}; upgrade {DISTRIBUTION} or name another"
        )
    return _VERSIONS[version]


def admit_names(connection: Statements) -> Tables:
    """Bring the tables to the form that knows names of buses, in the transaction that needs it first."""
    # Whoever appends, compacts or does the same waits, and then finds no table of the old name.
    _checked_end(connection, _LOCKED_END)
    for step in _TO_NAMES:
        connection.execute(step)
    return _VERSIONS[2]


def read_end(connection: Statements) -> Position:
    """Return the position of the last event.

    Raises:
        JournalDamagedError: The row that keeps it is damaged, and with it the whole journal.
    """
    return _checked_end(connection, _END)


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

    A damaged one is not there: if it had to be mended first, the journal would grow for ever.
    """
    stands_under = connection.scalar(_START)
    try:
        return stands_under, read_snapshot(connection)
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        return stands_under, None


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


def _recorded_or_damaged(journal: str, row: Any, last_seq: int) -> Recorded | JournalDamagedError:
    try:
        event = decode(row.seq, row.body, row.checksum)
    except JournalDamagedError as damaged:
        return damaged
    if str(event.id) != row.event_id:
        return JournalDamagedError(row.seq, f"it is {event.id} and stands under the id {row.event_id!r}")
    return Recorded(Position(journal, row.seq, row.event_id), event, is_last=row.seq == last_seq)


def shown_url(url: str | URL) -> str:
    """Return the URL of a database without the passwords in it, also those among its options."""
    return sub(r"(password=)[^&]*", r"\1***", make_url(url).render_as_string())
