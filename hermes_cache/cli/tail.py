"""`hermes-cache tail`: the last events of a journal, and new ones as they come."""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final, TypeAlias, TypedDict, Unpack

import click

from hermes_cache.cli.journals import one_word, opened_journal, print_found
from hermes_cache.cli.options import bus_option, journal_option, json_option
from hermes_cache.cli.output import progress
from hermes_cache.core.events import profile_of
from hermes_cache.errors import JournalDamagedError, JournalGapError, JournalUnavailableError
from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Position, Recorded

_Found: TypeAlias = Recorded | JournalDamagedError
"""What a reader finds: an event, or rows that are damaged."""

_PART: Final = 1000
_RETRY_S: Final = 0.5

_WAITS: Final = "No events{} yet; waiting for new ones. Ctrl-C ends it."

_WAIT_S: Final = 1.0
"""If a notification of PostgreSQL is lost, the event is printed so much later."""


class _Options(TypedDict):
    lines: int
    bus: str | None
    profile: str | None
    as_json: bool


@click.command()
@journal_option
@click.option("--follow", "-f", is_flag=True, help="Print new events as they come, until Ctrl-C.")
@click.option(
    "--lines", "-n", type=click.IntRange(0), default=10, show_default=True, help="How many of the last events."
)
@bus_option("Leave out events of other buses.  [default: all]", default=None)
@click.option("--profile", help="Leave out events of other profiles.")
@json_option
def tail(url: str, *, follow: bool, **options: Unpack[_Options]) -> None:
    """Print the last events of a journal, oldest first, one a line; with --json, an object a line.

    \b
    Examples:
      hermes-cache tail --journal sqlite:///journal.db --follow
      hermes-cache tail --journal sqlite:///journal.db --lines 100 --json
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    if follow:
        # A shell that starts the command in the background has SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    quiet_end = (KeyboardInterrupt,) if follow else ()
    with suppress(*quiet_end), opened_journal(url) as journal:
        wanted = partial(_is_wanted, options["bus"], options["profile"])
        end = journal.end()
        with progress("Reading the journal", counts=False):
            last = _last(journal, end, options["lines"], wanted)
        if follow and not last and options["lines"]:
            click.echo(_WAITS.format(_whose(options)), err=True)
        elif not last and options["lines"]:
            click.echo(f"The journal has no events{_whose(options)}; --follow waits for new ones.", err=True)
        coming = filter(wanted, _followed(journal, end)) if follow else ()
        for found in chain(last, coming):
            print_found(found, as_json=options["as_json"])


def _whose(options: _Options) -> str:
    on_bus = "" if options["bus"] is None else f" of the bus {options['bus']}"
    profile = options["profile"]
    return on_bus if profile is None else f"{on_bus} that touch the profile {one_word(profile)}"


def _is_wanted(bus: str | None, profile: str | None, found: _Found) -> bool:
    if isinstance(found, JournalDamagedError):
        return True
    is_of_profile = profile is None or profile_of(found.event) in (None, profile)
    return is_of_profile and bus in (None, found.event.id.bus)


def _last(journal: Journal, end: Position, count: int, wanted: Callable[[_Found], bool]) -> list[_Found]:
    start = _start(journal)
    # Backwards, a part at a time: the last ones of a profile are seldom far from the end.
    found: deque[_Found] = deque()
    until = end.seq
    while until > start and len(found) < count:
        after = max(start, until - max(_PART, count))
        part = [*filter(wanted, _between(journal, Position(end.journal, after), until))]
        found.extendleft(reversed(part))
        until = after
    return list(found)[max(0, len(found) - count) :]


def _between(journal: Journal, after: Position, until: int) -> Iterator[_Found]:
    for part in parts_after(journal, after):
        yield from (recorded for recorded in part.recorded if recorded.position.seq <= until)
        if part.damaged and part.position.seq <= until:
            yield part.damaged
        if part.position.seq >= until:
            return


def _start(journal: Journal) -> int:
    try:
        snapshot = journal.snapshot()
    except JournalDamagedError as error:
        if error.seq is None:
            raise
        return error.seq
    return snapshot.position.seq if snapshot else 0


def _followed(journal: Journal, end: Position) -> Iterator[_Found]:
    position: Position | None = end
    reached = True
    while True:
        try:
            seen = journal.stamp()
            position = position or journal.end()
            for part in parts_after(journal, position):
                position = part.position
                yield from part.recorded
                if part.damaged:
                    yield part.damaged
            if not reached:
                click.echo("the journal is back", err=True)
            reached = True
            journal.wait(seen, timeout_s=_WAIT_S)
        except JournalGapError as gap:
            click.echo(f"events after {gap.seq} are missed: {gap.reason}; going on from the end", err=True)
            position = None
        except JournalUnavailableError as error:
            if reached:
                click.echo(str(error), err=True)
            reached = False
            time.sleep(_RETRY_S)
