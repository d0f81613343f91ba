"""`hermes-cache replay`: the state that a journal's events lead to."""

import json
import time
from collections.abc import Iterator
from math import inf

import click

from hermes_cache.bus.codec import to_plain
from hermes_cache.cli.journals import event_line, one_word, opened_journal
from hermes_cache.cli.options import bus_option, journal_option, json_option
from hermes_cache.cli.output import Report, progress
from hermes_cache.core.events import StreamStarted
from hermes_cache.core.policy import Policy
from hermes_cache.errors import JournalDamagedError, JournalGapError
from hermes_cache.journal import replaying
from hermes_cache.journal.agreed import EVERYTHING, AgreedState
from hermes_cache.ports import Journal


@click.command()
@journal_option
@bus_option("The bus whose state is printed.")
@click.option("--until", type=click.IntRange(0), metavar="SEQ", help="The last event to apply.  [default: all]")
@json_option
def replay(url: str, *, bus: str, until: int | None, as_json: bool) -> None:
    """Print the state that the events of a journal lead to, now or after any of them.

    All processes that share the journal agree on it: how many events were applied, which streams are active, and
    which event last outdated each profile's lists.

    \b
    Examples:
      hermes-cache replay --journal sqlite:///journal.db
      hermes-cache replay --journal sqlite:///journal.db --until 120 --json
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    with opened_journal(url) as journal, progress("Replaying the journal") as report:
        replayed = _replayed(journal, bus, until, report)
    now_s = time.time() if until is None else _moment_s(replayed.agreed)
    streams = replayed.agreed.active_streams(now_s, Policy().stream_lease)
    for run in _runs(replayed.damaged):
        click.echo(f"{run.what}, and passed over", err=True)
    if as_json:
        click.echo(_as_json(replayed, streams))
        return
    for line in _lines(replayed, streams):
        click.echo(line)


def _replayed(journal: Journal, bus: str, until: int | None, report: Report) -> replaying.Replay:
    last = journal.end().seq if until is None else until

    def note(seq: int) -> None:
        report(seq, last)

    if until is None:
        return replaying.replay(journal, bus=bus, noted=note)
    refused = f"the journal cannot be replayed until {until}"
    try:
        replayed = replaying.replay(journal, until=until, bus=bus, noted=note)
    except JournalGapError as gap:
        raise click.ClickException(f"{refused}: {gap.reason}") from gap
    if replayed.position.seq < until:
        raise click.ClickException(f"{refused}: it ends at {replayed.position.seq}")
    return replayed


def _runs(seqs: tuple[int, ...]) -> list[JournalDamagedError]:
    runs: list[JournalDamagedError] = []
    for seq in seqs:
        if runs and runs[-1].last_seq == seq - 1:
            runs[-1].last_seq = seq
        else:
            runs.append(JournalDamagedError(seq, "it cannot be read"))
    return runs


def _moment_s(agreed: AgreedState) -> float:
    """Return the time of the newest event: with --until, the streams that were active then are printed."""
    streams = (facts.at_s for facts in agreed.streams.values())
    return max((*streams, *(event.at_s for event in agreed.outdated.values())), default=-inf)


def _applied(agreed: AgreedState) -> int:
    return sum(last - first + 1 for numbers in agreed.applied.values() for first, last in numbers.ranges)


def _as_json(replayed: replaying.Replay, streams: dict[str, StreamStarted]) -> str:
    agreed = replayed.agreed
    return json.dumps(
        {
            "journal": replayed.position.journal,
            "seq": replayed.position.seq,
            "applied": _applied(agreed),
            "streams": [to_plain(streams[name]) for name in sorted(streams)],
            "outdated": [
                {"profile": None if name == EVERYTHING else name, "by": to_plain(agreed.outdated[name])}
                for name in sorted(agreed.outdated)
            ],
            "damaged": replayed.damaged,
        }
    )


def _lines(replayed: replaying.Replay, streams: dict[str, StreamStarted]) -> Iterator[str]:
    agreed = replayed.agreed
    yield f"Up to number {replayed.position.seq}, {_applied(agreed)} events were applied."
    yield "Active streams:" if streams else "No stream is active."
    for name in sorted(streams):
        yield f"  {event_line(streams[name])}"
    yield "Outdated, each with the last event that did it:" if agreed.outdated else "Nothing is outdated."
    for name in sorted(agreed.outdated):
        profile = "all profiles" if name == EVERYTHING else f"profile {one_word(name)}"
        yield f"  {profile}: {event_line(agreed.outdated[name])}"
