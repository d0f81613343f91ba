"""What `hermes-cache stats` counts in a journal, and how it shows that."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hermes_cache.bus.codec import to_plain
from hermes_cache.cli.explain import touched_profile
from hermes_cache.cli.journals import local_time
from hermes_cache.cli.output import Report, Table
from hermes_cache.core.events import SESSIONS
from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Position


@dataclass(slots=True)
class JournalCount:
    """What a journal holds.

    Attributes:
        start: The position behind what was compacted.
        end: The position of the newest event.
        kinds: Its events by kind.
        profiles: Its events by profile, those that touch all profiles under None.
        buses: Its events by the name of their bus.
        publishers: The incarnations that published them.
        damaged: Rows that are gone or damaged.
        times_s: When the oldest and the newest of them were published, in epoch seconds; None without events.
    """

    start: Position
    end: Position
    kinds: Counter[str] = field(default_factory=Counter)
    profiles: Counter[str | None] = field(default_factory=Counter)
    buses: Counter[str] = field(default_factory=Counter)
    publishers: set[str] = field(default_factory=set)
    damaged: int = 0
    times_s: tuple[float, float] | None = None

    def plain(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "journal": self.end.journal,
            "seq": self.end.seq,
            "compacted": self.start.seq,
            "events": self.kinds.total(),
            "kinds": dict(self.kinds),
            "profiles": [{"profile": name, "events": count} for name, count in self.profiles.most_common()],
            "buses": dict(self.buses),
            "publishers": len(self.publishers),
            "damaged": self.damaged,
            "first_at_s": self.times_s[0] if self.times_s else None,
            "last_at_s": self.times_s[1] if self.times_s else None,
        }


def count_journal(journal: Journal, report: Report) -> JournalCount:
    """Count the events that a journal holds.

    Raises:
        JournalError: It cannot be read.
    """
    snapshot, end = journal.snapshot(), journal.end()
    start = snapshot.position if snapshot else Position(end.journal)
    counted, streams = JournalCount(start, end), dict[str, str | None]()
    for part in parts_after(journal, start):
        counted.damaged += len(part.lost)
        for each in part.recorded:
            event = each.event
            counted.kinds[str(to_plain(event)["kind"])] += 1
            counted.profiles[touched_profile(event, streams)] += 1
            counted.buses[event.id.bus] += 1
            counted.publishers.add(event.id.incarnation)
            first_s, last_s = counted.times_s or (event.at_s, event.at_s)
            counted.times_s = (min(first_s, event.at_s), max(last_s, event.at_s))
        report(part.position.seq - start.seq, end.seq - start.seq)
    return counted


def journal_tables(counted: JournalCount) -> Iterator[Table]:
    """Return the tables of a count, for people."""
    rows: list[tuple[object, object]] = [
        ("last event", counted.end.seq),
        ("kept", counted.kinds.total()),
        ("compacted", counted.start.seq),
        ("damaged", counted.damaged),
        ("publishers", len(counted.publishers)),
    ]
    yield Table("Journal", ("", ""), rows)
    if counted.times_s:
        first_s, last_s = counted.times_s
        yield Table("Published", ("", ""), [("first", local_time(first_s)), ("last", local_time(last_s))])
    kinds = [(kind.replace("_", "-"), count) for kind, count in counted.kinds.most_common()]
    yield Table("Events", ("kind", "events"), kinds)
    buses = counted.buses.most_common() if counted.buses.keys() - {SESSIONS} else ()
    yield Table("Buses", ("bus", "events"), buses)
    profiles = [("(all)" if name is None else name, count) for name, count in counted.profiles.most_common()]
    yield Table("Profiles", ("profile", "events"), profiles)
