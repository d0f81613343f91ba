"""The errors of this package. No error of another package leaves it.

A timeout is also a `TimeoutError`, and a caller's bug is also a `ValueError`. Each error has attributes, makes its
message from them, and says what to do.
"""

from collections.abc import Sequence

_MOST_SHOWN = 200


def shown(value: object) -> str:
    """Return a refused value for a message: its `repr`, shortened, or its type if `repr` fails."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - such as that of an int of 5,000 digits
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def key_text(key: object) -> str:
    """Return a key as people read it: its `str`, at most 200 signs, or its type if `str` fails (K5)."""
    try:
        text = str(key)
    except Exception:  # noqa: BLE001 - the key's own code may raise anything
        text = f"a {type(key).__name__} that cannot be shown"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


class HermesCacheError(Exception):
    """The base class of all errors of this package. Each of them can be pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the message, but most classes take other arguments.
        return _made_again, (type(self), self.args), self.__dict__


class BuildError(HermesCacheError):
    """A build failed, and no payload is held that may be served instead.

    Attributes:
        key: The key of the build.
        reason: What went wrong, in words.
        retry_in_s: Seconds until a read may try again; None if that is not known.
    """

    def __init__(self, key: object, reason: str, *, retry_in_s: float | None = None) -> None:
        self.key = key
        self.reason = reason
        self.retry_in_s = retry_in_s
        super().__init__(reason)

    def __str__(self) -> str:
        # Made when it is wanted, and not in the mailbox: to show a key is code of the gateway's.
        when = f"a read in {self.retry_in_s:.1f} s tries again" if self.retry_in_s else "the next read tries again"
        return f"no payload for {key_text(self.key)}: {self.reason}; {when}"


class BuildTimeoutError(BuildError, TimeoutError):
    """A build took longer than `Policy.build_timeout`, or a reader waited that long for it."""


class WorkerError(HermesCacheError):
    """A worker process died during a build, and again during the next attempt."""

    def __init__(self, key: object) -> None:
        self.key = key
        super().__init__(
            f"the worker process died twice while it built {key_text(key)}; "
            "check whether the builder ends its process"
        )


class LookupTimeoutError(HermesCacheError, TimeoutError):
    """A read reached its own timeout, and no payload is held that may be served instead. The build goes on."""

    def __init__(self, key: object, timeout_s: float, waited_for: str = "its build") -> None:
        self.key = key
        self.timeout_s = timeout_s
        self.waited_for = waited_for
        super().__init__(waited_for)

    def __str__(self) -> str:
        # As in `BuildError`.
        return (
            f"no payload for {key_text(self.key)} within {self.timeout_s:g} s (waited for {self.waited_for}); "
            "the build goes on in the background: read again, or use a longer timeout"
        )


class CacheBusyError(HermesCacheError):
    """Too many readers wait or too many builds are queued, and no payload is held that may be served."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(
            f"the cache has reached its bound, {what}={limit}; try again later, or use a larger Policy.{what}"
        )


class CacheStoppedError(HermesCacheError):
    """The cache was stopped before this read, or while it waited."""

    def __init__(self) -> None:
        super().__init__("the cache is stopped; call start() to use it again")


class CoroutineCancelledError(HermesCacheError):
    """The coroutine of a builder or a source was cancelled: past its time, by its own code, or with its loop."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"the coroutine of {what} was cancelled: past its time, by itself, or with its loop")


class MailboxReentryError(HermesCacheError, RuntimeError):
    """A thread called `ask` on an actor while it handled a message of the same actor."""

    def __init__(self, actor: str) -> None:
        self.actor = actor
        super().__init__(f"{actor} was asked from inside its own mailbox; use tell there")


class CallBlockedError(HermesCacheError, TimeoutError):
    """A call on the main thread waited for something that the same thread holds.

    This happens in a signal handler that interrupted another call of this package. The call may still take effect
    when the interrupted call goes on.
    """

    def __init__(self, waited_s: float) -> None:
        self.waited_s = waited_s
        super().__init__(
            f"the cache did not answer within {waited_s:g} s, because this call interrupted one that holds what "
            "it needs; call outside of the signal handler"
        )


