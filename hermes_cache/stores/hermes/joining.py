"""Joins what several sources hold of each session, and finds which sessions have to be joined anew.

A record that did not move is the same object as before, so one look a session finds what moved. What is shown of a
session can depend on its relatives: a chain on all its members, a child on its parent. No I/O here.
Source: rules X5, X7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import compress
from operator import is_not
from typing import Final, NamedTuple

from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.lineage import Lineage, in_rings, trace
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.side_files import Routing
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import flag, text

UNTITLED: Final = "Untitled"
"""What the front end writes if a session has no title."""


@dataclass(frozen=True, slots=True)
class ProfileRecords:
    """What the sources of a profile hold, source by source.

    Attributes:
        agent: The agent's records by session id.
        index: The front end's records by session id.
        lineage: The chains among the agent's.
        parents: The parent, by the id of each session that is shown and has one.
        in_rings: Those that are their own ancestors.
        routing: What the gateway keeps, by session id.
        jobs: The names of scheduled jobs by id.
        projects: The project of all sessions of a kind, by its tag.
        redacts: Whether rows are shown with their secrets masked.
        running: The sessions in which a scheduled run goes on.
    """

    agent: Mapping[str, SessionRecord]
    index: Mapping[str, IndexRecord]
    lineage: Lineage
    parents: Mapping[str, str]
    in_rings: frozenset[str]
    routing: Mapping[str, Routing]
    jobs: Mapping[str, str]
    projects: Mapping[str, str]
    redacts: bool = True
    running: frozenset[str] = frozenset()


class Parent(NamedTuple):
    """The session that another was begun from.

    Attributes:
        id: Its id.
        title: Its title, if it has one.
        tag: Its raw source.
        root_id: The first session of its chain.
        tip_id: The last session of its chain.
    """

    id: str
    title: str | None
    tag: str
    root_id: str
    tip_id: str


class JoinedSession(NamedTuple):
    """All that a row is made from; equal values make equal rows.

    Attributes:
        id: The session's id.
        profile: The profile that it belongs to.
        tag: Its raw source.
        agent: The agent's record of it.
        web: The front end's record of it.
        routing: What the gateway keeps of its peer.
        job_name: The name of the scheduled job that it ran for.
        project_id: The project that all sessions of its kind belong to.
        root: The first session of its chain, if it is the tip of one.
        segments: How many sessions the chain has.
        chain_title: The title of the nearest older session of the chain that has one.
        parent_id: Its parent as the record says, whether that exists or not.
        parent: Its parent, if that exists and this session does not continue it.
        redacts: Whether its row is shown with its secrets masked.
        is_running: Whether a scheduled run goes on in it.
    """

    id: str
    profile: str
    tag: str
    agent: SessionRecord | None = None
    web: IndexRecord | None = None
    routing: Routing | None = None
    job_name: str | None = None
    project_id: str | None = None
    root: SessionRecord | None = None
    segments: int = 1
    chain_title: str | None = None
    parent_id: str | None = None
    parent: Parent | None = None
    redacts: bool = True
    is_running: bool = False


_NO_RELATIVES: Final = (None, 1, None, None, None)

_new_joined: Final = partial(tuple.__new__, JoinedSession)
"""Takes half the time of a call of the class."""


def records_of(
    agent: Mapping[str, SessionRecord],
    index: Mapping[str, IndexRecord],
    *,
    routing: Mapping[str, Routing],
    jobs: Mapping[str, str],
    projects: Mapping[str, str],
    marks_delegates: bool = True,
) -> ProfileRecords:
    """Put records together, and find the chains and the parents among them.

    Args:
        marks_delegates: Whether the agent that wrote its records marks delegates.
    """
    lineage = trace(agent, marks_delegates=marks_delegates)
    parent_ids = {sid: each.parent_session_id for sid, each in index.items() if each.parent_session_id}
    parent_ids |= {sid: each.parent_session_id for sid, each in agent.items() if each.parent_session_id}
    # The parent of a chain is that of its root, and its tip is what is shown.
    parents = {lineage.tip(sid): text(each) for sid, each in parent_ids.items() if lineage.root(sid) == sid}
    there = {session_id: parent for session_id, parent in parents.items() if parent}
    return ProfileRecords(agent, index, lineage, there, in_rings(there), routing, jobs, projects)


def to_join(before: ProfileRecords, after: ProfileRecords) -> set[str]:
    """Name the sessions that must be joined anew: all of which what is shown may differ."""
    if (before.jobs, before.projects, before.redacts) != (after.jobs, after.projects, after.redacts):
        return {*before.agent, *before.index, *after.agent, *after.index}
    rerouted = {session_id for session_id, _ in before.routing.items() ^ after.routing.items()}
    changed = moved(before.agent, after.agent) | moved(before.index, after.index) | rerouted
    changed |= before.running ^ after.running
    if before.lineage != after.lineage or before.parents != after.parents:
        return changed | _all_relatives(before) | _all_relatives(after)
    tips = {after.lineage.tip(session_id) for session_id in changed}
    children = {child for child, parent in after.parents.items() if parent in changed} if changed else set()
    return changed | tips | children


def moved(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Name what was added, taken away or became another object."""
    replaced = compress(after, map(is_not, after.values(), map(before.get, after)))
    return (before.keys() - after.keys()).union(replaced)


