"""Effects: what a decision asks of the world, as values. Running one twice does no harm.

Order is law: a message is decided, its transitions are folded, and then its effects are run.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from hermes_cache.core.events import EventId
from hermes_cache.core.notices import Notice, RowsMoved
from hermes_cache.core.state import Build, Entry, Failure, Outcome, Reason, Target
from hermes_cache.core.streams import Streams
from hermes_cache.errors import HermesCacheError
from hermes_cache.payload.content import Content


@dataclass(frozen=True, slots=True)
class Served:
    """The answer to a read: an entry, and what `lookup` says of it (R9).

    Attributes:
        entry: What answers.
        outcome: How it answers.
        reason: Why it was no hit; None for a hit.
        overtaken_by: The event that overtook a build which the read waited for.
        failure: What stands in the way of a newer one.
    """

    entry: Entry
    outcome: Outcome
    reason: Reason | None = None
    overtaken_by: EventId | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a reader; an error is to be raised there.

    Attributes:
        reader: The reader.
        key: What it read, with its canonical profile.
        answer: What it gets.
    """

    reader: Hashable
    key: Hashable
    answer: Served | HermesCacheError


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand something to the followers of a key (R13).

    Attributes:
        followers: Its followers.
        key: The key, with its canonical profile.
        answer: A payload newer than the last one, or why there is none; None if only what is live moved, and is to
            be laid anew over the last one.
    """

    followers: Collection[Hashable]
    key: Hashable
    answer: Served | HermesCacheError | None


@dataclass(frozen=True, slots=True)
class TakeCheck:
    """Check the sources of a scope and say `Checked`, or `CheckFailed`.

    Attributes:
        target: One of its keys.
        streams: The streams now: if one touches the reach, the parts that it moves are not read.
        settings: The number of `SettingsChanged` so far, part of the stamp (V3).
        asked_s: The moment, by which the core knows the answer.
    """

    target: Target
    streams: Streams
    settings: int
    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class RunBuild:
    """Check and say `Checked` or `CheckFailed`, then call the builder and say `Built` or `Failed`.

    Attributes:
        build: The build.
        settings: As in `TakeCheck`.
        previous: What the key holds now, to tell whose rows differ (E9).
    """

    build: Build
    settings: int
    previous: Content | None


@dataclass(frozen=True, slots=True)
class Abandon:
    """Start another worker for a build that hangs; its late result is discarded (B6)."""

    build_id: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a notice to monitors; of rows that moved, to the subscribers too (E6, E9)."""

    notice: Notice | RowsMoved


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of a content, away from the mailbox, and say `Weighed` (P4)."""

    content: Content


Effect: TypeAlias = Answer | Deliver | TakeCheck | RunBuild | Abandon | Tell | Release
"""Anything that a decision asks for."""
