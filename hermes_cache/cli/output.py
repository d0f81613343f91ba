"""What commands print: tables and progress for people, and what becomes of output that cannot be written.

At a terminal tables have colours and fit the width; in a pipe or a file they are plain lines, and nothing is cut.
`NO_COLOR`, `FORCE_COLOR` and `TERM` are obeyed. Whatever a text holds, it prints as one line. rich is imported
when something is printed, so that a help needs none of it. Source: rules W3, W6.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from threading import Lock, Timer
from typing import Final, TypeAlias

import click

_LONG_S: Final = 1.0
"""Work that ends sooner shows no progress."""

_FRAMES_PER_S: Final = 4
"""Each frame costs the work a millisecond."""

_UNBOUNDED: Final = 10_000
"""The width of what is not a terminal."""

_STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("hit", "fresh", "stored", "fine"), "green"),
    **dict.fromkeys(("stale", "aged", "moved", "unchecked", "discarded", "hint"), "yellow"),
    **dict.fromkeys(("wrong", "failed", "abandoned", "outdated", "missing"), "red"),
}
"""The colours of words that say how good something is; a cell that holds such a word alone has its colour."""

_UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT})
"""What is wrong with the output, and not with the command."""

Report: TypeAlias = Callable[[int, int | None], None]
"""Takes how much of a work is done, and how much there is in all; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: What it shows, in a few words.
        headings: The names of its columns; no names are printed if they are all empty.
        rows: Its rows. A number stands at the right of its column. Of a pair of texts the second one stands out.
        widths: The least width of its columns, from the left, so that those of several tables stand in line; it is
            left out if that would take more than half of the terminal.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    widths: Sequence[int] = ()


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to standard output, an empty line between them; one without rows is left out."""
    from rich.console import Console  # noqa: PLC0415 - see the head of this module

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=_UNBOUNDED)
    with console.capture() as captured:
        for number, table in enumerate(each for each in tables if each.rows):
            console.print(*([""] if number else []), _rich_table(table, console.width), sep="\n")
    # Columns are filled up with spaces, which is of no use in a file.
    text = captured.get() if console.is_terminal else re.sub(r" +$", "", captured.get(), flags=re.MULTILINE)
    click.echo(text, nl=False, color=True)


def _rich_table(table: Table, terminal_width: int) -> object:
    from rich.table import Table as RichTable  # noqa: PLC0415 - see the head of this module
    from rich.text import Text  # noqa: PLC0415

    made = RichTable(
        title=Text(_printable(table.title), style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=any(table.headings),
        header_style="dim",
    )
    widths = table.widths if 2 * sum(table.widths) <= terminal_width else ()
    for number, heading in enumerate(table.headings):
        is_numbers = all(isinstance(row[number], int | float) for row in table.rows)
        width = widths[number] if number < len(widths) else None
        made.add_column(heading, justify="right" if is_numbers else "left", overflow="fold", min_width=width)

    def styled(cell: object) -> Text:
        match cell:
            case (str(plain), str(outstanding)):
                return Text.assemble(_printable(plain), (_printable(outstanding), "bold"))
            case int():
                return Text(f"{cell:,}")
        return Text(word := _printable(str(cell)), style=_STYLES.get(word, ""))

    for row in table.rows:
        made.add_row(*map(styled, row))
    return made


def _printable(text: str) -> str:
    return "".join([sign if sign.isprintable() else " " for sign in text])


@contextmanager
def progress(what: str, *, counts: bool = True) -> Iterator[Report]:
    """Show people at a terminal how far a work is, once it takes longer than a second; scripts see nothing.

    Args:
        what: What is being done, such as 'Reading the journal'.
        counts: Whether it is said meanwhile how much is done.
    """
    shown = _Progress(what, counts=counts)
    timer = Timer(_LONG_S, shown.begin)
    timer.daemon = True
    if sys.stderr is not None and sys.stderr.isatty():
        timer.start()
    try:
        yield shown.note
    finally:
        timer.cancel()
        shown.end()


class _Progress:
    """A line at a terminal, from `begin`, which may never come, to `end`."""

    def __init__(self, what: str, *, counts: bool) -> None:
        self._what = what
        self._counts = counts
        self._lock = Lock()
        self._is_over = False
        self._reported: tuple[int, int | None] = (0, None)
        self._show: Report | None = None
        self._remove: Callable[[], None] | None = None

    def begin(self) -> None:
        from rich import progress as bars  # noqa: PLC0415 - see the head of this module
        from rich.console import Console  # noqa: PLC0415

        with self._lock:
            if self._is_over:
                return
            counted = (bars.BarColumn(), bars.MofNCompleteColumn()) if self._counts else ()
            bar = bars.Progress(
                bars.SpinnerColumn(),
                bars.TextColumn("{task.description} ..."),
                *counted,
                bars.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=_FRAMES_PER_S,
            )
            done, total = self._reported
            task = bar.add_task(self._what, completed=done, total=total)
            self._show = lambda done, total: bar.update(task, completed=done, total=total)
            self._remove = bar.stop
            bar.start()

    def note(self, done: int, total: int | None) -> None:
        self._reported = (done, total)
        if self._show is not None:
            self._show(done, total)

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            if self._remove is not None:
                self._remove()


@contextmanager
def refusing_unwritable_output() -> Iterator[None]:
    """End a command with one line if its output is a pipe that was closed, or a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        forget_output()
        what = error.filename or "the output"
        raise click.ClickException(f"cannot write {what}: {error.strerror}") from error


def escape_what_has_no_sign() -> None:
    """Print what the terminal's character set lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def forget_output() -> None:
    """Drop what standard output could not take; else the end of the process tries again, in vain."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for good
