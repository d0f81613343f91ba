"""The projection of one profile: all its sessions at one moment, kept true by probing what it was read from.

The probe is taken before the reading, so that the next probe differs if something changed during it. A row that
stays equal from one snapshot to the next stays the same object, so entries share rows and their bytes.
Source: rules X4 to X6.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from hermes_cache.payload.freezing import freeze_row
from hermes_cache.payload.rows import EncodedRow, Facts, Row
from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.joining import moved
from hermes_cache.stores.hermes.locations import ProfileFiles
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.profile_reading import ProfileReader, ProfileReading
from hermes_cache.stores.hermes.session_rows import Known, make_row
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import text


class Session(NamedTuple):
    """One session of a snapshot.

    Attributes:
        row: The frozen row.
        order: What it is sorted by: newest first, those of one time by id.
        gate: Which flag of a key lets it through; see `source_tags.gate`.
        peer: Names the peer of a messaging session; None for any other, and where it is not known.
        is_visible: Whether there is anything to see in it: messages, work under way, or a worktree.
    """

    row: Row
    order: tuple[float, str]
    gate: str
    peer: tuple[object, ...] | None
    is_visible: bool

    def __reduce__(self) -> tuple[Callable[..., "Session"], tuple[object, ...]]:
        # A pickled row is a plain dict: its bytes go instead, and with them it need not be frozen again.
        row = self.row
        piece = (row.encoded, row.digest, row.facts)
        return _restored, (piece, *self[1:])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sessions of a scope.

    Attributes:
        sessions: Newest first, those of one time by id.
        foreign_count: How many sessions the front end keeps for other profiles.
    """

    sessions: tuple[Session, ...]
    foreign_count: int = 0


@dataclass(frozen=True, slots=True)
class Projection:
    """What was made of a profile, and from what.

    Attributes:
        probe: The sources as they looked before they were read.
        reading: What was read of them.
        sessions: The sessions by id.
        snapshot: The same, sorted.
    """

    probe: Hashable
    reading: ProfileReading
    sessions: Mapping[str, Session]
    snapshot: Snapshot


def refreshed(before: Projection | None, files: ProfileFiles, reader: ProfileReader, looks: Looks) -> Projection:
    """Return a projection as of now: the one before where nothing moved, else one that shares what stayed equal.

    Raises:
        SourceError: A file that brings rows cannot be read.
    """
    probe = _probe(files, looks)
    if before is not None and before.probe == probe:
        return before
    reading = reader.read(files, before.reading if before is not None else None)
    sessions = _sessions(reading.known, before)
    return Projection(probe, reading, sessions, _snapshot(sessions, reading.foreign_count, before))


def make_session(known: Known, before: Session | None) -> Session:
    """Return a session, as much of it as possible the one from before."""
    fields = make_row(known)
    row = before.row if before is not None and before.row == fields else freeze_row(fields)
    is_native = known.web is not None and not row["is_cli_session"]
    gate = source_tags.gate(known.tag, is_native=is_native)
    session = Session(row, (-_time_s(row), known.id), gate, _peer(known, row), _is_visible(row))
    return before if before == session else session


def snapshot_of(sessions: Mapping[str, Session], foreign_count: int) -> Snapshot:
    """Return the sorted snapshot of sessions by id."""
    return Snapshot(tuple(sorted(sessions.values(), key=newest_first)), foreign_count)


newest_first: Final = attrgetter("order")
"""Gives what sessions are sorted by."""


def _sessions(known: Mapping[str, Known], before: Projection | None) -> dict[str, Session]:
    sessions = dict(before.sessions) if before is not None else {}
    for session_id in moved(before.reading.known if before is not None else {}, known):
        if session_id in known:
            sessions[session_id] = make_session(known[session_id], sessions.get(session_id))
        else:
            del sessions[session_id]
    return sessions


def _snapshot(sessions: Mapping[str, Session], foreign_count: int, before: Projection | None) -> Snapshot:
    if before is None or before.snapshot.foreign_count != foreign_count or moved(before.sessions, sessions):
        return snapshot_of(sessions, foreign_count)
    return before.snapshot


def _probe(files: ProfileFiles, looks: Looks) -> Hashable:
    # The reading's own look at other files: a checker's look must not make this one seem settled.
    stamps, are_still = looks.files((*files.others.values(), files.settings))
    number = looks.number(("probe", files.profile), stamps, is_still=are_still)
    return (looks.content(files.state_db)[0], number)


def _restored(piece: tuple[bytes, bytes, Facts], *rest: Any) -> Session:
    row = EncodedRow(*piece).decoded()
    assert isinstance(row, Row)  # noqa: S101 - a session's piece is a mapping
    return Session(row, *rest)


def _time_s(row: Row) -> float:
    time_s = row["last_message_at"] or row["updated_at"] or row["created_at"]
    told_s = time_s if isinstance(time_s, float) else 0.0
    pending_s = row.get("pending_started_at")
    return max(told_s, pending_s) if isinstance(pending_s, float) else told_s


def _is_visible(row: Row) -> bool:
    is_under_way = row["active_stream_id"] or row["has_pending_user_message"]
    return bool(row["message_count"] or is_under_way or row.get("worktree_path") or row.get("attention"))


def _peer(known: Known, row: Row) -> tuple[object, ...] | None:
    if row["session_source"] != "messaging":
        return None
    session = known.session
    key = known.routing.session_key if known.routing else text(session.session_key) if session else None
    name = (key,) if key else _chat(session)
    return (known.profile, known.tag, *name) if name else None


def _chat(session: SessionRecord | None) -> tuple[str | None, ...]:
    if session is None:
        return ()
    chat = tuple(map(text, (session.chat_type, session.chat_id, session.thread_id, session.user_id)))
    return chat if any(chat) else ()
