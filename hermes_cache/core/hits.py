"""Remembered hits: the answer to one read answers the next ones too, without a message, for as long as it stands.

A hit changes no answer, so it makes no new state. It stands until an entry, a version or a stream changes, until a
check finds its sources moved, or until the moment at which its age or the age of that check ends it. All hits of a
scope share what its checks found: a check carries all of them on, or ends all of them, in one step, however many
they are. Source: rules R1, R2, S4, H2, B5.
"""

from collections.abc import Hashable
from math import inf

from hermes_cache.core.effects import Served
from hermes_cache.core.freshness import trusted_for_s, ttl_s
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import State, Target


class Look:
    """What the checks of a scope found, as long as it is the same; hits that rest on it share it."""

    __slots__ = ("check", "until_s")

    def __init__(self, check: Check | None, until_s: float) -> None:
        self.check = check
        self.until_s = until_s


class Hit:
    """A key's last hit, and how often it was had again since that was counted."""

    __slots__ = ("count", "look", "served", "until_s", "used_s")

    def __init__(self, served: Served, look: Look, until_s: float, now_s: float) -> None:
        self.served = served
        self.look = look
        self.until_s = until_s
        self.used_s = now_s
        self.count = 0


class Hits:
    """The hits that stand. One thread at a time changes them; any thread may look one up meanwhile."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._by_key: dict[Hashable, Hit] = {}
        self._looks: dict[Hashable, Look] = {}

    def get(self, key: Hashable) -> Hit | None:
        """Return the last hit of a key, whether it still stands or not."""
        return self._by_key.get(key)

    def at(self, key: Hashable, now_s: float) -> Hit | None:
        """Return the hit of a key that stands at a moment; None if there is none."""
        hit = self._by_key.get(key)
        return hit if hit is not None and now_s < hit.until_s and now_s < hit.look.until_s else None

    def remember(self, state: State, served: Served, now_s: float) -> None:
        """Remember a hit if it still is one by the state of now: its answer may have been delivered late."""
        entry, policy = served.entry, self._policy
        is_current = state.entry_of(entry.target) is entry and entry.version >= state.version_of(entry.target)
        if not is_current or entry.stamp.marker != state.marker_of(entry.target) or state.stopped:
            return
        until_s = min(entry.built_at_s + ttl_s(entry, policy), state.streams.next_expiry_s())
        look = self._look(state, entry.target, entry.stamp.check)
        if look is None:
            self._by_key.pop(entry.target.key, None)
        else:
            self._by_key[entry.target.key] = Hit(served, look, until_s, now_s)

    def follow(self, before: State, after: State) -> None:
        """Forget all hits if a step changed what they were judged by; checks are seen to by `renew`."""
        unchanged = before.entries is after.entries and before.versions is after.versions
        if not (unchanged and before.streams is after.streams) or after.stopped:
            self.forget()

    def forget(self) -> None:
        """Forget all hits."""
        self._by_key, self._looks = {}, {}

    def renew(self, state: State, target: Target) -> None:
        """Let a check carry the hits of its scope on if it found nothing moved and another one follows."""
        look, scope = self._looks.get(target.scope), state.scopes.get(target.scope)
        check = scope.check if scope else None
        if look is None or check is look.check:
            return
        follows = scope is not None and scope.due_s < inf
        if follows and look.check is not None and check is not None and _finds_the_same(look.check, check):
            look.check, look.until_s = check, self._trusted_until_s(check)
        else:
            # What its hits were judged by is over: the next read of each is judged anew.
            look.until_s = -inf
            del self._looks[target.scope]

    def _look(self, state: State, target: Target, own: Check) -> Look | None:
        """Return what a hit rests on besides its entry; None if nothing lasts."""
        if not target.watched:
            return Look(None, inf)
        check = state.check_of(target)
        if check is None or self._policy.stamp_interval == 0:
            return None
        if not _finds_the_same(own, check):
            # The entry is not compared with this check, so the next one may find it moved: each read is judged.
            return None
        look = self._looks.get(target.scope)
        if look is None or look.check is not check:
            look = self._looks[target.scope] = Look(check, self._trusted_until_s(check))
        return look

    def _trusted_until_s(self, check: Check) -> float:
        return check.began_s + trusted_for_s(check, self._policy)


def _finds_the_same(check: Check, other: Check) -> bool:
    return (check.parts, check.listed, check.held) == (other.parts, other.listed, other.held)
