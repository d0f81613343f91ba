"""Why a key is as it is.

Source: rule J7, as far as it can be told without a journal.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from hermes_cache.core.events import EventId
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.stamps import moved_parts
from hermes_cache.core.state import State, Target


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a key.

    Attributes:
        key: Which, with its canonical profile.
        age_s: Seconds since the payload that is held was built; None where none is.
        build_s: How long that took.
        stamp: What it was built from.
        moved_parts: The parts that the last check found otherwise; `streams` among them where streams moved.
        version: The version that its build noted.
        current_version: The version now: above `version`, an event outdated the payload.
        building_for_s: Seconds since the build under way began; None where none is.
        overtaken_by: The event that overtook it.
        waiting: Readers that wait.
        failures: Builds that failed in a row.
        failure: Why the last of them did.
    """

    key: SessionListKey
    age_s: float | None
    build_s: float | None
    stamp: Mapping[str, Hashable]
    moved_parts: tuple[str, ...]
    version: int | None
    current_version: int
    building_for_s: float | None
    overtaken_by: EventId | None
    waiting: int
    failures: int
    failure: str | None


def explain(state: State, target: Target, now_s: float) -> Explanation:
    """Say why a key is as it is."""
    entry, build = state.entry_of(target), state.builds.get(target.key)
    failure = state.failures.get(target.key)
    began_s = build.began_s if build else None
    return Explanation(
        key=target.key,
        age_s=now_s - entry.built_at_s if entry else None,
        build_s=entry.build_s if entry else None,
        stamp=entry.stamp.as_mapping() if entry else {},
        moved_parts=_moved(state, target),
        version=entry.version if entry else None,
        current_version=state.version_of(target),
        building_for_s=now_s - began_s if began_s is not None else None,
        overtaken_by=build.overtaken_by if build else None,
        waiting=len(state.waiters.get(target.key, ())),
        failures=failure.count if failure else 0,
        failure=str(failure.cause) if failure else None,
    )


def _moved(state: State, target: Target) -> tuple[str, ...]:
    entry, check = state.entry_of(target), state.check_of(target)
    if entry is None:
        return ()
    own = entry.stamp.check
    parts = moved_parts(own.parts, check.parts) if check and check.began_s > own.began_s else ()
    return (*parts, "streams") if state.marker_of(target) != entry.stamp.marker else parts