class NoThreadError(HermesCacheError, RuntimeError):
    """The machine refuses a thread; what was to run on it was not begun."""

    def __init__(self) -> None:
        super().__init__("can't start new thread; the machine allows no more: end others, or raise its limit")


class UnsupportedError(HermesCacheError, RuntimeError):
    """What was asked for cannot work where this program runs.

    Attributes:
        what: What cannot work.
        reason: Why, in words.
    """

    def __init__(self, what: str, reason: str, advice: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} cannot work here: {reason}; {advice}")


class CallLostError(HermesCacheError):
    """An exception was thrown into the thread that handled this call. The call may have had an effect or not."""

    def __init__(self) -> None:
        super().__init__("an exception was thrown into the thread that handled this call; call again")


class PolicyError(HermesCacheError, ValueError):
    """A field of `Policy` has a value that is not allowed.

    Attributes:
        field: The field's name.
        value: The given value.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"Policy.{field} is {shown(value)}; it must be {expected}")


class EventError(HermesCacheError, ValueError):
    """A publisher gave an argument that no event can have. Nothing was published.

    Attributes:
        field: The argument's name.
        value: The given value.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"{field} is {shown(value)}; it must be {expected}; nothing was published")


class PayloadError(HermesCacheError, ValueError):
    """A payload contains something that JSON does not allow.

    Attributes:
        path: Its path, such as `sessions[3].title`; empty for the payload itself.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path or 'the payload'} {reason}; use str keys and JSON values")


class SourceError(HermesCacheError):
    """A file of the sources cannot be read.

    Attributes:
        path: The file or folder.
        reason: The reason that the system or SQLite gave.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}; the list is read again when that is repaired")


class ProfileNotFoundError(SourceError):
    """The home exists, but it has no such profile.

    Attributes:
        profile: The name of the profile.
    """

    def __init__(self, path: object, profile: str) -> None:
        self.profile = profile
        super().__init__(path, f"there is no profile {profile!r}")


class JournalError(HermesCacheError):
    """The journal refused or failed."""


class JournalUnavailableError(JournalError):
    """The call needs a journal that can be reached, and there is none."""


class TransactionConflictError(JournalUnavailableError):
    """The transaction was in conflict with another one, and nothing was done. Do it again."""


class JournalGapError(JournalError):
    """Events that a reader has not read are gone. It must invalidate everything and go on from the end.

    Attributes:
        seq: The number of the last event that the reader has read.
        reason: What happened to the events, in words.
    """

    def __init__(self, seq: int, reason: str) -> None:
        self.seq = seq
        self.reason = reason
        super().__init__(
            f"the events after {seq} are missed: {reason}; invalidate everything, then read from the end"
        )


class JournalDamagedError(JournalError):
    """The journal does not contain what was written.

    Attributes:
        seq: The first row of a run of rows that are missing or damaged. A reader takes them as missed events and
            passes over them. None if the whole journal is damaged; then it must be replaced.
        reason: What is wrong with the first row, in words.
        last_seq: The last row of the run. The next row is sound, or is not written yet.
        last_mark: The id of the event at `last_seq` if the run ends where the journal ends; blank if it ends
            before that; None if the journal does not say.
        behind: The events behind the run that were read in the same step, as `hermes_cache.ports.Recorded`. A
            number that is missing between two of them belongs to another run.
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
        damage = "the journal is damaged" if seq is None else f"the journal's {self.what}"
        advice = "replace it" if seq is None else "invalidate everything, then read on behind it"
        super().__init__(f"{damage}: {reason}; {advice}")

    @property
    def what(self) -> str:
        """What is damaged, in words: "row 5 is damaged", "rows 5 to 9 are missing or damaged"."""
        if self.last_seq == self.seq:
            return f"row {self.seq} is damaged"
        return f"rows {self.seq} to {self.last_seq} are missing or damaged"


class JournalSetupError(JournalError, ValueError):
    """The named journal can never work as it is. The message says what to change.

    Attributes:
        where: The URL or file of the journal, without its password.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(f"{where} cannot be the journal: {reason}")


def _made_again(kind: type[HermesCacheError], args: tuple[object, ...]) -> HermesCacheError:
    error = kind.__new__(kind)
    error.args = args
    return error
