"""Sharing: hands a profile's snapshot from the process that makes it to the one that joins it.

After the first time only the sessions that changed cross over; the others stay the same objects in the joining
process, so that rows stay shared there too. Source: rule B8.
"""

import pickle
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from hermes_cache.stores.hermes.front_end_records import ForeignCounts
from hermes_cache.stores.hermes.projection import Session, Snapshot


class _Difference(NamedTuple):
    """What leads from one snapshot to the next.

    Attributes:
        is_whole: There is no snapshot before.
        order: The ids of all sessions, with their profiles.
        changed: Those that are not as before.
        foreign: As in `Snapshot`.
    """

    is_whole: bool
    order: tuple[Hashable, ...]
    changed: tuple[Session, ...]
    foreign: ForeignCounts


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """What a taker of a scope has seen."""

    token: Hashable
    snapshot: Snapshot


class Sharing:
    """Both sides of it: what was given of own snapshots, and what was adopted of others'."""

    def __init__(self) -> None:
        self._given: dict[Hashable, _Given] = {}
        self._adopted: dict[Hashable, Snapshot] = {}

    def share(self, scope: Hashable, snapshot: Snapshot, seen: Hashable) -> tuple[Hashable, bytes]:
        """Return a snapshot to one who saw another; see `ports.JoiningBuilder`."""
        given = self._given.get(scope)
        before = given.snapshot if given is not None and given.token == seen else None
        if given is not None and before is snapshot:
            return given.token, b""
        token = uuid4().hex
        self._given[scope] = _Given(token, snapshot)
        return token, pickle.dumps(_difference(before, snapshot), pickle.HIGHEST_PROTOCOL)

    def adopt(self, scope: Hashable, share: bytes) -> None:
        """Take in what was shared of a scope."""
        if not share:
            return
        difference: _Difference = pickle.loads(share)  # noqa: S301 - made by a worker of the same cache
        before = None if difference.is_whole else self._adopted.get(scope)
        sessions = {_name(session): session for session in before.sessions} if before else {}
        sessions |= {_name(session): session for session in difference.changed}
        ordered = tuple([sessions[name] for name in difference.order])
        self._adopted[scope] = Snapshot(ordered, difference.foreign)

    def adopted(self, scope: Hashable) -> Snapshot | None:
        """Return the snapshot that was adopted of a scope; None if it is read here."""
        return self._adopted.get(scope)

    def forget(self, scope: Hashable) -> None:
        """Let go of all that was shared and adopted of a scope."""
        self._given.pop(scope, None)
        self._adopted.pop(scope, None)


def _difference(before: Snapshot | None, after: Snapshot) -> _Difference:
    old = {_name(session): session for session in before.sessions} if before else {}
    changed = tuple([session for session in after.sessions if old.get(_name(session)) is not session])
    order = tuple(map(_name, after.sessions))
    return _Difference(before is None, order, changed, after.foreign)


def _name(session: Session) -> Hashable:
    return session.joined.profile, session.joined.id
