"""Joins what several sources tell of each session, anew only where it moved since the joining before.

Records that did not move are the same objects, so finding what did costs one look a session. Where one of a family
moved, all families are joined anew, since what is told of one session can move with its kin. No I/O here.
Source: rules X5, X7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from operator import is_not
from typing import Final

from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.lineage import Lineage, is_in_a_ring, trace
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.session_rows import Known, Parent, source_tag, title_of
from hermes_cache.stores.hermes.side_files import Routing
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import text


@dataclass(frozen=True, slots=True)
class Told:
    """What a home tells about the sessions of one profile, source by source.

    Attributes:
        sessions: The agent's records by id.
        index: The front end's records by id.
        lineage: The chains among the agent's.
        parents: By id, the parent of each session that is shown and has one.
        routing: What the gateway keeps, by session id.
        jobs: The names of scheduled jobs by id.
        projects: By tag, the project of all sessions of a kind.
    """

    sessions: Mapping[str, SessionRecord]
    index: Mapping[str, IndexRecord]
    lineage: Lineage
    parents: Mapping[str, str]
    routing: Mapping[str, Routing]
    jobs: Mapping[str, str]
    projects: Mapping[str, str]


NOTHING: Final = Told({}, {}, Lineage({}, {}), {}, {}, {}, {})
"""What is told before anything was read."""


def tell(
    sessions: Mapping[str, SessionRecord],
    index: Mapping[str, IndexRecord],
    *,
    routing: Mapping[str, Routing],
    jobs: Mapping[str, str],
    projects: Mapping[str, str],
) -> Told:
    """Put together what is told, and find who is kin to whom."""
    lineage = trace(sessions)
    return Told(sessions, index, lineage, _parents(sessions, index, lineage), routing, jobs, projects)


def join(profile: str, told: Told, told_before: Told, before: Mapping[str, Known]) -> dict[str, Known]:
    """Return what is known of each session that is shown, by id; what stayed equal stays the same object.

    Args:
        before: What was joined of `told_before`.
    """
    known = dict(before)
    for session_id in _touched(told_before, told):
        joined = _known(session_id, profile, told)
        if joined is None:
            known.pop(session_id, None)
        elif joined != known.get(session_id):
            known[session_id] = joined
    return known


def moved(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Name what was added, taken away or became another object."""
    replaced = compress(after, map(is_not, after.values(), map(before.get, after)))
    return (before.keys() - after.keys()).union(replaced)


def _touched(before: Told, after: Told) -> set[str]:
    if before.jobs != after.jobs or before.projects != after.projects:
        return _all(before) | _all(after)
    rerouted = {session_id for session_id, _ in before.routing.items() ^ after.routing.items()}
    touched = moved(before.sessions, after.sessions) | moved(before.index, after.index) | rerouted
    kin = _kin(before) | _kin(after)
    are_same_kin = before.lineage == after.lineage and before.parents == after.parents
    return touched if are_same_kin and touched.isdisjoint(kin) else touched | kin


def _all(told: Told) -> set[str]:
    return told.sessions.keys() | told.index.keys()


def _kin(told: Told) -> set[str]:
    return {*told.parents, *told.parents.values(), *told.lineage.tips}


def _known(session_id: str, profile: str, told: Told) -> Known | None:
    """Join one session; None where it is gone, or another of its chain stands for it."""
    session, web = told.sessions.get(session_id), told.index.get(session_id)
    if (session is None and web is None) or told.lineage.tip(session_id) != session_id:
        return None
    tag = source_tag(session_id, session, web)
    known = Known(
        session_id,
        profile,
        tag,
        session,
        web,
        told.routing.get(session_id),
        told.jobs.get(source_tags.cron_job_id(session_id) or "") if tag == "cron" else None,
        told.projects.get(tag),
    )
    is_kin = session_id in told.parents or session_id in told.lineage.chains
    return _with_kin(known, told) if is_kin else known


def _with_kin(known: Known, told: Told) -> Known:
    chain = told.lineage.chains.get(known.id)
    if chain:
        titles = (title_of(told.sessions[each], told.index.get(each)) for each in reversed(chain[:-1]))
        title = next(filter(None, titles), None)
        known = known._replace(root=told.sessions[chain[0]], segments=len(chain), chain_title=title)
    parent_id = told.parents.get(known.id)
    parent = _parent(known.id, parent_id, told) if parent_id else None
    return known._replace(parent_id=parent_id, parent=parent)


def _parent(session_id: str, parent_id: str, told: Told) -> Parent | None:
    session, web = told.sessions.get(parent_id), told.index.get(parent_id)
    tip_id = told.lineage.tip(parent_id)
    is_there = session is not None or web is not None
    if not is_there or tip_id == session_id or is_in_a_ring(session_id, told.parents):
        return None
    tag = source_tag(parent_id, session, web)
    return Parent(parent_id, title_of(session, web), tag, told.lineage.root(parent_id), tip_id)


def _parents(
    sessions: Mapping[str, SessionRecord], index: Mapping[str, IndexRecord], lineage: Lineage
) -> dict[str, str]:
    """Return the parent of each session that is shown and has one; a chain's is that of its root."""
    told = {sid: record.parent_session_id for sid, record in index.items() if record.parent_session_id}
    told |= {sid: record.parent_session_id for sid, record in sessions.items() if record.parent_session_id}
    parents = {lineage.tip(sid): text(parent) for sid, parent in told.items() if lineage.root(sid) == sid}
    return {session_id: parent for session_id, parent in parents.items() if parent}
