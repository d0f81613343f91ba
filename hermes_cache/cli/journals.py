"""What the commands share that speak to a journal: the option that names it, and how its failures are told."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import click

from hermes_cache.errors import JournalError, JournalGapError
from hermes_cache.journal.files import missing_journal_file
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.ports import Journal

journal_option: Final = click.option(
    "--journal",
    "url",
    envvar="HERMES_CACHE_JOURNAL",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The journal: sqlite:////path/to/journal.db, or postgresql://...",
)
"""Names the journal; the command gets it as `url`."""

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Tell the result as JSON.")
"""Asks for JSON; the command gets it as `as_json`."""


@contextmanager
def opened_journal(url: str, *, make: bool = False) -> Iterator[Journal]:
    """Open a journal, and end the command with exit code 1 and a message where it fails.

    Args:
        url: What `journal_option` gave.
        make: Make an SQLite file that is not there; else that is a failure.
    """
    try:
        with closing(journal_at(url)) as journal:
            missing = None if make else missing_journal_file(url)
            if missing:
                raise click.ClickException(f"there is no journal at {click.format_filename(missing)}")
            yield journal
    except JournalError as error:
        raise click.ClickException(_told(error, url)) from error


def without_password(told: str) -> str:
    """Return what an error says, without the password that the journal's URL may have among its options."""
    return re.sub(r"(password=)[^&\s]*", r"\1***", told)


def _told(error: JournalError, url: str) -> str:
    if isinstance(error, JournalGapError):
        return f"the journal was compacted or replaced meanwhile: {error.reason}; try again"
    return without_password(str(error).replace(repr(url), "the URL given"))
