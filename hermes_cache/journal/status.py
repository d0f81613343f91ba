"""How a process stands to its journal.

Source: rules J5, L4.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How far a process has come, and what is in its way.

    Attributes:
        seq: The last sequence number that is applied here; None before the process joined.
        lag_s: Seconds for which nothing was heard of the journal; 0 while it can be reached.
        failure: Why it can not be read or written now; None where it can.
        pending: This process's events that are not committed.
        missing_threads: The names of the journal's threads that should run and do not.
    """

    seq: int | None
    lag_s: float = 0.0
    failure: str | None = None
    pending: int = 0
    missing_threads: frozenset[str] = frozenset()
