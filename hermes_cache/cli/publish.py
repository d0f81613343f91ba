"""`hermes-cache publish`: publish an event to all processes that share a journal."""

import json
import time
from typing import Final, TypedDict, Unpack
from uuid import uuid4

import click

from hermes_cache.bus.codec import KINDS, from_plain, to_plain
from hermes_cache.bus.tickets import Ticket
from hermes_cache.cli.journals import opened_journal
from hermes_cache.cli.options import bus_option, journal_option, json_option
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import EventError, JournalUnavailableError

_KINDS: Final = tuple(kind.replace("_", "-") for kind in KINDS)


class _Fields(TypedDict):
    profile: str | None
    session_id: str | None
    stream_id: str | None
    reason: str | None


@click.command()
@click.argument("kind", type=click.Choice(_KINDS), default=_KINDS[0], metavar="[KIND]")
@journal_option
@bus_option("The name of the bus whose caches it is for.")
@click.option("--profile", help="The profile whose list changed.  [default: all]")
@click.option("--session-id", help="The session that changed.")
@click.option("--stream-id", help="The stream that started or stopped.")
@click.option("--reason", help="The reason in a word, such as session_rename.")
@json_option
def publish(kind: str, url: str, *, bus: str, as_json: bool, **fields: Unpack[_Fields]) -> None:
    """Publish an event and print its ticket.

    KIND is session-list-changed (the default), stream-started, stream-stopped or settings-changed. When the
    command ends, the event is in the journal, and every gateway that shares the journal will apply it. After a
    failure you can publish it again without harm.

    \b
    Examples:
      hermes-cache publish --journal sqlite:///journal.db --profile work --reason nightly_import
      hermes-cache publish stream-started --journal sqlite:///journal.db --stream-id turn-7
      hermes-cache publish --journal sqlite:///journal.db --bus orders --profile ann
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    event = _event(kind, bus, {name: value for name, value in fields.items() if value is not None})
    with opened_journal(url, make=True) as journal:
        try:
            name = journal.end().journal
            (seq,) = journal.append([event])
        except JournalUnavailableError as error:
            unknown = "it is not known whether the event was published; you can publish it again without harm"
            raise JournalUnavailableError(f"{error}; {unknown}") from error
    ticket = Ticket.of(event.id, committed=True)
    published = {"ticket": ticket, "seq": seq, "journal": name} | to_plain(event)
    click.echo(json.dumps(published) if as_json else ticket)


def _event(kind: str, bus: str, given: dict[str, object]) -> AppliedEvent:
    # A new incarnation, so that no other process can have used this id.
    fields = {"kind": kind.replace("-", "_"), "id": str(EventId(uuid4().hex, 1, bus)), "at_s": time.time()}
    try:
        event = from_plain(fields | given)
    except EventError as error:
        raise click.BadParameter(str(error), param_hint=_option(error.field)) from error
    unknown = given.keys() - to_plain(event).keys()
    if unknown:
        raise click.UsageError(f"{kind} has no {' and no '.join(_option(name) for name in sorted(unknown))}")
    return event


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
