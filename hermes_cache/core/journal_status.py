"""How a process stands to its journal.

Source: rules J5, L4.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How far a process has come, and what is in its way. Times are monotonic seconds.

    Attributes:
        checked_s: When the last check that succeeded began; before the first, when the process began to ask.
        seq: The last sequence number that is applied here; None before the process joined.
        failure: Why the journal can not be read or written now; None where it can.
        pending: This process's events that are not committed.
    """

    checked_s: float
    seq: int | None = None
    failure: str | None = None
    pending: int = 0

    def lag_s(self, now_s: float) -> float:
        """Give the seconds for which nothing was heard of the journal; 0 while it can be reached."""
        return max(0.0, now_s - self.checked_s) if self.failure is not None else 0.0

    def is_cut_off(self, now_s: float, lease_s: float) -> bool:
        """Say whether nothing was heard for longer than the lease (J5)."""
        return now_s - self.checked_s > lease_s
