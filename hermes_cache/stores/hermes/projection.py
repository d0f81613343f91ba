"""The projection of one profile: all its sessions at one moment, kept true by probing what it was read from.

The probe is taken before the reading, so that the next probe differs if something changed during it. A row is kept
as bytes, which take a third of what a dict takes. A row that stays equal from one snapshot to the next stays the
same object, so entries share rows. Source: rules X4 to X6.
"""

import time
from bisect import insort
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from hermes_cache.payload.rows import EncodedRow, encoded_row
from hermes_cache.sessions.rows import Facts
from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.front_end_records import NO_FOREIGN, ForeignCounts
from hermes_cache.stores.hermes.joining import JoinedSession, ProfileRecords, join, moved, to_join
from hermes_cache.stores.hermes.locations import ProfileFiles
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.profile_reading import ProfileReader, ProfileReading
from hermes_cache.stores.hermes.session_rows import make_row, standing_of
from hermes_cache.stores.hermes.values import text

_LEFT_BEHIND: Final = frozenset({"session_reset", "session_switch"})
"""How sessions end from which a chat has moved on."""

_MOST_PUT_IN: Final = 64
"""So many sessions are put into a sorted list one by one; if more changed, all are sorted anew."""


class Session:
    """One session of a snapshot: what views sort and filter by, and its row. Never changed, but for the row.

    Attributes:
        joined: What the row is made from.
        time_s: As in `Standing`.
        gate: The flag of a key that lets it through; see `source_tags.gate`.
        is_visible: As in `Standing`.
        is_archived: As in `Standing`.
        is_hidden: As in `Standing`.
        is_of_terminal: Whether the front end files it under `cli`.
        is_own: Whether the front end keeps it.
        has_project: Whether it ran in the background, and is listed for the sake of its project.
        is_routed: Whether a gateway talks to its peer in it.
        is_left_behind: Whether its chat has moved on from it, if a gateway talks to its source.
        peer: Names the peer of a messaging session, or its source if the peer is not known; None for any other.
    """

    __slots__ = (
        "_row", "_row_behind_its_project", "gate", "has_project", "is_archived", "is_hidden", "is_left_behind",
        "is_of_terminal", "is_own", "is_routed", "is_visible", "joined", "peer", "time_s",
    )  # fmt: skip

    def __init__(self, joined: JoinedSession) -> None:
        self.joined = joined
        self.time_s, is_native, self.is_visible, self.is_archived, self.is_hidden = standing_of(joined)
        self.gate = source_tags.gate(joined.tag, is_native=is_native)
        self.is_of_terminal = source_tags.is_of_terminal(joined.tag)
        self.is_own = joined.web is not None
        self.has_project = self.gate in source_tags.BACKGROUND and self.is_visible and _has_project(joined)
        is_messaging = source_tags.session_source(joined.tag) == "messaging"
        self.peer = _peer(joined) if is_messaging else None
        self.is_routed = joined.routing is not None
        self.is_left_behind = is_messaging and _is_left_behind(joined)
        self._row: EncodedRow | None = None
        self._row_behind_its_project: EncodedRow | None = None

    def __reduce__(self) -> tuple[type["Session"], tuple[JoinedSession]]:
        # Its row is made anew in the other process, if it is ever shown there.
        return Session, (self.joined,)

    def row(self) -> EncodedRow:
        """Return the row, which is made when it is first asked for: most views show a part of the sessions."""
        if self._row is None:
            self._row = self._encoded(make_row(self.joined))
        return self._row

    def row_behind_its_project(self) -> EncodedRow:
        """Return the row for a view that shows sessions of its kind only under their project."""
        if self._row_behind_its_project is None:
            self._row_behind_its_project = self._encoded(make_row(self.joined) | {"default_hidden": True})
        return self._row_behind_its_project

    def shared_with(self, before: "Session") -> "Session":
        """Return the session from before if this one is shown alike; else this one, with an equal row shared."""
        if self.row().encoded != before.row().encoded:
            return self
        self._row = before.row()
        self._row_behind_its_project = before._row_behind_its_project  # noqa: SLF001 - of the same class
        return before if _filtered_by(before) == _filtered_by(self) else self

    def _encoded(self, row: Mapping[str, object]) -> EncodedRow:
        is_restless = row["active_stream_id"] is not None
        return encoded_row(row, Facts(self.joined.id, is_restless=is_restless, time_s=self.time_s))


