"""`hermes-cache compact`: fold the oldest events of a journal into its snapshot."""

import json
import re
import time
from datetime import timedelta
from typing import Final

import click

from hermes_cache.cli.journals import opened_journal
from hermes_cache.cli.options import journal_option, json_option
from hermes_cache.cli.output import progress
from hermes_cache.core.policy import Policy
from hermes_cache.journal.snapshots import fold_snapshot

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DEFAULTS: Final = Policy()


def _span_s(_context: click.Context, _option: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", value, re.ASCII)
    if not found:
        raise click.BadParameter(
            f"{value!r} is no time span; give whole seconds, or a span such as 15m, 12h or 7d"
        )
    return timedelta(**{_UNITS[found[2] or "s"]: int(found[1])}).total_seconds()


@click.command()
@journal_option
@click.option("--max-age", "max_age_s", callback=_span_s, metavar="SPAN", show_default=True,
              default=f"{_DEFAULTS.journal_max_age / 86400:g}d",
              help="Remove older events: seconds, or such as 15m, 12h, 7d.")  # fmt: skip
@click.option("--max-events", type=click.IntRange(0), default=_DEFAULTS.journal_max_events, show_default=True,
              help="Remove the oldest until so many of each bus are left.")  # fmt: skip
@json_option
def compact(url: str, *, max_age_s: float, max_events: int, as_json: bool) -> None:
    """Fold the oldest events of a journal into its snapshot, and print how many were removed.

    The snapshot keeps their result. A gateway that has not read them yet takes all its lists as outdated, once.

    \b
    Example:
      hermes-cache compact --journal sqlite:///journal.db --max-age 2d --max-events 10000
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    with opened_journal(url) as journal, progress("Compacting the journal", counts=False):
        gone = journal.compact(fold_snapshot, before_s=time.time() - max_age_s, max_events=max_events)
        end = journal.end()
    result = {"compacted": gone, "journal": end.journal, "seq": end.seq}
    click.echo(json.dumps(result) if as_json else f"Events compacted: {gone}.")
