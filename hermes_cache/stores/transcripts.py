"""Makes a session of the lines of a Claude Code transcript: JSON records, one a line.

A line that is no record, and a record without text, is passed over; a value that is none is lost alone. The rules
are those of the web front end, so that both list the same. No I/O here. Source: rules X11, X12.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from hermes_cache.stores.hermes.values import moment_s, text
from hermes_cache.stores.masking import mask, mask_path

MOST_COUNTED: Final = 1_000
"""The front end counts no further."""

_LONGEST_TITLE: Final = 80
_LOOKED_AT: Final = 4_096
"""Signs of a text in which a title is looked for: a secret that begins within a title ends within these."""

_ROLES: Final = frozenset({"user", "assistant", "system", "tool"})


class Title(NamedTuple):
    """The beginning of a text on one line, cut to what a title may be.

    Attributes:
        plain: As it was written.
        masked: The text, whose secrets were masked before it was cut.
    """

    plain: str
    masked: str


@dataclass(slots=True)
class Transcript:
    """What the lines of a transcript said so far; `take` adds to it.

    Attributes:
        summary: The title that the agent gave.
        question: The first message of the user.
        cwd: The folder in which it began.
        messages: How many records with text there were.
        first_s: The earliest moment of one, in epoch seconds.
        last_s: The latest.
    """

    summary: Title | None = None
    question: Title | None = None
    cwd: str | None = None
    messages: int = 0
    first_s: float | None = None
    last_s: float | None = None

    def take(self, line: bytes) -> None:
        """Take in one line; raises nothing."""
        record = _record(line)
        if record is None:
            return
        if self.summary is None:
            self.summary = _given_title(record)
        if self.cwd is None:
            self.cwd = text(record.get("cwd"))
        for role, content, moment in _messages(record):
            self.messages += 1
            if self.question is None and role == "user":
                self.question = _title(content)
            at_s = moment_s(moment)
            if at_s is not None:
                self.first_s = at_s if self.first_s is None else min(self.first_s, at_s)
                self.last_s = at_s if self.last_s is None else max(self.last_s, at_s)

    def row(self, session_id: str, modified_s: float, *, redacts: bool) -> dict[str, object]:
        """Return the session's row.

        Args:
            session_id: Its id.
            modified_s: When its file was written last; stands in for moments that no record has.
            redacts: Whether secrets are masked.
        """
        created_s, updated_s = self.first_s or modified_s, self.last_s or modified_s
        title = self.summary or self.question or _NO_TITLE
        return {
            "session_id": session_id,
            "title": title.masked if redacts else title.plain,
            "workspace": mask_path(self.cwd) if redacts and self.cwd else self.cwd,
            "model": "claude-code",
            "message_count": min(self.messages, MOST_COUNTED),
            "created_at": created_s,
            "updated_at": updated_s,
            "last_message_at": updated_s,
            "pinned": False,
            "archived": False,
            "project_id": None,
            "profile": None,
            "source_tag": "claude_code",
            "raw_source": "claude_code",
            "session_source": "external_agent",
            "source_label": "Claude Code",
            "is_cli_session": True,
            "read_only": True,
        }


def _record(line: bytes) -> dict[str, object] | None:
    if not line.lstrip().startswith(b"{"):
        return None  # An error of the parser takes a hundred times as long.
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        # Python's own json takes what orjson refuses and others write: NaN, lone surrogates, broken UTF-8.
        try:
            record = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _messages(record: dict[str, object]) -> Iterator[tuple[str, object, object]]:
    """Name role, text and moment of each message with text in a record."""
    several = record.get("messages")
    single = record.get("message")
    parts = several if isinstance(several, list) else [single if isinstance(single, dict) else record]
    for part in parts:
        if not isinstance(part, dict):
            continue
        inner = part.get("message")
        message = inner if isinstance(inner, dict) else part
        role = message.get("role") or part.get("role") or record.get("role") or record.get("type") or ""
        role = str(role).strip().lower()
        role = "user" if role == "human" else role
        if role not in _ROLES:
            continue
        content = message["content"] if "content" in message else part.get("content")
        if _has_text(content):
            moment = message.get("timestamp") or part.get("timestamp") or record.get("timestamp")
            yield role, content, moment or record.get("created_at")


def _given_title(record: dict[str, object]) -> Title | None:
    title = record.get("summary") or record.get("title")
    return _title(title) if isinstance(title, str) else None


def _has_text(content: object) -> bool:
    if isinstance(content, str):
        return bool(content) and not content.isspace()
    return any(not piece.isspace() if isinstance(piece, str) else True for piece in _pieces(content) if piece)


def _pieces(content: object, depth: int = 20) -> Iterable[object]:
    """Return the texts of a message's content, which is a text, a part or a list of parts.

    What stands there instead of a text, such as what a tool returned, counts as one.
    """
    if isinstance(content, list):
        return [_piece(part) for part in content]
    if isinstance(content, dict):
        return _pieces(_piece(content), depth - 1) if depth else ()
    return () if content is None else (content if isinstance(content, str) else str(content),)


def _piece(part: object) -> object:
    if isinstance(part, dict):
        return part.get("text") or part.get("content")
    return part if isinstance(part, str) else None


def _title(content: object) -> Title | None:
    found: list[str] = []
    missing = _LOOKED_AT
    for piece in _pieces(content):
        if piece and missing > 0:
            # Blanks make no title, however many come first.
            beginning = _written(piece).lstrip()[:missing]
            found.append(beginning)
            missing -= len(beginning)
    line = text(" ".join(" ".join(found).split()))
    return None if line is None else Title(line[:_LONGEST_TITLE], mask(line)[:_LONGEST_TITLE])


def _written(piece: object) -> str:
    try:
        return str(piece)
    except RecursionError:
        return ""  # It is nested deeper than Python goes.


_NO_TITLE: Final = Title("Claude Code Session", "Claude Code Session")