def join(session_id: str, profile: str, records: ProfileRecords) -> JoinedSession | None:
    """Join one session; None if it is gone, or another session of its chain is shown instead."""
    agent, web = records.agent.get(session_id), records.index.get(session_id)
    lineage, parents = records.lineage, records.parents
    if (agent is None and web is None) or lineage.tips.get(session_id, session_id) != session_id:
        return None
    tag = source_tag(session_id, agent, web)
    job_name = records.jobs.get(source_tags.cron_job_id(session_id) or "") if tag == "cron" else None
    has_relatives = session_id in parents or session_id in lineage.chains
    relatives = _relatives_of(session_id, records) if has_relatives else _NO_RELATIVES
    routing, project_id = records.routing.get(session_id), records.projects.get(tag)
    known = (session_id, profile, tag, agent, web, routing, job_name, project_id)
    return _new_joined((*known, *relatives, records.redacts, session_id in records.running))


def source_tag(session_id: str, agent: SessionRecord | None, web: IndexRecord | None) -> str:
    """Return the raw source in lower case: the agent's, else the front end's, else what the id says."""
    tag = _tag(agent.source) if agent else None
    if tag and tag != source_tags.UNKNOWN:
        return tag
    unnamed = "cli" if web and flag(web.is_cli_session) else "webui"  # Older imports name no source.
    tag = (_tag(web.raw_source) or _tag(web.source_tag) or unnamed) if web else None
    if tag and tag != source_tags.UNKNOWN:
        return tag
    return "cron" if source_tags.cron_job_id(session_id) else source_tags.UNKNOWN


def _tag(value: object) -> str | None:
    found = text(value)
    return found.strip().lower() if found else None


def front_end_title(web: IndexRecord | None) -> str | None:
    """Return the title that somebody gave in the front end."""
    title = text(web.title) if web else None
    return None if title == UNTITLED else title


def _title(agent: SessionRecord | None, web: IndexRecord | None) -> str | None:
    return front_end_title(web) or (text(agent.title) if agent else None)


def _all_relatives(records: ProfileRecords) -> set[str]:
    return {*records.parents, *records.parents.values(), *records.lineage.tips}


def _relatives_of(session_id: str, records: ProfileRecords) -> tuple[object, ...]:
    """Return the fields of a `JoinedSession` from `root` on."""
    chain, parent_id = records.lineage.chains.get(session_id), records.parents.get(session_id)
    parent = _parent(session_id, parent_id, records) if parent_id else None
    if not chain:
        return None, 1, None, parent_id, parent
    titles = (_title(records.agent[each], records.index.get(each)) for each in reversed(chain[:-1]))
    title = next(filter(None, titles), None)
    return records.agent[chain[0]], records.lineage.segments[session_id], title, parent_id, parent


def _parent(session_id: str, parent_id: str, records: ProfileRecords) -> Parent | None:
    if session_id not in records.agent:
        return None  # The front end's own branches stand beside what they were begun from.
    agent, web = records.agent.get(parent_id), records.index.get(parent_id)
    tip_id = records.lineage.tip(parent_id)
    exists = agent is not None or web is not None
    if not exists or tip_id == session_id or session_id in records.in_rings:
        return None
    tag = source_tag(parent_id, agent, web)
    return Parent(parent_id, _title(agent, web), tag, records.lineage.root(parent_id), tip_id)
