"""Requests: what a reader asks for, one value from the public methods of a cache to the core.

Source: rules R6, R8, R11, J8.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import assert_never

from hermes_cache.core.events import EventId


class Freshness(Enum):
    """How fresh a reader wants its answer (R8); the values are the words of the public methods.

    `DEFAULT` takes what the rules for every read allow. `FRESH` takes a hit only if a check that began after the
    read verified it, and else a build that began after it. `ANY` takes what is held, even if an event outdated it.
    """

    DEFAULT = "default"
    FRESH = "fresh"
    ANY = "any"

    @property
    def insists(self) -> bool:
        """Whether only a check or a build that began after the read will do."""
        match self:
            case Freshness.FRESH:
                return True
            case Freshness.DEFAULT | Freshness.ANY:
                return False
            case _:
                assert_never(self)

    @property
    def takes_outdated(self) -> bool:
        """Whether a payload will do that an event outdated."""
        match self:
            case Freshness.ANY:
                return True
            case Freshness.DEFAULT | Freshness.FRESH:
                return False
            case _:
                assert_never(self)

    @property
    def waits(self) -> bool:
        """Whether the reader waits for a check, a build or the journal if something is held."""
        match self:
            case Freshness.DEFAULT | Freshness.FRESH:
                return True
            case Freshness.ANY:
                return False
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Request:
    """What a reader asks for.

    Attributes:
        began_s: When the reader called, in monotonic seconds; its bound counts from then.
        freshness: How fresh it wants its answer (R8).
        timeout_s: How long it waits at most; infinity for no bound of its own (R6).
        builder: Its own builder, used if it starts the build; None for the cache's (R11).
        at_least: The event that the payload must contain; None for none (J8).
        trace: What a tracer knows the read by; means nothing here. None if nobody traces.
    """

    began_s: float
    freshness: Freshness = Freshness.DEFAULT
    timeout_s: float = inf
    builder: object = None
    at_least: EventId | None = None
    trace: object = None

    @property
    def takes_stale(self) -> bool:
        """Whether a stale payload will do instead of an error (R8)."""
        return not self.freshness.insists and self.at_least is None

    def until_s(self, build_timeout_s: float) -> float:
        """Return when the reader stops waiting: at its own bound, and after `Policy.build_timeout` (R5, R6)."""
        return self.began_s + min(self.timeout_s, build_timeout_s)
