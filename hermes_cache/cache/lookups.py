"""What a cache tells of itself: of one read, and of the whole.

Source: rules R9, O6, D1, L4.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Final, Generic, Self

import orjson

from hermes_cache.core.answering import failure_error
from hermes_cache.core.effects import Served
from hermes_cache.core.events import EventId
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import Durations, Tally
from hermes_cache.core.state import Outcome, Reason, State
from hermes_cache.errors import BuildError, ProfileNotFoundError, shown
from hermes_cache.journal.member import JournalStatus
from hermes_cache.payload.applying import applied
from hermes_cache.payload.content import Content
from hermes_cache.payload.frozen import Json, P, frozen_list
from hermes_cache.payload.rows import RowId, frozen_json
from hermes_cache.rendering.bodies import Body, Coding
from hermes_cache.threads.kept_thread import threads_made_anew

_RECENT_S: Final = 60.0
"""What was not asked for since is no trouble of anybody's (X8)."""


@dataclass(frozen=True, slots=True)
class Lookup(Generic[P]):
    """A payload, and how the read went.

    Attributes:
        outcome: `hit`, `stale` (served although a newer one is wanted), `built` (this read started the build),
            `waited` (another did) or `outdated` (an invalidation came since; only `freshness="any"` returns it).
        reason: Why it was no hit: `age`, `source`, `event`, `miss`; None for a hit.
        age_s: Seconds since the end of its build.
        version: The version of the key, as its build noted it.
        stamp: What it was built from, by part.
        build_s: How long its build took.
        overtaken_by: The event that overtook a build which this read waited for.
        error: What stands in the way of a newer payload; None if nothing does.
        retry_in_s: Seconds until a read may try again; None without an error.
        journal_lag_s: Seconds for which nothing was heard of the journal: events of other processes since then are
            not in it. 0 while it can be reached, and without one.
        content: The payload in the form in which it came.
        decode: Returns the payload of a content.
    """

    outcome: Outcome
    reason: Reason | None
    age_s: float
    version: int
    stamp: Mapping[str, Hashable]
    build_s: float
    overtaken_by: EventId | None = None
    error: BuildError | None = None
    retry_in_s: float | None = None
    journal_lag_s: float = 0.0
    content: Content = field(kw_only=True, repr=False)
    decode: Callable[[Content], P] = field(kw_only=True, repr=False, compare=False)

    @property
    def payload(self) -> P:
        """The payload; decoded at its first use if it came as bytes."""
        return self.decode(self.content)


