"""`hermes-cache publish`: tell every process that shares a journal that something happened."""

import json
import time
from typing import Final, TypedDict, Unpack
from uuid import uuid4

import click

from hermes_cache.bus.codec import from_plain, to_plain
from hermes_cache.bus.tickets import Ticket
from hermes_cache.cli.journals import journal_option, json_option, opened_journal
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import EventError, JournalUnavailableError

_KINDS: Final = ("session-list-changed", "stream-started", "stream-stopped", "settings-changed")


class _Fields(TypedDict):
    profile: str | None
    session_id: str | None
    stream_id: str | None
    reason: str | None


@click.command()
@click.argument("kind", type=click.Choice(_KINDS), default=_KINDS[0], metavar="[KIND]")
@journal_option
@click.option("--profile", help="Whose list; all without it.")
@click.option("--session-id", help="Which session moved.")
@click.option("--stream-id", help="Which stream started or stopped.")
@click.option("--reason", help="A word for why, such as session_rename.")
@json_option
def publish(kind: str, url: str, *, as_json: bool, **fields: Unpack[_Fields]) -> None:
    """Publish an event and print its ticket.

    KIND is session-list-changed, which it is where none is given, stream-started, stream-stopped or
    settings-changed. The event is in the journal when this ends, and every gateway that shares the journal hears
    of it. After a failure, publishing it again does no harm.

    \b
    Examples:
      hermes-cache publish --journal sqlite:///journal.db --profile work --reason nightly_import
      hermes-cache publish stream-started --journal sqlite:///journal.db --stream-id turn-7
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    event = _event(kind, {name: value for name, value in fields.items() if value is not None})
    with opened_journal(url, make=True) as journal:
        try:
            name = journal.end().journal
            (seq,) = journal.append([event])
        except JournalUnavailableError as error:
            told = "it is not known whether the event was published; to publish it again does no harm"
            raise JournalUnavailableError(f"{error}; {told}") from error
    ticket = Ticket.of(event.id, committed=True)
    published = {"ticket": ticket, "seq": seq, "journal": name} | to_plain(event)
    click.echo(json.dumps(published) if as_json else ticket)


def _event(kind: str, given: dict[str, object]) -> AppliedEvent:
    # A life of its own: nobody else can have said this event.
    said = {"kind": kind.replace("-", "_"), "id": str(EventId(uuid4().hex, 1)), "at_s": time.time()}
    try:
        event = from_plain(said | given)
    except EventError as error:
        raise click.BadParameter(str(error), param_hint=_option(error.field)) from error
    unknown = given.keys() - to_plain(event).keys()
    if unknown:
        raise click.UsageError(f"{kind} has no {' and no '.join(_option(name) for name in sorted(unknown))}")
    return event


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
