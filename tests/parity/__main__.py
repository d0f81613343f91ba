"""Compares two programs that answer `/api/sessions` over the same home, view by view; one table.

Start both over homes with the same content, each on its own copy, as the front end writes while it reads. Name
each home with `--home`, since the settings of a view are written into it:

    python -m tests.parity --ours http://127.0.0.1:8801 --theirs http://127.0.0.1:8787 --home /tmp/a --home /tmp/b

`--make NAME PATH` makes one of the small homes of `tests/parity/homes` and ends.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode
from urllib.request import Request, urlopen

from tests.parity.comparing import Difference, compare, recording
from tests.parity.homes import make_home
from tests.parity.views import PARAMETERS, SETTINGS, VIEWS, View

_SETTLED_S: Final = 1.5
"""Our gateway reads changed settings within a second."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--make", nargs=2, metavar=("NAME", "PATH"), help="make a small home and end")
    parser.add_argument("--ours", help="the address of the program that is judged")
    parser.add_argument(
        "--ours-asks", default="", metavar="PARAMETERS", help="what ours is asked beside each view"
    )
    parser.add_argument("--theirs", help="the address of the program that it is compared with")
    parser.add_argument("--home", action="append", default=[], type=Path, help="a home that the settings go to")
    parser.add_argument("--record", type=Path, help="write the other program's answers into this file")
    parser.add_argument("--details", action="store_true", help="print each session and value that differs")
    options = parser.parse_args(arguments)
    if options.make:
        make_home(options.make[0], Path(options.make[1]))
        return
    answers: dict[str, Any] = {}
    differences: dict[View, Difference] = {}
    for name, settings in SETTINGS.items():
        _put_settings(options.home, settings)
        for view in [each for each in VIEWS if each.settings == name]:
            theirs = _ask(options.theirs, PARAMETERS[view.parameters])
            answers[str(view)] = theirs
            differences[view] = compare(
                _ask(options.ours, {**PARAMETERS[view.parameters], **dict(parse_qsl(options.ours_asks))}), theirs
            )
    if options.record:
        options.record.write_text(_lines(recording(answers)), encoding="utf-8")
    _print(differences, has_details=options.details)


def _lines(recording: dict[str, Any]) -> str:
    """Return a recording as JSON with a line for each row and each view."""
    rows = ",\n".join(f"  {json.dumps(row, sort_keys=True)}" for row in recording["rows"])
    views = ",\n".join(f"  {json.dumps(name)}: {json.dumps(view)}" for name, view in recording["views"].items())
    return f'{{\n "rows": [\n{rows}\n ],\n "views": {{\n{views}\n }}\n}}\n'


def _put_settings(homes: Sequence[Path], settings: dict[str, object]) -> None:
    for home in homes:
        path = home / "webui" / "settings.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
    time.sleep(_SETTLED_S)


def _ask(address: str, parameters: dict[str, str]) -> Any:
    request = Request(f"{address}/api/sessions?{urlencode(parameters)}")  # noqa: S310 - the user's own address
    if "profile" in parameters:
        request.add_header("Cookie", f"hermes_profile={parameters['profile']}")
    try:
        with urlopen(request, timeout=60) as response:  # noqa: S310 - likewise
            return json.load(response)
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:  # It does not know the profile, so it has no session of it.
            return {"sessions": []}
        raise


def _print(differences: dict[View, Difference], *, has_details: bool) -> None:
    out = sys.stdout.write
    out(f"| view | both | only here | only there | order | fields that differ | envelope |\n{'|---' * 7}|\n")
    for view, found in differences.items():
        fields = ", ".join(f"{name} {len(sessions)}" for name, sessions in found.fields.items())
        order = "same" if found.is_ordered else "differs"
        only = f"{len(found.only_ours)} | {len(found.only_theirs)}"
        out(f"| {view} | {found.both} | {only} | {order} | {fields} | {', '.join(found.envelope)} |\n")
    total: Counter[str] = Counter()
    for found in differences.values():
        total["only here"] += len(found.only_ours)
        total["only there"] += len(found.only_theirs)
        total["views in another order"] += not found.is_ordered
        total["values that differ"] += sum(map(len, found.fields.values()))
        total["envelope fields that differ"] += len(found.envelope)
        total["views without a difference"] += found == Difference(found.both, [], [], is_ordered=True)
    out(f"\n{len(differences)} views: {', '.join(f'{name} {count}' for name, count in total.items())}\n")
    if has_details:
        _print_details(differences)


def _print_details(differences: dict[View, Difference]) -> None:
    said: set[str] = set()
    for view, found in differences.items():
        lines = [f"only here: {session_id}" for session_id in found.only_ours]
        lines += [f"only there: {session_id}" for session_id in found.only_theirs]
        lines += [
            f"{name} of {session_id}: {ours!r} here, {theirs!r} there"
            for name, sessions in found.fields.items()
            for session_id, (ours, theirs) in sessions.items()
        ]
        lines += [f"{name}: {ours!r} here, {theirs!r} there" for name, (ours, theirs) in found.envelope.items()]
        new = [line for line in lines if line not in said]
        said.update(new)
        sys.stdout.write("".join(f"\n{view}:" if at == 0 else "" for at in range(1)) if new else "")
        sys.stdout.write("".join(f"\n  {line}" for line in new))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
