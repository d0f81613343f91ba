"""`hermes-cache stats`: what a running gateway has counted, or what a journal holds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypedDict, Unpack

import click

from hermes_cache.cli.gateways import DEFAULT_URL, asked_gateway
from hermes_cache.cli.journals import opened_journal
from hermes_cache.cli.options import json_option
from hermes_cache.cli.output import Table, print_tables, progress
from hermes_cache.explain.wording import span

_MOST_LISTS: Final = 20
"""The lists that were asked for last; `--json` has all that the gateway tells of."""

_BUILDS_NOW: Final = {"building": "building", "queued": "queued", "abandoned": "hanging"}
"""Counts of builds that are not over, by the words that people know."""

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB")
_UNIT: Final = 1024


class _Options(TypedDict):
    url: str | None
    token: str | None
    journal: str | None
    as_json: bool


@click.command()
@click.option("--url", metavar="URL", help=f"The gateway to ask.  [default: {DEFAULT_URL}]")
@click.option("--token", envvar="HERMES_CACHE_TOKEN", show_envvar=True, help="The gateway's token.")
@click.option("--journal", metavar="URL", help="Ask no gateway: count the events of a journal.")
@json_option
def stats(**options: Unpack[_Options]) -> None:
    """Print what a gateway has counted since its start, or what a journal holds.

    \b
    Examples:
      hermes-cache stats
      hermes-cache stats --url http://127.0.0.1:9000 --json
      hermes-cache stats --journal sqlite:///journal.db
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    url, journal_url = options["url"], options["journal"]
    if journal_url is None:
        answer = asked_gateway(url or DEFAULT_URL, "/api/cache", (), field="stats", token=options["token"])
        tables: Sequence[Table] = [*_gateway_tables(answer)] if not options["as_json"] else ()
    elif url is not None:
        raise click.UsageError("a journal is counted without a gateway: leave out --url, or --journal")
    else:
        # Imported only now, as what `opened_journal` imports.
        from hermes_cache.cli.journal_count import count_journal, journal_tables  # noqa: PLC0415

        with opened_journal(journal_url) as journal, progress("Reading the journal") as report:
            counted = count_journal(journal, report)
        answer, tables = counted.plain(), [*journal_tables(counted)]
    if options["as_json"]:
        click.echo(json.dumps(answer))
    else:
        print_tables(tables)


def _gateway_tables(answer: Mapping[str, object]) -> Iterator[Table]:
    counts = _mapping(answer.get("stats"))
    outcomes = {name: count for name, count in _mapping(counts.get("outcomes")).items() if isinstance(count, int)}
    reads, builds = sum(outcomes.values()), counts.get("builds")
    shares = [(name, count, f"{count / reads:.1%}") for name, count in sorted(outcomes.items(), key=_by_count)]
    yield Table("Reads", ("outcome", "reads", "share"), [*shares, ("all", reads, "")] if reads else ())
    ended = [(name, count) for name, count in _mapping(counts.get("ended")).items() if count]
    saved = [("saved", max(0, reads - builds))] if isinstance(builds, int) else []
    now = [(word, counts.get(name, 0)) for name, word in _BUILDS_NOW.items()]
    yield Table(
        "Builds", ("", "builds"), [("all", builds), *saved, *ended, ("overtaken", counts.get("overtaken", 0))]
    )
    held = [("lists", counts.get("entries", 0)), ("size", _size(counts.get("held_bytes")))]
    others = [(name, counts.get(name, 0)) for name in ("waiting", "followers", "streams", "events")]
    yield Table("Now", ("", ""), [*held, *now, *others])
    lag_s = counts.get("journal_lag_s")
    if isinstance(lag_s, int | float):
        rows = [("last event", counts.get("journal_seq")), ("pending", counts.get("journal_pending"))]
        yield Table("Journal", ("", ""), [*rows, ("not heard for", span(lag_s))])
    yield _lists(answer.get("entries"))


def _lists(entries: object) -> Table:
    known = [_mapping(each) for each in entries][-_MOST_LISTS:] if isinstance(entries, list) else []
    rows = [
        (each.get("key", ""), each.get("condition", ""), _span(each.get("age_s")), _span(each.get("build_s")))
        for each in reversed(known)
    ]
    return Table("Lists", ("list", "is", "age", "built in"), rows)


def _by_count(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _span(value: object) -> str:
    return span(value) if isinstance(value, int | float) else ""


def _size(value: object) -> str:
    """Return a number of bytes in the unit that suits it."""
    size = float(value) if isinstance(value, int | float) else 0.0
    for unit in _UNITS:
        if size < _UNIT or unit == _UNITS[-1]:
            break
        size /= _UNIT
    return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"