_filtered_by: Final = attrgetter(
    "time_s",
    "gate",
    "is_visible",
    "is_archived",
    "is_hidden",
    "is_own",
    "has_project",
    "is_routed",
    "is_left_behind",
    "peer",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sessions of a scope.

    Attributes:
        sessions: Newest first, those of one time by id.
        foreign: How many sessions the front end keeps for other profiles.
        stores_loading: Whether a store of another agent was not read yet.
    """

    sessions: tuple[Session, ...]
    foreign: ForeignCounts = NO_FOREIGN
    stores_loading: bool = False


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
    if before is not None and before.probe == probe and time.time() < before.reading.holds_until_s:
        return before
    reading = reader.read(files, before.reading if before is not None else None)
    sessions = _sessions(files.profile, reading.records, before)
    return Projection(probe, reading, sessions, _snapshot(sessions, reading.foreign, before))


def newest_first(sessions: Iterable[Session]) -> list[Session]:
    """Return sessions in the order of a list: newest first, those of one time by id."""
    return sorted(sessions, key=_rank)


def _rank(session: Session) -> tuple[float, str]:
    return (-session.time_s, session.joined.id)


def _sessions(profile: str, records: ProfileRecords, before: Projection | None) -> dict[str, Session]:
    if before is None:
        # In the order in which they were read: neighbours in memory are twice as quick as any order.
        joined = (join(session_id, profile, records) for session_id in {**records.agent, **records.index})
        return {each.id: Session(each) for each in joined if each is not None}
    sessions = dict(before.sessions)
    for session_id in to_join(before.reading.records, records):
        now, old = join(session_id, profile, records), sessions.get(session_id)
        if now is None:
            sessions.pop(session_id, None)
        elif old is None:
            sessions[session_id] = Session(now)
        elif old.joined != now:
            sessions[session_id] = Session(now).shared_with(old)
    return sessions


def _snapshot(sessions: Mapping[str, Session], foreign: ForeignCounts, before: Projection | None) -> Snapshot:
    if before is None:
        return Snapshot(tuple(newest_first(sessions.values())), foreign)
    changed = moved(before.sessions, sessions)
    if not changed and foreign == before.snapshot.foreign:
        return before.snapshot
    listed = [each for each in before.snapshot.sessions if each.joined.id not in changed]
    come = [sessions[session_id] for session_id in changed if session_id in sessions]
    if len(come) > _MOST_PUT_IN:
        return Snapshot(tuple(newest_first([*listed, *come])), foreign)
    for session in come:
        insort(listed, session, key=_rank)
    return Snapshot(tuple(listed), foreign)


def _probe(files: ProfileFiles, looks: Looks) -> Hashable:
    # The reading's own look at other files: a checker's look must not make this one seem settled.
    stamps, still_in_s = looks.files((*files.others.values(), files.settings))
    number = looks.number(("probe", files.profile), stamps, is_still=not still_in_s)
    return (looks.content(files.state_db)[0], looks.content(files.cron_runs)[0], number)


def _has_project(joined: JoinedSession) -> bool:
    return bool(joined.project_id or (joined.web and joined.web.project_id))


def _is_left_behind(joined: JoinedSession) -> bool:
    agent = joined.agent
    if joined.routing is not None:
        return False
    is_nobodys = agent is None or not any(map(text, (agent.session_key, agent.chat_id, agent.thread_id)))
    return is_nobodys or joined.parent_id is not None or (agent is not None and agent.end_reason in _LEFT_BEHIND)


def _peer(joined: JoinedSession) -> tuple[object, ...]:
    agent = joined.agent
    key = joined.routing.session_key if joined.routing else text(agent.session_key) if agent else None
    if key:
        return (joined.profile, joined.tag, key)
    chat = tuple(map(text, (agent.chat_type, agent.chat_id, agent.thread_id, agent.user_id))) if agent else ()
    return (joined.profile, joined.tag, *chat) if any(chat) else (joined.profile, joined.tag)