@dataclass(frozen=True, slots=True)
class Patch:
    """What turns one edition of a view into another.

    The values are JSON values; those of a patch that a cache returns are frozen.

    Attributes:
        since: The edition that it is for.
        edition: The edition that it leads to.
        rows: The rows that are new or differ, whole.
        gone: The ids of the rows that are no longer in the view.
        order: Pairs of an id and the id behind which it now stands; None for the first row. They are applied in
            turn, after the rows that are gone were taken out.
        envelope: The fields beside the rows that are new or differ.
        gone_fields: The names of the fields that the view no longer has.
        lists: For other fields that are lists of rows, what of their `rows`, `gone` and `order` changed.
        list_name: The field of the view that holds the rows; None if it has no list of rows.
        row_id: The field of a row that holds its id.
        lookup: The read behind it; None if it came from elsewhere.
        source: The body with its compressed form, shared by all who are given the same patch; None likewise.

    Source: rules D1, D2.
    """

    since: str
    edition: str
    rows: Sequence[Mapping[str, Json]] = ()
    gone: Sequence[RowId] = ()
    order: Sequence[tuple[RowId, RowId | None]] = ()
    envelope: Mapping[str, Json] = field(default_factory=dict)
    gone_fields: Sequence[str] = ()
    lists: Mapping[str, Json] = field(default_factory=dict)
    list_name: str | None = "sessions"
    row_id: str = "session_id"
    lookup: Lookup | None = field(default=None, repr=False, compare=False)
    source: Body | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", frozen_list([(row, behind) for row, behind in self.order]))

    @classmethod
    def of(cls, body: Body, lookup: Lookup[Any]) -> Self:
        """Return the patch that a body says, with the read behind it."""
        values: dict[str, Any] = frozen_json(orjson.loads(body.body))  # type: ignore[assignment]  # our own JSON
        return cls(**values, lookup=lookup, source=body)

    @property
    def body(self) -> bytes:
        """The patch as JSON."""
        return orjson.dumps(self.values()) if self.source is None else self.source.body

    def encoded(self, coding: Coding) -> bytes:
        """Return the body in compressed form, which is made once for all who are given the same patch.

        Raises:
            ValueError: There is no such coding.
        """
        return (self.source or Body(self.body, self.edition)).encoded(coding)

    def values(self) -> dict[str, Json]:
        """Return the patch as JSON values."""
        return {each.name: getattr(self, each.name) for each in fields(self)[:-2]}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A response body with what is live laid over it.

    Attributes:
        body: The payload as JSON.
        etag: Changes exactly when the body does; without quotes.
        lookup: The read behind it; its payload is as cached, without the overlay.
        source: The body with its compressed form, shared by all who are given the same body.
    """

    body: bytes
    etag: str
    lookup: Lookup
    source: Body = field(kw_only=True, repr=False, compare=False)

    @classmethod
    def of(cls, body: Body, lookup: Lookup[Any]) -> Self:
        """Return a body with the read behind it."""
        return cls(body.body, body.etag, lookup, source=body)

    def encoded(self, coding: Coding) -> bytes:
        """Return the body in compressed form, which is made once for all who are given the same body.

        Raises:
            ValueError: There is no such coding.
        """
        return self.source.encoded(coding)

    @property
    def edition(self) -> str:
        """The name of this state of the view, for `cache.patch(key, since=...)`; it is the tag."""
        return self.etag

    def apply(self, patch: Patch) -> "Rendered":
        """Return the view to which a patch leads; this one stays as it is.

        Raises:
            TypeError: It is no patch.
            ValueError: It is for another edition, or is damaged.

        Source: rule D2.
        """
        if not isinstance(patch, Patch):
            raise TypeError(f"patch is {shown(patch)}; it must be a Patch")
        if patch.since != self.edition:
            raise ValueError(f"the patch is for the edition {shown(patch.since)}, and this is {self.edition!r}")
        body = orjson.dumps(applied(orjson.loads(self.body), patch.values()))
        return Rendered.of(Body(body, patch.edition), patch.lookup or self.lookup)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the cache was started last, and sizes now.

    Attributes:
        outcomes: Reads by outcome, and by the name of the error for those that raised.
        builds: Builds that were asked for.
        entries: Payloads held.
        held_bytes: Their encoded size, shared rows once.
        building: Builds that run.
        queued: Builds that wait.
        abandoned: Builds that hang.
        waiting: Readers that wait.
        followers: Followed views, each counted as often as it is followed.
        streams: Streams that are active.
        events: Events applied.
        slowest_build_s: Of the payloads held, the longest build; 0 if none is held.
        dropped_notices: Announcements that monitors were too slow for.
        journal_seq: The journal's last event that is applied here; None without one, or while it is not joined.
        journal_pending: Events of this process that are not committed.
        journal_lag_s: As in `Health`.
        reasons: Reads that were no hit, by outcome and then by reason.
        ended: Builds that ended, by what became of them: `stored`, `discarded`, `failed` or `abandoned`.
        overtaken: Of these, builds that an event overtook.
        durations: How long the builds took that began.
        evicted: Entries that had to go, by the bound that was reached: `entries`, `bytes`, `gone` or `asked`.
        threads_made_anew: How often threads of this process's caches ended by mistake, or did not start, and were
            made anew.
    """

    outcomes: Mapping[str, int]
    builds: int
    entries: int
    held_bytes: int
    building: int
    queued: int
    abandoned: int
    waiting: int
    followers: int
    streams: int
    events: int
    slowest_build_s: float
    dropped_notices: int
    journal_seq: int | None = None
    journal_pending: int = 0
    journal_lag_s: float | None = None
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    overtaken: int = 0
    durations: Durations = field(default_factory=Durations)
    evicted: Mapping[str, int] = field(default_factory=dict)
    threads_made_anew: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the cache does its work, and what is in its way.

    Attributes:
        running: It was started and not stopped.
        healthy: It runs, no build, check or callable fails, builds may start, the journal can be reached, and no
            thread is missing.
        failing: Why the last build of a key failed, for the keys whose last build did within the last minute, of
            profiles that are there.
        failing_callables: The callables given to the cache that failed when they were last called.
        abandoned: Builds that hang.
        journal_lag_s: Seconds for which nothing was heard of the journal; 0 while it can be reached, None without
            one.
        journal_failure: Why it cannot be read or written now; None if it can.
        missing_threads: The names of the cache's threads that should run and do not: the machine refused one, or
            something from outside ended it. It is made anew by the next call that needs it.
        failing_checks: Why the last check of a scope failed, by one of its keys: of those that hang, or that
            failed in the last minute.
        notes: What the sources found that a user should know, and that stands in the way of no read.
    """

    running: bool
    healthy: bool
    failing: Mapping[Any, str]
    failing_callables: frozenset[str]
    abandoned: int
    journal_lag_s: float | None = None
    journal_failure: str | None = None
    missing_threads: frozenset[str] = frozenset()
    failing_checks: Mapping[Any, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lookup_of(
    served: Served, now_s: float, decode: Callable[[Content], P], journal: JournalStatus | None
) -> Lookup[P]:
    """Tell of an answer."""
    entry, failure = served.entry, served.failure
    error = failure_error(entry.target, failure, now_s) if failure else None
    return Lookup(
        outcome=served.outcome,
        reason=served.reason,
        age_s=max(0.0, now_s - entry.built_at_s),
        version=entry.version,
        stamp=entry.stamp.as_mapping(),
        build_s=entry.build_s,
        overtaken_by=served.overtaken_by,
        error=error,
        retry_in_s=error.retry_in_s if error else None,
        journal_lag_s=journal.lag_s if journal else 0.0,
        content=entry.content,
        decode=decode,
    )


def stats_of(
    state: State,
    tally: Tally,
    dropped_notices: int,
    journal: JournalStatus | None,
    *,
    followers: int,
) -> Stats:
    """Tell of a state, and of what is counted beside it."""
    return Stats(
        outcomes=tally.outcomes,
        builds=state.last_build,
        entries=len(state.entries),
        held_bytes=state.held_bytes,
        building=state.running(),
        queued=len(state.queue),
        abandoned=len(state.abandoned),
        waiting=state.waiting,
        followers=followers,
        streams=len(state.streams.active),
        events=state.position,
        slowest_build_s=max((entry.build_s for entry in state.entries.values()), default=0.0),
        dropped_notices=dropped_notices,
        journal_seq=journal.seq if journal else None,
        journal_pending=journal.pending if journal else 0,
        journal_lag_s=journal.lag_s if journal else None,
        reasons=tally.reasons,
        ended=tally.ended,
        overtaken=tally.overtaken,
        durations=tally.durations,
        evicted=tally.evicted,
        threads_made_anew=threads_made_anew(),
    )


def health_of(  # noqa: PLR0913 - each is one thing that it tells of
    state: State,
    policy: Policy,
    failing_callables: frozenset[str],
    journal: JournalStatus | None,
    *,
    running: bool,
    missing_threads: frozenset[str] = frozenset(),
    now_s: float = -inf,
    notes: tuple[str, ...] = (),
) -> Health:
    """Say whether all is well; to be asked for a profile that is not there is no failure."""
    since_s = now_s - max(_RECENT_S, policy.retry_delay_max)
    # A key that readers ask for is tried again before that, and then fails again.
    failing = {
        key: failure.why
        for key, failure in state.failures.items()
        if failure.at_s >= since_s and not isinstance(failure.cause, ProfileNotFoundError)
    }
    checks = _failing_checks(state, now_s)
    may_build = len(state.abandoned) < policy.max_abandoned
    journal_failure = journal.failure if journal else None
    missing = missing_threads | journal.missing_threads if journal else missing_threads
    return Health(
        running=running,
        healthy=running
        and may_build
        and not (failing or failing_callables or checks or journal_failure or missing),
        failing=failing,
        failing_callables=failing_callables,
        abandoned=len(state.abandoned),
        journal_lag_s=journal.lag_s if journal else None,
        journal_failure=journal_failure,
        missing_threads=missing,
        failing_checks=checks,
        notes=notes,
    )


def _failing_checks(state: State, now_s: float) -> dict[Hashable, str]:
    return {
        scope.target.key: scope.failure.why
        for scope in state.scopes.values()
        if scope.failure and (scope.is_late or now_s - scope.failure.at_s <= _RECENT_S)
    }
