"""Explanations: what is told of a key, as values.

Source: rule J7.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.history import PastOutcome
from hermes_cache.core.keys import SessionListKey

Condition: TypeAlias = Literal["missing", "fresh", "aged", "moved", "unchecked", "outdated"]
BuildOutcome: TypeAlias = Literal["queued", "running"] | PastOutcome


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks.

    Attributes:
        monotonic_s: Monotonic seconds, as the state counts them.
        at_s: Epoch seconds, as events and readers count them.
    """

    monotonic_s: float
    at_s: float

    def epoch_s(self, monotonic_s: float) -> float:
        """Give the epoch seconds of another moment."""
        return self.at_s - (self.monotonic_s - monotonic_s)


@dataclass(frozen=True, slots=True)
class TouchedBy:
    """An event that touched the key.

    Attributes:
        event: Which: when it was said, by whom, and why.
        profile: The canonical profile that it touched; None for all.
        is_foreign: Whether it came from another process, or from before a fork.
        is_unseen: The payload that is held was built without it; false where none is held.
    """

    event: AppliedEvent
    profile: str | None
    is_foreign: bool
    is_unseen: bool


@dataclass(frozen=True, slots=True)
class BuiltBy:
    """A build of the key.

    Attributes:
        id: Grows from 1 within a life of the cache.
        reason: Why it was asked for: `age`, `source`, `event` or `miss`.
        began_at_s: When it left the queue, in epoch seconds; None where it has not, or never did.
        took_s: How long it ran, or has run by now.
        outcome: What became of it.
        why: Why it was not stored, in words; None where it was, or may still be.
        overtaken_by: The first event that touched the key while it ran.
    """

    id: int
    reason: str
    began_at_s: float | None
    took_s: float
    outcome: BuildOutcome
    why: str | None
    overtaken_by: EventId | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a key.

    Attributes:
        key: Which, with its canonical profile.
        at_s: When this was told, in epoch seconds.
        condition: What a read would find: nothing (`missing`), a payload that may be served (`fresh`), one over
            its age (`aged`), one whose sources or streams `moved` or were not looked at for too long
            (`unchecked`), or one that an event `outdated`.
        age_s: Seconds since the payload that is held was built; None where none is.
        built_at_s: When its build ended, in epoch seconds.
        build_id: Which build that was.
        build_s: How long that took.
        stamp: What it was built from.
        moved_parts: The parts that the last check found otherwise; `streams` among them where streams moved.
        check_age_s: Seconds since the last check of its sources began; None where there was none.
        version: The version that its build noted.
        current_version: The version now: above `version`, an event outdated the payload.
        building_for_s: Seconds since the build under way began; None where none is.
        overtaken_by: The event that overtook it.
        waiting: Readers that wait.
        failures: Builds that failed in a row.
        failure: Why the last of them did.
        retry_in_s: Seconds until a read may try again, if nothing changes before; None where no build failed.
        held_back_for_s: Seconds until the refresh that was asked for may begin (B9); None where none is held back.
        events: The last events that touched it, newest first: 16 that outdated, 16 that moved streams.
        builds: The builds under way and its last 8, newest first.
        served: What its reads got since the payload was built, or where none is held, since it went: how many by
            outcome, or by the name of the error.
    """

    key: SessionListKey
    at_s: float
    condition: Condition
    age_s: float | None
    built_at_s: float | None
    build_id: int | None
    build_s: float | None
    stamp: Mapping[str, Hashable]
    moved_parts: tuple[str, ...]
    check_age_s: float | None
    version: int | None
    current_version: int
    building_for_s: float | None
    overtaken_by: EventId | None
    waiting: int
    failures: int
    failure: str | None
    retry_in_s: float | None
    held_back_for_s: float | None
    events: tuple[TouchedBy, ...] = ()
    builds: tuple[BuiltBy, ...] = ()
    served: Mapping[str, int] = field(default_factory=dict)
