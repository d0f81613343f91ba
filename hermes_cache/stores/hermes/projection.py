"""The projection of one profile: all its sessions at one moment, kept true by probing what it was read from.

The probe is taken before the reading, so that the next probe differs if something changed during it. A row is kept
as bytes, which take a third of what a dict takes. A row that stays equal from one snapshot to the next stays the
same object, so entries share rows. Source: rules X4 to X6.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from hermes_cache.payload.rows import EncodedRow, Facts, encoded_row
from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.joining import JoinedSession, join, moved, to_join
from hermes_cache.stores.hermes.locations import ProfileFiles
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.profile_reading import ProfileReader, ProfileReading
from hermes_cache.stores.hermes.session_rows import make_row
from hermes_cache.stores.hermes.values import text


class Session(NamedTuple):
    """One session of a snapshot: its row, and what views filter by.

    Attributes:
        row: Its row, encoded.
        id: Its id.
        profile: The profile that it belongs to.
        time_s: When something last happened in it, in epoch seconds; 0 if that is not known.
        tag: Its raw source.
        gate: Which flag of a key lets it through; see `source_tags.gate`.
        peer: Names the peer of a messaging session; None for any other session, and if the peer is not known.
        parent_tip_id: The last session of its parent's chain, if it has a parent.
        is_visible: Whether there is anything to see in it: messages, work under way, or a worktree.
        is_archived: Whether it is archived.
        is_hidden: Whether it is hidden unless asked for.
    """

    row: EncodedRow
    id: str
    profile: str
    time_s: float
    tag: str
    gate: str
    peer: tuple[object, ...] | None
    parent_tip_id: str | None
    is_visible: bool
    is_archived: bool
    is_hidden: bool


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
    """Return a projection as of now: the one before if nothing moved, else one that shares what stayed equal.

    Raises:
        SourceError: A file that brings rows cannot be read.
    """
    probe = _probe(files, looks)
    if before is not None and before.probe == probe:
        return before
    reading = reader.read(files, before.reading if before is not None else None)
    sessions = _sessions(files.profile, reading, before)
    return Projection(probe, reading, sessions, _snapshot(sessions, reading.foreign_count, before))


def make_session(joined: JoinedSession, before: Session | None) -> Session:
    """Return a session; what stayed equal of it is the very object from before."""
    row = make_row(joined)
    at_s, pending_s = (
        row["last_message_at"] or row["updated_at"] or row["created_at"],
        row.get("pending_started_at"),
    )
    time_s = at_s if isinstance(at_s, float) else 0.0
    if isinstance(pending_s, float) and pending_s > time_s:
        time_s = pending_s
    is_under_way = row["active_stream_id"] is not None or bool(row["has_pending_user_message"])
    encoded = encoded_row(row, Facts(joined.id, is_restless=row["active_stream_id"] is not None, time_s=time_s))
    session = Session(
        before.row if before is not None and before.row.encoded == encoded.encoded else encoded,
        joined.id,
        joined.profile,
        time_s,
        joined.tag,
        source_tags.gate(joined.tag, is_native=joined.web is not None and not row["is_cli_session"]),
        _peer(joined) if row["session_source"] == "messaging" else None,
        joined.parent.tip_id if joined.parent is not None else None,
        is_under_way or row["message_count"] != 0 or bool(row.get("worktree_path")),
        row["archived"] is True,
        row["default_hidden"] is True,
    )
    return before if before == session else session


def newest_first(sessions: Iterable[Session]) -> list[Session]:
    """Return sessions in the order of a list: by time, those of one time by id."""
    by_id = sorted(sessions, key=attrgetter("id"))
    return sorted(by_id, key=attrgetter("time_s"), reverse=True)


def _sessions(profile: str, reading: ProfileReading, before: Projection | None) -> dict[str, Session]:
    sessions = dict(before.sessions) if before is not None else {}
    records = reading.records
    # At first in the order in which they were read: neighbours in memory are twice as quick as any order.
    ids = to_join(before.reading.records, records) if before is not None else {**records.agent, **records.index}
    for session_id in ids:
        joined = join(session_id, profile, records)
        if joined is None:
            sessions.pop(session_id, None)
        else:
            sessions[session_id] = make_session(joined, sessions.get(session_id))
    return sessions


def _snapshot(sessions: Mapping[str, Session], foreign_count: int, before: Projection | None) -> Snapshot:
    if before is None or before.snapshot.foreign_count != foreign_count or moved(before.sessions, sessions):
        return Snapshot(tuple(newest_first(sessions.values())), foreign_count)
    return before.snapshot


def _probe(files: ProfileFiles, looks: Looks) -> Hashable:
    # The reading's own look at other files: a checker's look must not make this one seem settled.
    stamps, are_still = looks.files((*files.others.values(), files.settings))
    number = looks.number(("probe", files.profile), stamps, is_still=are_still)
    return (looks.content(files.state_db)[0], number)


def _time_s(row: Mapping[str, object]) -> float:
    at_s = row["last_message_at"] or row["updated_at"] or row["created_at"]
    pending_s = row.get("pending_started_at")
    return max(at_s if isinstance(at_s, float) else 0.0, pending_s if isinstance(pending_s, float) else 0.0)


def _peer(joined: JoinedSession) -> tuple[object, ...] | None:
    agent = joined.agent
    key = joined.routing.session_key if joined.routing else text(agent.session_key) if agent else None
    if key:
        return (joined.profile, joined.tag, key)
    chat = tuple(map(text, (agent.chat_type, agent.chat_id, agent.thread_id, agent.user_id))) if agent else ()
    return (joined.profile, joined.tag, *chat) if any(chat) else None
