"""`hermes-cache explain`: why a list is as it is, asked of a running gateway or of a journal."""

import json
from collections import deque
from typing import TypedDict, Unpack

import click

from hermes_cache.cli.gateways import DEFAULT_URL, asked_gateway
from hermes_cache.cli.journals import one_word, opened_journal, print_found
from hermes_cache.cli.options import bus_option, json_option, pairs
from hermes_cache.cli.output import Report, progress
from hermes_cache.core.events import (
    SESSIONS,
    AppliedEvent,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalDamagedError
from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Position, Recorded


class _Options(TypedDict):
    url: str | None
    token: str | None
    query: tuple[tuple[str, str], ...]
    journal: str | None
    bus: str | None
    limit: int
    profile: str | None
    as_json: bool


@click.command()
@click.option("--url", metavar="URL", help=f"The gateway to ask.  [default: {DEFAULT_URL}]")
@click.option("--token", envvar="HERMES_CACHE_TOKEN", show_envvar=True, help="The gateway's token.")
@click.option("--profile", metavar="NAME",
              help="The profile of the list.  [default: the root profile; with --journal: all]")  # fmt: skip
@click.option("--query", multiple=True, callback=pairs, metavar="NAME=VALUE",
              help="A parameter of the view, as for /api/sessions; can be given again.")  # fmt: skip
@click.option(
    "--journal", metavar="URL", help="Ask no gateway: print which events of a journal touched the profile."
)
@bus_option("With --journal: the bus of the list.  [default: sessions]", default=None)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True,
              help="With --journal: how many events, the newest last.")  # fmt: skip
@json_option
def explain(**options: Unpack[_Options]) -> None:
    """Say why a list is as it is: what is held, which events touched it, its builds, and what readers got.

    \b
    Examples:
      hermes-cache explain --profile work --query show_cli=1
      hermes-cache explain --journal sqlite:///journal.db --profile work
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    if options["journal"] is None:
        if options["bus"] is not None:
            raise click.UsageError("--bus is for --journal: a gateway has the list of one bus")
        _explain_by_gateway(options)
        return
    if options["url"] is not None or options["query"]:
        raise click.UsageError("a journal knows only profiles: leave out --url and --query, or --journal")
    _explain_by_journal(options["journal"], options)


def _explain_by_gateway(options: _Options) -> None:
    query = list(options["query"])
    if options["profile"] is not None:
        query.append(("profile", options["profile"]))
    answer = asked_gateway(
        options["url"] or DEFAULT_URL, "/api/explain", query, field="story", token=options["token"]
    )
    click.echo(json.dumps(answer) if options["as_json"] else answer.get("story"))


def _explain_by_journal(url: str, options: _Options) -> None:
    profile = options["profile"]
    with opened_journal(url) as journal, progress("Reading the journal") as report:
        bus = options["bus"] or SESSIONS
        found, damaged, named = _events_touching(journal, bus, profile, report, limit=options["limit"])
    if profile is not None and profile not in named:
        known = f"; it names {', '.join(map(one_word, sorted(named)))}" if named else ""
        click.echo(f"No event in the journal names the profile {one_word(profile)}{known}.", err=True)
    for row in damaged:
        print_found(row, as_json=options["as_json"])
    for event in found:
        print_found(event, as_json=options["as_json"])
    if not found:
        click.echo("No event in the journal touched it.", err=True)


def _events_touching(
    journal: Journal, bus: str, profile: str | None, report: Report, *, limit: int
) -> tuple[list[Recorded], list[JournalDamagedError], set[str]]:
    """Return the last events that touched a profile, oldest first, the damaged rows, and the profiles named.

    Source: rules J7, V1, H5.
    """
    snapshot, end = journal.snapshot(), journal.end()
    start = snapshot.position if snapshot else Position(end.journal)
    named: set[str] = set()
    streams: dict[str, str | None] = {}
    found: deque[Recorded] = deque(maxlen=limit)
    damaged: list[JournalDamagedError] = []
    for part in parts_after(journal, start):
        of_bus = [each for each in part.recorded if each.event.id.bus == bus]
        touched = [(each, touched_profile(each.event, streams)) for each in of_bus]
        named.update(whose for _, whose in touched if whose is not None)
        found.extend(each for each, whose in touched if profile is None or whose in (None, profile))
        if part.damaged:
            damaged.append(part.damaged)
        report(part.position.seq, end.seq)
    return list(found), damaged, named


def touched_profile(event: AppliedEvent, streams: dict[str, str | None]) -> str | None:
    """Return the profile that an event touches, as published; None for all.

    Args:
        event: The next event.
        streams: The profiles of the streams that have begun: a stop names no profile. It is kept up here.
    """
    match event:
        case SettingsChanged():
            return None
        case SessionListChanged(profile=profile):
            return _named(profile)
        case StreamStarted(stream_id=stream_id, profile=profile):
            streams[stream_id] = known = streams.get(stream_id) or _named(profile)
            return known
        case StreamStopped(stream_id=stream_id):
            return streams.pop(stream_id, None)


def _named(profile: str | None) -> str | None:
    return profile if profile and profile.strip() else None
