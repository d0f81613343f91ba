"""Every error says what happened, with which value, and what to do."""

import inspect
import pickle

import pytest

from hermes_cache import errors
from hermes_cache.errors import (
    BuildError,
    BuildTimeoutError,
    CacheBusyError,
    CacheStoppedError,
    EventError,
    HermesCacheError,
    JournalError,
    JournalUnavailableError,
    LookupTimeoutError,
    MailboxReentryError,
    PayloadError,
    PolicyError,
    ProfileNotFoundError,
    SourceError,
)

ALL_ERRORS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_can_be_caught_as_one(kind: type[BaseException]) -> None:
    assert issubclass(kind, HermesCacheError)


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (BuildTimeoutError, BuildError),  # Proves R7.
        (BuildTimeoutError, TimeoutError),
        (LookupTimeoutError, TimeoutError),
        (PolicyError, ValueError),
        (EventError, ValueError),
        (PayloadError, ValueError),
        (MailboxReentryError, RuntimeError),
        (JournalUnavailableError, JournalError),
    ],
)
def test_a_timeout_is_a_timeout_and_a_bug_of_the_caller_a_value_error(
    kind: type[BaseException], also: type[BaseException]
) -> None:
    assert issubclass(kind, also)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BuildError("k", "disk gone"), "no payload for k: disk gone; the next read tries again"),
        (BuildError("k", "disk gone", retry_in_s=0.2), "no payload for k: disk gone; a read in 0.2 s tries again"),
        (
            LookupTimeoutError("k", 0.5),
            "no payload for k within 0.5 s (waited for its build); the build goes on in the background: read",
        ),
        (CacheBusyError("max_queue", 256), "the cache has reached its bound, max_queue=256"),
        (CacheStoppedError(), "call start() to use it again"),
        (MailboxReentryError("CacheActor"), "CacheActor was asked from inside its own mailbox; use tell there"),
        (PolicyError("ttl", -1, "above 0"), "Policy.ttl is -1; it must be above 0"),
        (
            EventError("profile", 7, "a str or None"),
            "profile is 7; it must be a str or None; nothing was published",
        ),
        (PayloadError("sessions[3].title", "is NaN"), "sessions[3].title is NaN; use str keys and JSON values"),
        (PayloadError("", "is a list"), "the payload is a list"),
        (
            SourceError("/home/state.db", "locked"),
            "/home/state.db: locked; the list is read again when that is repaired",
        ),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(error: HermesCacheError, message: str) -> None:
    assert message in str(error)


def test_an_error_keeps_what_it_speaks_of() -> None:
    error = BuildError("k", "disk gone", retry_in_s=0.2)

    assert (error.key, error.reason, error.retry_in_s) == ("k", "disk gone", 0.2)


def test_a_long_key_is_cut() -> None:
    """K5: it is shown by at most 200 signs."""
    error = BuildError("k" * 1_000, "disk gone")

    assert str(error) == f"no payload for {'k' * 197}...: disk gone; the next read tries again"
    assert len(error.key) == 1_000  # type: ignore[arg-type]


def test_a_source_error_crosses_processes() -> None:
    """X8: a worker process hands back the file and the reason."""
    error = SourceError("/home/state.db", "locked")

    twin = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes

    assert (twin.path, twin.reason, str(twin)) == (error.path, error.reason, str(error))


def test_a_profile_that_is_not_there_crosses_processes() -> None:
    """X8"""
    error = ProfileNotFoundError("/home/profiles/work", "work")

    twin = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes

    assert (type(twin), twin.profile, str(twin)) == (ProfileNotFoundError, "work", str(error))


@pytest.mark.parametrize(
    "error",
    [
        BuildError("a key", "it broke", retry_in_s=2.0),
        BuildTimeoutError("a key", "it hangs"),
        LookupTimeoutError("a key", 0.5),
        CacheBusyError("max_queue", 3),
        CacheStoppedError(),
        MailboxReentryError("an actor"),
        PolicyError("ttl", -1, "finite"),
        EventError("profile", 3, "a str"),
        PayloadError("sessions[3].title", "is NaN"),
        ProfileNotFoundError("/home/agent", "work"),
    ],
)
def test_an_error_crosses_over_to_another_process_as_it_is(error: HermesCacheError) -> None:
    """B7, B8"""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - dumped here

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
