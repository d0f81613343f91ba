"""Explanations: what is known of a key, as values, and by `str` in words for a person.

Source: rule J7.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from hermes_cache.bus.codec import to_plain
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.record import PastOutcome
from hermes_cache.core.streams import Marker
from hermes_cache.errors import key_text
from hermes_cache.explain.wording import clock_time, one_line, short_id, span

Condition: TypeAlias = Literal["missing", "fresh", "aged", "moved", "unchecked", "outdated"]
BuildOutcome: TypeAlias = Literal["queued", "running"] | PastOutcome

_CONDITIONS: Final[Mapping[Condition, str]] = MappingProxyType(
    {
        "missing": "Nothing is held.",
        "fresh": "What is held may be served.",
        "aged": "What is held is over its age.",
        "moved": "What is held is behind its sources.",
        "unchecked": "Nobody has looked at the sources for so long that they count as moved.",
        "outdated": "An event outdated what is held.",
    }
)


@dataclass(frozen=True, slots=True)
class TouchedBy:
    """An event that touched the key.

    Attributes:
        event: The event.
        profile: The canonical profile that it touched; None for all.
        is_foreign: Whether it came from another process, or from before a fork.
        is_unseen: The payload that is held was built without it; false if none is held.
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
        reason: Why it was asked for: `age`, `source`, `event` or `miss`; `put` if the gateway made it.
        began_at_s: When it left the queue, in epoch seconds; None if it has not, or never did.
        took_s: How long it ran, or has run by now.
        outcome: What became of it.
        why: Why it was not stored, in words; None if it was, or may still be.
        overtaken_by: The first event that touched the key while it ran.
        waited: How many readers wait for it, or waited for it when it ended.
        sent_on: How many of these it could not answer, because they came after what overtook it.
    """

    id: int
    reason: str
    began_at_s: float | None
    took_s: float
    outcome: BuildOutcome
    why: str | None
    overtaken_by: EventId | None
    waited: int = 0
    sent_on: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a key.

    Attributes:
        key: The key, with its canonical profile.
        at_s: When this was found out, in epoch seconds.
        condition: What a read would find: nothing (`missing`), a payload that may be served (`fresh`), one over
            its age (`aged`), one whose sources or streams `moved` or were not looked at for too long
            (`unchecked`), or one that an event `outdated`.
        age_s: Seconds since the payload that is held was built; None if none is.
        built_at_s: When its build ended, in epoch seconds.
        build_id: The number of that build.
        build_s: How long that took.
        stamp: What it was built from.
        moved_parts: The parts that the last check found otherwise; `streams` among them if streams moved.
        check_age_s: Seconds since the last check of its sources began; None if there was none.
        version: The version that its build noted.
        current_version: The version now: above `version`, an event outdated the payload.
        building_for_s: Seconds since the build under way began; None if none is.
        overtaken_by: The event that overtook it.
        waiting: Readers that wait.
        failures: Builds that failed in a row.
        failure: Why the last of them did.
        retry_in_s: Seconds until a read may try again, if nothing changes before; None if no build failed.
        held_back_for_s: Seconds until the refresh that was asked for may begin (B9); None if none is held back.
        events: The last events that touched it, newest first: 16 that outdated, 16 that moved streams.
        builds: The builds under way and its last 8, newest first.
        served: What its reads got since the payload was built, or if none is held, since it went: how many by
            outcome, or by the name of the error.
    """

    key: Hashable
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

    def __str__(self) -> str:
        """Return it in plain lines; what has an order has the newest first."""
        return "\n".join(_lines(self))


def _lines(known: Explanation) -> Iterator[str]:
    yield f"{key_text(known.key)} at {clock_time(known.at_s)}"
    yield _CONDITIONS[known.condition]
    yield from _held(known)
    yield from _in_the_way(known)
    if known.served:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(known.served.items()))
        yield f"Reads {'since it was built' if known.build_id else 'since nothing is held'}: {counts}."
    yield from _under("Builds", [_build(build, known.at_s) for build in known.builds])
    yield from _under(
        "Events (* came after the build of what is held)", [_event(e, known.at_s) for e in known.events]
    )
    yield from _under("Built from", [f"{name}: {_part(value)}" for name, value in sorted(known.stamp.items())])


def _held(known: Explanation) -> Iterator[str]:
    if known.built_at_s is not None and known.age_s is not None:
        built = f"Built by build {known.build_id} at {clock_time(known.built_at_s)}, {span(known.age_s)} ago"
        yield f"{built}, in {span(known.build_s or 0.0)}."
    if known.check_age_s is not None:
        yield f"Its sources were last looked at {span(known.check_age_s)} ago."
    if known.moved_parts:
        yield f"Moved since it was built: {', '.join(known.moved_parts)}."


def _in_the_way(known: Explanation) -> Iterator[str]:
    if known.waiting:
        yield f"Reads that wait: {known.waiting}."
    if known.failure is not None:
        yield f"Builds that failed in a row: {known.failures}; the last of them: {one_line(known.failure)}."
        yield f"Tried again by a read in {span(known.retry_in_s or 0.0)}, or sooner if something changes."
    if known.held_back_for_s is not None:
        yield f"A refresh is held back for {span(known.held_back_for_s)}, since the last one was costly."


def _build(build: BuiltBy, now_s: float) -> str:
    text = f"{build.id}: {build.outcome}, asked for by {build.reason}"
    if build.began_at_s is not None:
        began = f"began at {clock_time(build.began_at_s)}, {span(now_s - build.began_at_s)} ago"
        text += f", {began}, {'runs' if build.outcome == 'running' else 'ran'} {span(build.took_s)}"
    if build.overtaken_by is not None:
        text += f", overtaken by {short_id(build.overtaken_by)}"
    if build.sent_on:
        text += f", {build.sent_on} of {build.waited} readers came after that and were sent on to the next"
    elif build.waited > 1:
        text += f", {build.waited} readers waited"
    return text if build.why is None else f"{text}: {one_line(build.why)}"


def _event(touched: TouchedBy, now_s: float) -> str:
    event = touched.event
    plain = to_plain(event)
    fields = [f"{name} {plain[name]}" for name in ("reason", "session_id", "stream_id") if name in plain]
    whose = "all profiles" if touched.profile is None else f"profile {touched.profile}"
    said = f"{'another process' if touched.is_foreign else 'here'}, {short_id(event.id)}"
    when = f"{clock_time(event.at_s)}, {span(now_s - event.at_s)} ago"
    what = ", ".join(map(one_line, [plain["kind"], whose, *fields]))
    return f"{'*' if touched.is_unseen else ' '} {when}: {what} ({said})"


def _part(value: Hashable) -> str:
    if isinstance(value, Marker):
        return one_line(", ".join(value.stream_ids) or "none")
    return one_line(value)


def _under(head: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"{head}:"
        yield from (f"  {line}" for line in lines)
