"""`hermes-cache doctor`: what is wrong with a home, a journal, a policy or an environment, and what to do."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click

from hermes_cache.cli.options import SERVE_POLICY, default_home, json_option, pairs
from hermes_cache.cli.output import Table, print_tables, progress
from hermes_cache.core.policy import Policy
from hermes_cache.doctor.findings import GRAVITIES, SUBJECTS, Finding
from hermes_cache.errors import PolicyError


class _Options(TypedDict):
    home: Path | None
    journal: str | None
    policy: tuple[tuple[str, str], ...]
    workers: int | None
    as_json: bool


@click.command()
@click.option("--home", type=click.Path(path_type=Path, readable=False),
              help="The Hermes home to examine.  [default: $HERMES_HOME, else ~/.hermes]")  # fmt: skip
@click.option(
    "--journal", envvar="HERMES_CACHE_JOURNAL", show_envvar=True, metavar="URL", help="The journal, too."
)
@click.option("--policy", multiple=True, callback=pairs, metavar="FIELD=VALUE",
              help="A field of the policy, such as ttl=5; can be given again.  [default: of serve]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="How many processes serve.  [default: as WEB_CONCURRENCY says, else 1]")  # fmt: skip
@json_option
def doctor(**options: Unpack[_Options]) -> None:
    """Say what is wrong with a home, a journal, a policy or this environment, and what to do about it.

    Nothing that is examined is changed. The exit code is 1 if something is wrong, and 0 if there are only hints.

    \b
    Examples:
      hermes-cache doctor
      hermes-cache doctor --home ~/.hermes --journal sqlite:////var/lib/gateway/journal.db
      hermes-cache doctor --policy poll_interval=10 --policy ttl=5 --workers 4 --json
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    # Imported only now, because what reads a home takes longer to import than a help takes in all.
    from hermes_cache.doctor.examining import Examined, examine  # noqa: PLC0415
    from hermes_cache.doctor.policy import refused_policy, workers_in  # noqa: PLC0415

    refused = []
    try:
        policy = Policy(**_given(options["policy"])) if options["policy"] else SERVE_POLICY
    except PolicyError as error:
        policy, refused = SERVE_POLICY, [refused_policy(str(error))]
    examined = Examined(
        home=options["home"] or default_home(),
        journal=options["journal"],
        policy=policy,
        workers=options["workers"] or workers_in(os.environ),
        environment=os.environ,
    )
    with progress("Examining", counts=False):
        found = [*examine(examined, thoroughly=True), *refused]
    wrong = sum(each.gravity == "wrong" for each in found)
    if options["as_json"]:
        plain = [asdict(each) for each in found]
        click.echo(json.dumps({"wrong": wrong, "hints": len(found) - wrong, "findings": plain}))
    else:
        _print(found, examined.home)
        click.echo(_summary(wrong, len(found) - wrong))
    if wrong:
        raise click.exceptions.Exit(1)


def _print(found: Sequence[Finding], home: Path) -> None:
    """Print findings as a table for each subject."""
    titles = {"home": f"Home {click.format_filename(home)}"}
    widths = [
        max((len(text) for text in texts), default=0) for texts in (GRAVITIES, [each.name for each in found])
    ]
    tables = []
    for subject in SUBJECTS:
        rows = [
            (each.gravity, each.name, (f"{each.what}; ", each.todo)) for each in found if each.subject == subject
        ]
        tables.append(Table(titles.get(subject, subject.capitalize()), ("", "", ""), rows, widths))
    print_tables(tables)
    if found:
        click.echo()


def _given(given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    known = {each.name for each in fields(Policy)}
    values: dict[str, Any] = {}
    for name, text in given:
        if name not in known:
            near = get_close_matches(name, known)
            raise click.UsageError(f"a policy has no field {name!r}; it has {', '.join(near or sorted(known))}")
        try:
            values[name] = None if text == "None" else int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError as error:
            raise click.UsageError(f"--policy {name}={text}: it must be a number, or None") from error
    return values


def _summary(wrong: int, hints: int) -> str:
    of_hints = f"{hints} hint{'' if hints == 1 else 's'}"
    if wrong:
        return f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong; {of_hints}."
    return f"Nothing is wrong; {of_hints}."
