"""Everything that the package raises; no third-party error leaves it.

A timeout is also a `TimeoutError`, a caller's bug also a `ValueError`. Each error keeps what it speaks of in
attributes, builds its message from them, and says what to do.
"""

from collections.abc import Sequence

_MOST_SHOWN = 200


def shown(value: object) -> str:
    """Return a refused value as a message shows it: its `repr`, cut, or its type if that fails."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - such as that of an int of 5,000 digits
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


class HermesCacheError(Exception):
    """The root of all errors of this package; each crosses over to another process as it is."""

    def __reduce__(self) -> tuple[object, ...]:
        # The default makes an error again from its message, where most of them are made from what it speaks of.
        return _made_again, (type(self), self.args), self.__dict__


class BuildError(HermesCacheError):
    """A build gave no payload, and nothing that may be served instead is held.

    Attributes:
        key: What was to be built.
        reason: What went wrong, in words.
        retry_in_s: Seconds until the next read may try again; None where that is not known.
    """

    def __init__(self, key: object, reason: str, *, retry_in_s: float | None = None) -> None:
        self.key = key
        self.reason = reason
        self.retry_in_s = retry_in_s
        when = f"a read in {retry_in_s:.1f} s tries again" if retry_in_s else "the next read tries again"
        super().__init__(f"no payload for {key}: {reason}; {when}")


class BuildTimeoutError(BuildError, TimeoutError):
    """A build took longer than `Policy.build_timeout`, or a reader waited that long for it."""


class WorkerError(HermesCacheError):
    """A worker process died over a build, and again over the next try."""

    def __init__(self, key: object) -> None:
        self.key = key
        super().__init__(f"the worker process died twice over {key}; see whether its builder ends its process")


class LookupTimeoutError(HermesCacheError, TimeoutError):
    """A read reached its own timeout, and nothing that may be served instead is held; the build goes on."""

    def __init__(self, key: object, timeout_s: float, waited_for: str = "its build") -> None:
        self.key = key
        self.timeout_s = timeout_s
        super().__init__(
            f"no payload for {key} within {timeout_s:g} s (waited for {waited_for}); "
            "it goes on in the background: read again, or give a longer timeout"
        )


class CacheBusyError(HermesCacheError):
    """A bound on waiting readers or queued builds is reached, and nothing that may be served is held."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(f"the cache holds {limit} {what}, its bound; try again later or raise Policy.{what}")


class CacheStoppedError(HermesCacheError):
    """The cache was stopped before or while this read waited."""

    def __init__(self) -> None:
        super().__init__("the cache is stopped; call start() to use it again")


class MailboxReentryError(HermesCacheError, RuntimeError):
    """A thread asked an actor while it was handling a message of that same actor."""

    def __init__(self, actor: str) -> None:
        self.actor = actor
        super().__init__(f"{actor} was asked from inside its own mailbox; use tell there")


class CallBlockedError(HermesCacheError, TimeoutError):
    """A call on the main thread waited for what that thread holds itself.

    That happens in a signal handler that interrupted another call of this package. What was asked for may still be
    done once the interrupted call goes on.
    """

    def __init__(self, waited_s: float) -> None:
        self.waited_s = waited_s
        super().__init__(
            f"the cache did not answer within {waited_s:g} s, as a call that this one interrupted holds what it "
            "needs; do it outside of the signal handler"
        )


class CallLostError(HermesCacheError):
    """An exception was thrown into the thread that handled this call; it may or may not have had an effect."""

    def __init__(self) -> None:
        super().__init__("the thread that handled this call was interrupted by somebody else; call again")


class PolicyError(HermesCacheError, ValueError):
    """A `Policy` field has a value that cannot work.

    Attributes:
        field: The field's name.
        value: What was given.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"Policy.{field} is {shown(value)}; it must be {expected}")


class EventError(HermesCacheError, ValueError):
    """A publisher gave an argument that no event can have; nothing was published.

    Attributes:
        field: The argument's name.
        value: What was given.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"{field} is {shown(value)}; it must be {expected}; nothing was published")


class PayloadError(HermesCacheError, ValueError):
    """A payload holds what JSON cannot.

    Attributes:
        path: Where, as in `sessions[3].title`; empty for the payload itself.
        reason: What is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path or 'the payload'} {reason}; give str keys and JSON values")


class SourceError(HermesCacheError):
    """A file of the sources cannot be read as it should.

    Attributes:
        path: The file or folder.
        reason: Why, as told by the system or by SQLite.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}; the list is read again once that is mended")


class ProfileNotFoundError(SourceError):
    """The home is there, and has no such profile.

    Attributes:
        profile: The name that was asked for.
    """

    def __init__(self, path: object, profile: str) -> None:
        self.profile = profile
        super().__init__(path, f"there is no profile {profile!r}")


class JournalError(HermesCacheError):
    """The journal refused or failed."""


class JournalUnavailableError(JournalError):
    """What was asked for needs a journal that can be reached, and there is none."""


class TransactionConflictError(JournalUnavailableError):
    """Another transaction stood in the way, and nothing was done: do it again."""


class JournalGapError(JournalError):
    """Events that a reader has not read are gone; it must invalidate everything and go on from the end.

    Attributes:
        seq: Up to where the reader had come.
        reason: What became of the events, in words.
    """

    def __init__(self, seq: int, reason: str) -> None:
        self.seq = seq
        self.reason = reason
        super().__init__(f"events after {seq} are missed: {reason}; invalidate everything, then read from the end")


class JournalDamagedError(JournalError):
    """What the journal holds is not what was written.

    Attributes:
        seq: The first row of a run that is gone or damaged. A reader takes the run as missed events and passes
            over it. None if the whole journal is damaged; then only another journal in its place helps.
        reason: What is wrong with the first row, in words.
        last_seq: The last row of the run; the next one is sound, or not written yet.
        last_mark: The id of the event at `last_seq` if the run ends where the journal ends; blank if it ends
            before that; None if the journal does not say.
        behind: What was read behind the run in the same step, as `hermes_cache.ports.Recorded`; a number that is
            missing between two of them belongs to a further run.
    """

    def __init__(
        self,
        seq: int | None,
        reason: str,
        *,
        last_seq: int | None = None,
        last_mark: str | None = None,
        behind: Sequence[object] = (),
    ) -> None:
        self.seq = seq
        self.reason = reason
        self.last_seq = seq if last_seq is None else last_seq
        self.last_mark = last_mark
        self.behind = behind
        told = "the journal is damaged" if seq is None else f"the journal's {self.what}"
        todo = "put another in its place" if seq is None else "invalidate everything, then read on behind"
        super().__init__(f"{told}: {reason}; {todo}")

    @property
    def what(self) -> str:
        """What is damaged, in words: "row 5 is damaged", "rows 5 to 9 are gone or damaged"."""
        if self.last_seq == self.seq:
            return f"row {self.seq} is damaged"
        return f"rows {self.seq} to {self.last_seq} are gone or damaged"


class JournalSetupError(JournalError, ValueError):
    """The journal that was named can never work as it is; the message says what to change.

    Attributes:
        where: Which journal, without its password.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(f"{where} cannot be the journal: {reason}")


def _made_again(kind: type[HermesCacheError], args: tuple[object, ...]) -> HermesCacheError:
    error = kind.__new__(kind)
    error.args = args
    return error
