"""Finds which sessions are one conversation: chains of continuations, and the children of others.

When a conversation has become long, the agent ends its session by compression and goes on in a new one, its child.
A child continues such a session if it is not marked as a branch, a reset or a delegate of it, and is no session of
a tool or a subagent. Its row is written before the parent's end is stamped, so their times say nothing. Only in
homes of older agents, which marked no delegates, must it have begun no earlier than the parent ended.
If several children continue a session, the conversation went on in one that ended by compression itself, else in
one that is still open, else in the one with the newest message. The others are shown by that one, too.
A session that was closed in the terminal is continued by a child of the same source that began after that.
Parents may be missing or form a ring. No I/O here. Source: rules X3, X7.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import count, moment_s

_NEVER_CONTINUE: Final = frozenset({"tool", "subagent"})


@dataclass(frozen=True, slots=True)
class Lineage:
    """The chains among the sessions of a profile.

    Attributes:
        chains: The ids that lead to a tip, root first, by the id of the tip; of chains of two or more.
        tips: The id of the tip, the newest session that has a message, by the id of each session of a chain.
        segments: How many sessions a chain has, by the id of its tip.
    """

    chains: Mapping[str, tuple[str, ...]]
    tips: Mapping[str, str]
    segments: Mapping[str, int]

    def tip(self, session_id: str) -> str:
        """Return the session that the list shows instead of this one: the tip of its chain, or itself."""
        return self.tips.get(session_id, session_id)

    def root(self, session_id: str) -> str:
        """Return the first session of the conversation."""
        tip = self.tip(session_id)
        return self.chains.get(tip, (tip,))[0]


def trace(records: Mapping[str, SessionRecord], *, marks_delegates: bool = True) -> Lineage:
    """Find the chains among sessions by id.

    Args:
        records: The agent's sessions.
        marks_delegates: Whether the agent that wrote them marks delegates.
    """
    continued = _continuations(records, marks_delegates=marks_delegates)
    continuing = {session_id for children in continued.values() for session_id in children}
    chains: dict[str, tuple[str, ...]] = {}
    tips: dict[str, str] = {}
    segments: dict[str, int] = {}
    for root in continued.keys() - continuing:  # A ring has no root and is left alone.
        path = tuple(_walk(root, continued))
        spoken = [at for at, session_id in enumerate(path) if count(records[session_id].message_count)]
        end = spoken[-1] if spoken else len(path) - 1
        members = _members(root, continued)
        tips.update(dict.fromkeys(members, path[end]))
        segments[path[end]] = len(members)
        if end:
            chains[path[end]] = path[: end + 1]
    return Lineage(chains, tips, segments)


def in_rings(parents: Mapping[str, str]) -> frozenset[str]:
    """Name the sessions that are their own ancestors; each parent is looked up once, however long the lines."""
    seen: set[str] = set()
    found: set[str] = set()
    for start in parents:
        path: list[str] = []
        ancestor: str | None = start
        while ancestor is not None and ancestor not in seen:
            seen.add(ancestor)
            path.append(ancestor)
            ancestor = parents.get(ancestor)
        if ancestor in path:
            found.update(path[path.index(ancestor) :])
    return frozenset(found)


def _walk(session_id: str, continued: Mapping[str, Sequence[str]]) -> Iterator[str]:
    following: Sequence[str] = (session_id,)
    while following:
        yield following[0]
        following = continued.get(following[0], ())


def _members(root: str, continued: Mapping[str, Sequence[str]]) -> list[str]:
    members = [root]
    for session_id in members:  # It grows while it is walked.
        members.extend(continued.get(session_id, ()))
    return members


def _continuations(records: Mapping[str, SessionRecord], *, marks_delegates: bool) -> dict[str, list[str]]:
    """Return the continuations of each session that has some: first the one in which the conversation went on."""
    continued: dict[str, list[str]] = {}
    children = [(session_id, record) for session_id, record in records.items() if record.parent_session_id]
    for session_id, child in children:
        parent_id = child.parent_session_id
        parent = records.get(parent_id) if isinstance(parent_id, str) and parent_id != session_id else None
        if parent is not None and _continues(parent, child, marks_delegates=marks_delegates):
            continued.setdefault(str(parent_id), []).append(session_id)
    for siblings in continued.values():
        if len(siblings) > 1:
            siblings.sort(key=lambda session_id: _precedence(session_id, records[session_id]), reverse=True)
    return continued


def _continues(parent: SessionRecord, child: SessionRecord, *, marks_delegates: bool) -> bool:
    if child.forked or child.source in _NEVER_CONTINUE:
        return False
    if parent.end_reason == "cli_close":
        return parent.source == child.source and _began_after(parent, child)
    return parent.end_reason == "compression" and (marks_delegates or _began_after(parent, child))


def _began_after(parent: SessionRecord, child: SessionRecord) -> bool:
    ended_s, began_s = moment_s(parent.ended_at), moment_s(child.started_at)
    return ended_s is None or (began_s is not None and began_s >= ended_s)


def _precedence(session_id: str, record: SessionRecord) -> tuple[bool, bool, float, float, str]:
    began_s = moment_s(record.started_at) or 0.0
    spoke_s = moment_s(record.last_message_at) or began_s
    return record.end_reason == "compression", record.ended_at is None, spoke_s, began_s, session_id
