"""`hermes-cache explain`: why a list is as it is."""

import json
from typing import Final, TypedDict, Unpack

import click

from hermes_cache.cli.event_lines import human_line, json_line
from hermes_cache.cli.gateways import asked_gateway
from hermes_cache.cli.journals import json_option, opened_journal
from hermes_cache.cli.patience import told_when_long
from hermes_cache.cli.touching_events import events_touching

_DEFAULT_URL: Final = "http://127.0.0.1:8787"


class _Options(TypedDict):
    url: str | None
    token: str | None
    query: tuple[tuple[str, str], ...]
    journal: str | None
    limit: int
    profile: str | None
    as_json: bool


def _pairs(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = [each.partition("=") for each in given]
    wrong = [name + sign + value for name, sign, value in pairs if not (name and sign)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} must look like name=value, such as show_cli=1")
    return tuple([(name, value) for name, _, value in pairs])


@click.command()
@click.option("--url", metavar="URL", help=f"The gateway to ask.  [default: {_DEFAULT_URL}]")
@click.option("--token", envvar="HERMES_CACHE_TOKEN", show_envvar=True, help="What the gateway is shown.")
@click.option("--profile", metavar="NAME", help="Whose list.  [default: the root profile's; of a journal: all]")
@click.option("--query", multiple=True, callback=_pairs, metavar="NAME=VALUE",
              help="A parameter of the view, as for /api/sessions; can be given again.")  # fmt: skip
@click.option(
    "--journal", metavar="URL", help="Ask no gateway: tell which events of a journal touched the profile."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True,
              help="Of a journal: how many events, the newest last.")  # fmt: skip
@json_option
def explain(**options: Unpack[_Options]) -> None:
    """Say why a list is as it is: what is held, what touched it, what was built, and what readers got.

    \b
    Examples:
      hermes-cache explain --profile work --query show_cli=1
      hermes-cache explain --journal sqlite:///journal.db --profile work
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    if options["journal"] is None:
        _explain_by_gateway(options)
        return
    if options["url"] is not None or options["query"]:
        raise click.UsageError("a journal knows profiles alone: leave out --url and --query, or --journal")
    _explain_by_journal(options["journal"], options)


def _explain_by_gateway(options: _Options) -> None:
    query = list(options["query"])
    if options["profile"] is not None:
        query.append(("profile", options["profile"]))
    told = asked_gateway(options["url"] or _DEFAULT_URL, "/api/explain", query, token=options["token"])
    click.echo(json.dumps(told) if options["as_json"] else told.get("story"))


def _explain_by_journal(url: str, options: _Options) -> None:
    with opened_journal(url) as journal, told_when_long("Reading the journal"):
        found, damaged = events_touching(journal, options["profile"], limit=options["limit"])
    for row in damaged:
        click.echo(f"{row.what}, and passed over: {row.reason}", err=True)
    for each in found:
        click.echo(json_line(each) if options["as_json"] else f"{human_line(each.event)}  seq={each.position.seq}")
    if not found:
        click.echo("No event in the journal touched it.", err=True)
