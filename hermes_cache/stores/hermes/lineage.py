"""Finds which sessions are one conversation: chains of continuations, and the children of others.

A session continues its parent if the parent ended by compression or was closed in the terminal, the child has the
same source and began no earlier than that end, and the child is not marked as a branch, a reset or a delegate.
Parents may be missing or form a ring. No I/O here. Source: rules X3, X7.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import moment_s

_CONTINUED_AFTER: Final = frozenset({"compression", "cli_close"})


@dataclass(frozen=True, slots=True)
class Lineage:
    """The chains among the sessions of a profile.

    Attributes:
        chains: By the id of its tip, the ids of a chain of two or more, root first.
        tips: By the id of each member of a chain, the id of its tip.
    """

    chains: Mapping[str, tuple[str, ...]]
    tips: Mapping[str, str]

    def tip(self, session_id: str) -> str:
        """Return the session that the list shows in place of this one: the last of its chain, or itself."""
        return self.tips.get(session_id, session_id)

    def root(self, session_id: str) -> str:
        """Return the first session of the conversation."""
        chain = self.chains.get(self.tip(session_id))
        return chain[0] if chain else session_id


def trace(records: Mapping[str, SessionRecord]) -> Lineage:
    """Find the chains among sessions by id."""
    continued = _continuations(records)
    continuing = set(continued.values())
    chains: dict[str, tuple[str, ...]] = {}
    for session_id in continued:
        if session_id not in continuing:  # So it is a root; a ring has no root and is left alone.
            chain = tuple(_walk(session_id, continued))
            chains[chain[-1]] = chain
    return Lineage(chains, {member: tip for tip, chain in chains.items() for member in chain})


def is_in_a_ring(session_id: str, parents: Mapping[str, str]) -> bool:
    """Say whether a session is its own ancestor."""
    seen: set[str] = set()
    ancestor = parents.get(session_id)
    while ancestor is not None and ancestor not in seen:
        if ancestor == session_id:
            return True
        seen.add(ancestor)
        ancestor = parents.get(ancestor)
    return False


def _walk(session_id: str, continued: Mapping[str, str]) -> Iterator[str]:
    following: str | None = session_id
    while following is not None:
        yield following
        following = continued.get(following)


def _continuations(records: Mapping[str, SessionRecord]) -> dict[str, str]:
    """Return the continuation of each session that has one: if there are several, the one that began last."""
    continued: dict[str, tuple[float, str]] = {}
    children = [(session_id, record) for session_id, record in records.items() if record.parent_session_id]
    for session_id, child in children:
        parent_id = child.parent_session_id
        parent = records.get(parent_id) if isinstance(parent_id, str) else None
        if parent is None or not isinstance(parent_id, str) or parent_id == session_id:
            continue
        began_s = _continued_at_s(parent, child)
        if began_s is not None:
            continued[parent_id] = max(continued.get(parent_id, (0.0, "")), (began_s, session_id))
    return {parent_id: session_id for parent_id, (_, session_id) in continued.items()}


def _continued_at_s(parent: SessionRecord, child: SessionRecord) -> float | None:
    if parent.end_reason not in _CONTINUED_AFTER or parent.source != child.source or child.forked:
        return None
    ended_s, began_s = moment_s(parent.ended_at), moment_s(child.started_at)
    return began_s if ended_s is not None and began_s is not None and began_s >= ended_s else None
