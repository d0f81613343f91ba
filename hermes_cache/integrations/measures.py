"""What is measured of a cache, as one table: names, meanings and labels, and where each value comes from.

All values come from `stats()` and `health()`, so that measuring costs readers nothing. Labels have few values:
none names a key, a profile or a process. The dashboard and the alert rules are held to this table.
Source: rules E6, L4, W1; the names follow https://prometheus.io/docs/practices/naming/.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import attrgetter
from typing import Final, Literal, Protocol, TypeAlias, get_args

from hermes_cache.cache.lookups import Health, Stats
from hermes_cache.core.record import BUILD_BOUNDS_S, PastOutcome
from hermes_cache.core.state import Outcome
from hermes_cache.core.transitions import Bound
from hermes_cache.journal.bus import Bus

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = Mapping[Labels, float]
"""The value of each combination of labels."""

Readings: TypeAlias = Mapping[str, Values]
"""The values of each measure, by its name."""

_READS: Final[tuple[Labels, ...]] = (
    ("hit", "none"),
    *product(["stale"], ["age", "source"]),
    *product(["built", "waited"], ["age", "source", "event", "miss"]),
    ("outdated", "event"),
)
_ERRORS: Final = ("BuildError", "BuildTimeoutError", "CacheBusyError", "LookupTimeoutError")
"""What is likely to happen has a value of 0 before it does: the first time would be no increase otherwise."""

_OUTCOMES: Final = frozenset(get_args(Outcome))
"""A read that has none of these raised; then the name of the error is counted."""

SUM: Final = "sum"
"""Stands among the bounds of a histogram for the sum of all that it counts."""


class Measured(Protocol):
    """Whatever tells of itself as a cache does."""

    @property
    def bus(self) -> Bus:
        """Where its monitors hear of builds."""

    def stats(self) -> Stats:
        """Return counts and sizes."""

    def health(self) -> Health:
        """Say whether it does its work."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured.

    Attributes:
        name: Its name, for a counter without `_total`.
        meaning: What a person reads of it.
        kind: A counter only grows while its process lives; a gauge is how it is now.
        read: Returns the values; none if there is nothing to tell.
        labels: The names of its labels, beside that of the cache. Those of a histogram are not among them: its
            values are counts by `le`, each without those of the bounds before it, and `SUM`.
        joined: How the values of several processes become one.
    """

    name: str
    meaning: str
    kind: Literal["counter", "gauge", "histogram"]
    read: Callable[[Stats, Health], Values]
    labels: Labels = ()
    joined: Literal["sum", "max", "min"] = "sum"

    def join(self, values: Iterable[float]) -> float:
        """Return one value for those of several processes."""
        match self.joined:
            case "sum":
                return sum(values)
            case "max":
                return max(values)
            case "min":
                return min(values)


def readings_of(caches: Mapping[str, Measured]) -> dict[str, dict[Labels, float]]:
    """Return what is measured of caches now; the name of the cache is the first label."""
    readings: dict[str, dict[Labels, float]] = {measure.name: {} for measure in MEASURES}
    for name, cache in caches.items():
        stats, health = cache.stats(), cache.health()
        for measure in MEASURES:
            values = measure.read(stats, health)
            readings[measure.name].update({(name, *labels): value for labels, value in values.items()})
    return readings


def joined(all_readings: Iterable[Readings]) -> dict[str, dict[Labels, float]]:
    """Return the readings of several processes as one."""
    found: dict[str, dict[Labels, list[float]]] = {measure.name: defaultdict(list) for measure in MEASURES}
    for readings in all_readings:
        for name, values in readings.items():
            for labels, value in values.items():
                # Another version of the package may have another table.
                found.get(name, defaultdict(list))[labels].append(value)
    return {
        measure.name: {labels: measure.join(values) for labels, values in found[measure.name].items()}
        for measure in MEASURES
    }


def _stat(name: str) -> Callable[[Stats, Health], Values]:
    return partial(_one, attrgetter(name))


def _one(get: Callable[[Stats], float | None], stats: Stats, _health: Health) -> Values:
    value = get(stats)
    return {} if value is None else {(): value}


def _by(name: str, known: Iterable[str]) -> Callable[[Stats, Health], Values]:
    return partial(_counted, attrgetter(name), dict.fromkeys(known, 0))


def _counted(
    get: Callable[[Stats], Mapping[str, int]], known: Mapping[str, int], stats: Stats, _health: Health
) -> Values:
    return {(label,): count for label, count in {**known, **get(stats)}.items()}


def _reads(stats: Stats, _health: Health) -> Values:
    found: dict[Labels, float] = dict.fromkeys(_READS, 0.0)
    for outcome, counts in stats.reasons.items():
        found.update({(outcome, reason): count for reason, count in counts.items()})
    found["hit", "none"] = stats.outcomes.get("hit", 0)
    return found


def _read_errors(stats: Stats, _health: Health) -> Values:
    found: dict[str, int] = dict.fromkeys(_ERRORS, 0)
    found.update({name: count for name, count in stats.outcomes.items() if name not in _OUTCOMES})
    return {(name,): count for name, count in found.items()}


def _durations(stats: Stats, _health: Health) -> Values:
    names = [*map(str, BUILD_BOUNDS_S), "+Inf", SUM]
    values = [*stats.durations.counts, stats.durations.sum_s]
    return {(name,): value for name, value in zip(names, values, strict=True)}


def _failing(_stats: Stats, health: Health) -> Values:
    return {
        ("views",): len(health.failing),
        ("checks",): len(health.failing_checks),
        ("callables",): len(health.failing_callables),
        ("threads",): len(health.missing_threads),
        ("journal",): float(health.journal_failure is not None),
    }


def _healthy(_stats: Stats, health: Health) -> Values:
    # A cache that nobody has read yet does not run, and is not ill.
    return {(): float(health.healthy)} if health.running else {}


MEASURES: Final = (
    Measure(
        "hermes_cache_reads",
        "Reads that were answered, by outcome, and by the reason why they were no hit.",
        "counter",
        _reads,
        ("outcome", "reason"),
    ),
    Measure("hermes_cache_read_errors", "Reads that raised, by error.", "counter", _read_errors, ("error",)),
    Measure(
        "hermes_cache_builds",
        "Builds that ended, by what became of them.",
        "counter",
        _by("ended", get_args(PastOutcome)),
        ("outcome",),
    ),
    Measure(
        "hermes_cache_builds_overtaken",
        "Builds that an event overtook, so that another one followed.",
        "counter",
        _stat("overtaken"),
    ),
    Measure("hermes_cache_build_duration_seconds", "How long builds took.", "histogram", _durations),
    Measure("hermes_cache_builds_running", "Builds that run now.", "gauge", _stat("building")),
    Measure("hermes_cache_builds_queued", "Builds that wait for room.", "gauge", _stat("queued")),
    Measure(
        "hermes_cache_builds_hanging",
        "Builds that were given up and still hold a thread.",
        "gauge",
        _stat("abandoned"),
    ),
    Measure("hermes_cache_readers_waiting", "Reads that wait for a build.", "gauge", _stat("waiting")),
    Measure(
        "hermes_cache_followers", "Views that are followed, each as often as it is.", "gauge", _stat("followers")
    ),
    Measure("hermes_cache_streams", "Streams that are active.", "gauge", _stat("streams"), joined="max"),
    Measure("hermes_cache_entries", "Payloads that are held.", "gauge", _stat("entries")),
    Measure(
        "hermes_cache_held_bytes", "Encoded size of the payloads that are held.", "gauge", _stat("held_bytes")
    ),
    Measure(
        "hermes_cache_evictions",
        "Payloads that had to go, by the bound that was reached.",
        "counter",
        _by("evicted", get_args(Bound)),
        ("bound",),
    ),
    Measure("hermes_cache_events", "Events that were applied.", "counter", _stat("events")),
    Measure(
        "hermes_cache_notices_dropped",
        "Announcements that were dropped because monitors were too slow.",
        "counter",
        _stat("dropped_notices"),
    ),
    Measure(
        "hermes_cache_journal_lag_seconds",
        "Seconds for which nothing was heard of the journal; 0 while it can be reached.",
        "gauge",
        _stat("journal_lag_s"),
        joined="max",
    ),
    Measure(
        "hermes_cache_journal_pending_events",
        "Events of this process that the journal does not have yet.",
        "gauge",
        _stat("journal_pending"),
    ),
    Measure(
        "hermes_cache_threads_made_anew",
        "Threads of the cache that ended by mistake, or did not start, and were made anew.",
        "counter",
        _stat("threads_made_anew"),
    ),
    Measure(
        "hermes_cache_failing",
        "How many views, checks, callables or threads fail now, and whether the journal does.",
        "gauge",
        _failing,
        ("what",),
    ),
    Measure(
        "hermes_cache_healthy",
        "1 if nothing stands in the way of the cache, else 0; of several processes the worst.",
        "gauge",
        _healthy,
        joined="min",
    ),
)
"""All that is measured."""
