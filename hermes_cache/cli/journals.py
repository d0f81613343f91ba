"""What the commands that read or write a journal share: how they open it, and how they print events."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Final

import click

from hermes_cache.bus.codec import to_plain
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalDamagedError, JournalError, JournalGapError
from hermes_cache.ports import Journal, Recorded

_SHORT: Final = 8


@contextmanager
def opened_journal(url: str, *, make: bool = False) -> Iterator[Journal]:
    """Open a journal. If the journal fails, end the command with exit code 1 and a message.

    Args:
        url: The value of `journal_option`.
        make: Make an SQLite file if there is none; otherwise a missing file is a failure.
    """
    # Imported only now, because SQLAlchemy takes longer to import than a help takes in all.
    from hermes_cache.journal.files import missing_journal_file  # noqa: PLC0415
    from hermes_cache.journal.sqlalchemy_journal import journal_at  # noqa: PLC0415

    try:
        with closing(journal_at(url)) as journal:
            missing = None if make else missing_journal_file(url)
            if missing:
                raise click.ClickException(f"there is no journal at {click.format_filename(missing)}")
            yield journal
    except JournalGapError as error:
        reason = f"the journal was compacted or replaced meanwhile: {error.reason}; try again"
        raise click.ClickException(reason) from error
    except JournalError as error:
        raise click.ClickException(str(error)) from error


def print_found(found: Recorded | JournalDamagedError, *, as_json: bool) -> None:
    """Print what a reader of a journal found: an event as a line, a damaged row as a message."""
    if isinstance(found, JournalDamagedError):
        click.echo(f"{found.what}, and passed over: {found.reason}", err=True)
        return
    position = found.position
    if as_json:
        click.echo(json.dumps({"seq": position.seq, "journal": position.journal} | to_plain(found.event)))
    else:
        click.echo(f"{event_line(found.event)}  seq={position.seq}")


def event_line(event: AppliedEvent) -> str:
    """Return an event as a line for people: its time, kind, fields, and the process that published it."""
    plain = to_plain(event)
    fields = [
        f"{name.removesuffix('_id')}={one_word(plain[name])}"
        for name in ("bus", "profile", "session_id", "stream_id", "reason")
        if name in plain
    ]
    publisher = f"by={one_word(event.id.incarnation[:_SHORT])}:{event.id.number}"
    kind = str(plain["kind"]).replace("_", "-")
    return "  ".join([local_time(event.at_s), f"{kind:20}", *fields, publisher])


def one_word(value: object) -> str:
    """Return a text so that it is one word on one line of a terminal, whatever it contains."""
    word = str(value)
    return word if word.isprintable() and word and " " not in word else repr(word)


def local_time(at_s: float) -> str:
    """Return a moment in this machine's time zone; one that no calendar has is printed as a number."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{at_s:g}"
