"""Texts of others in answers: printable, and cut where they are long."""

from typing import Final

_LONGEST_QUOTE: Final = 100


def quoted(text: str, *, marks: str = '"') -> str:
    """Return a text for a sentence: at most 100 printable characters, between marks.

    Source: rule W5.
    """
    cut = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
    return marks + "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in cut) + marks
