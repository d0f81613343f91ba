"""Texts of others in answers: printable, and cut if they are long."""

from typing import Final

_LONGEST_QUOTE: Final = 100

TRUE: Final = frozenset({"1", "true", "yes"})
FALSE: Final = frozenset({"0", "false", "no"})
FLAGS: Final = "1, true or yes, or 0, false or no"
"""How a flag is written, in words."""


def quoted(text: str, *, marks: str = "'") -> str:
    """Return a text for a sentence: at most 100 printable characters, between marks.

    Source: rule W5.
    """
    cut = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
    return marks + "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in cut) + marks


def flag_of(text: str) -> bool | None:
    """Return what a text says of a flag: 1, true or yes, or 0, false or no, in any case; None if none of these."""
    word = text.strip().lower()
    return word in TRUE if word in TRUE | FALSE else None


def one_line(text: str) -> str:
    """Return a text in the form of a header's value: one line of Latin-1, at most 300 characters."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(line.split()).encode("latin-1", "replace").decode("latin-1")[:300]


def utf8(text: str) -> str:
    """Return a text that can be encoded: the name of a file may contain bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()
