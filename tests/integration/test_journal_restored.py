"""Who resumes behind a journal that was restored from an older copy knows nothing of what it lost (rule E8)."""

import shutil
from pathlib import Path

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.bus.changes import Change
from hermes_cache.bus.subscription import Subscription
from hermes_cache.testing import GatedBuilder
from tests.waiting import WAIT_S

_POLICY = Policy(journal_interval=0, journal_wait=WAIT_S)


def _cache(file: Path) -> SessionListCache:
    return SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=f"sqlite:///{file}", policy=_POLICY)


def _publish(file: Path, profile: str, times: int) -> str:
    """Publish in a process of its own, and give the version of who heard of all of it."""
    with _cache(file) as cache:
        subscription = cache.subscribe()
        for _ in range(times):
            assert cache.invalidate(profile).committed
        # A read looks at the journal first, and so notes the position.
        cache.get(SessionListKey())
        return [_next(subscription).version for _ in range(times)][-1]


def _next(subscription: Subscription) -> Change:
    change = subscription.get(WAIT_S)
    assert change is not None
    return change


def test_a_version_of_a_journal_that_was_restored_since_means_refresh_everything(tmp_path: Path) -> None:
    """E8: also where the journal went on past the version's position, by other events."""
    file, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    kept = _publish(file, "before", 5)
    shutil.copy(file, copy)
    lost = _publish(file, "lost", 5)
    copy.replace(file)
    _publish(file, "after", 6)

    with _cache(file) as cache:
        cache.get(SessionListKey())
        told = [_next(cache.subscribe(since=version)) for version in (kept, lost)]

    assert [(change.reason, change.profile) for change in told] == [
        ("invalidated", "after"),
        ("resumed", None),
    ]
