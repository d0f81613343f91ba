"""The beginnings of what users wrote first, by which sessions without a title are known.

The agent keeps a message of several parts as JSON behind a mark; the first part that is text counts. Secrets are
masked before the text is cut, since half a secret is not recognised. No I/O here. Source: rules X12, X13.
"""

from json import JSONDecoder
from typing import Final, NamedTuple

from hermes_cache.stores.masking import mask

_LONGEST: Final = 80
"""As many signs as a line of a sidebar may need."""

_LOOKED_AT: Final = 8 * _LONGEST
"""Signs of a message that may become its line; the others of these are not seen."""

_MASKED_AT_ONCE: Final = _LOOKED_AT + 1_024
"""A secret that begins within what is looked at is known by these. To mask 4 KB of code takes 2 ms."""

_PARTS_MARK: Final = "\x00json:"
_TEXT_OF_A_PART: Final = '"text":'


class Opening(NamedTuple):
    """The beginning of a message on one line.

    Attributes:
        text: The beginning.
        masked: The same with its secrets masked.
    """

    text: str
    masked: str


NO_OPENING: Final = Opening("", "")
"""Of a session whose user wrote nothing that can be read: it is not looked for again."""


def opening_of(head: object) -> Opening | None:
    """Return the beginning of a message, if it has one that can be read.

    Args:
        head: The first bytes of its content as the agent keeps it.
    """
    content = head.decode("utf-8", "replace") if isinstance(head, bytes) else None
    text = _text_of_parts(content) if content and content.startswith(_PARTS_MARK) else content
    if not text:
        return None
    text = text[:_MASKED_AT_ONCE]
    masked = mask(text)
    line = _line(text)
    return Opening(line, line if masked is text else _line(masked)) if line else None


def _line(text: str) -> str:
    # Signs that nobody sees can turn a line around or hide a part of it.
    beginning = text[:_LOOKED_AT]
    if not beginning.isprintable():
        signs = [sign if sign.isprintable() else " " if sign.isspace() else "" for sign in beginning]
        beginning = "".join(signs)
    return " ".join(beginning.split())[:_LONGEST].rstrip()


def _text_of_parts(content: str) -> str | None:
    at = content.find(_TEXT_OF_A_PART) + len(_TEXT_OF_A_PART)
    if at < len(_TEXT_OF_A_PART):
        return None
    try:
        text, _ = JSONDecoder().raw_decode(content, at + (content[at : at + 1] == " "))
    except (ValueError, RecursionError):
        return None
    return text if isinstance(text, str) else None
