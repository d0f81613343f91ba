"""Reads the head of a sidecar: the fields of a session that stand before its messages.

A sidecar can hold megabytes of messages; all that a list needs precedes them. Source: rule X7.
"""

import json
import re
from json import JSONDecoder
from pathlib import Path
from typing import Final

from hermes_cache.stores.hermes.file_stamps import must_be_a_file

_HEAD_BYTES: Final = 64 * 1024
_SPACE: Final = re.compile(r"\s*")


def read_sidecar(path: Path) -> dict[str, object]:
    """Return the leading fields of a sidecar.

    Raises:
        SourceError: It is no regular file.
        OSError: It cannot be read.
    """
    must_be_a_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return leading_fields(head.decode("utf-8-sig", "replace"))


def leading_fields(head: str) -> dict[str, object]:
    """Return the fields of a JSON object up to `messages`, or up to where the text ends or breaks."""
    fields: dict[str, object] = {}
    decoder = JSONDecoder(parse_constant=lambda _constant: None)
    at = _skip(head, 0)
    try:
        while head[at] in "{,":
            name, at = decoder.raw_decode(head, _skip(head, at + 1))
            if name == "messages" or head[at := _skip(head, at)] != ":":
                break
            value, at = decoder.raw_decode(head, _skip(head, at + 1))
            # A number that the cut went through would read as a smaller one: what follows must be there.
            if head[at := _skip(head, at)] in ",}":
                fields[name] = value
    except (json.JSONDecodeError, IndexError, RecursionError):
        pass
    return fields


def _skip(head: str, at: int) -> int:
    found = _SPACE.match(head, at)
    return found.end() if found else at
