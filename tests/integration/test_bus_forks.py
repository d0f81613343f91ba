"""After a fork: a new incarnation, closed subscriptions, and no lock that hangs (rules E1, L2)."""

import os
import resource
import select
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache.actors.notifier import Notifier
from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import EventId, SessionListChanged
from hermes_cache.journal.bus import Bus
from hermes_cache.threads import kept_thread
from tests.waiting import WAIT_S

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def _in_child(tell: Callable[[], object]) -> str:
    """Return what a callable says in a forked child, as text."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads; such a fork is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _tell_parent(tell, writing)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], WAIT_S)
        return os.read(reading, 65536).decode() if ready else "the child hangs"
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell_parent(tell: Callable[[], object], writing: int) -> None:
    try:
        os.write(writing, repr(tell()).encode())
    except BaseException as error:  # noqa: BLE001  # nothing may escape into the parent's test run
        os.write(writing, repr(error).encode())
    finally:
        os._exit(0)


def _event() -> SessionListChanged:
    return SessionListChanged(id=EventId("life", 1), at_s=1.0, profile="p")


def test_a_child_numbers_its_events_anew_under_a_new_incarnation() -> None:
    """E1, L2"""
    bus = Bus()
    bus.settings_changed.send()

    def publish() -> tuple[bool, int]:
        bus.settings_changed.send()
        return bus.incarnation == parents, bus.last_number

    parents = bus.incarnation
    printed = _in_child(publish)

    assert printed == "(False, 1)"
    assert (bus.incarnation, bus.last_number) == (parents, 1)


def test_locks_that_a_vanished_thread_held_do_not_hang_a_childs_bus() -> None:
    """L2"""
    bus = Bus()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with bus._lock:
            held.set()
            release.wait(WAIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(WAIT_S)

    def use() -> list[int]:
        heard: list[int] = []
        bus.settings_changed.connect(lambda _sender, event: heard.append(event.id.number))
        bus.settings_changed.send()
        return heard

    printed = _in_child(use)
    release.set()
    holder.join(WAIT_S)

    assert printed == "[1]"


def test_inherited_subscriptions_are_closed_in_a_child_and_live_on_in_the_parent() -> None:
    """L2"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with feed._lock:
            held.set()
            release.wait(WAIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(WAIT_S)

    def use() -> tuple[bool, object]:
        feed.tell(_event(), "p")
        return subscription.closed, subscription.get()

    printed = _in_child(use)
    release.set()
    holder.join(WAIT_S)
    feed.tell(_event(), "p")

    assert printed == "(True, None)"
    assert not subscription.closed
    assert subscription.get(timeout=0) is not None


def test_a_childs_feed_serves_new_subscriptions_and_does_not_know_the_parents_versions() -> None:
    """E8, L2"""
    feed = Feed("life", size=64)
    feed.tell(_event(), "p")
    parents = feed.version

    def resume() -> tuple[bool, bool]:
        feed.tell(_event(), "p")
        missed = feed.subscribe(since=parents).get(timeout=0)
        return missed is not None and missed.everything, feed.version.startswith("life:")

    printed = _in_child(resume)

    assert printed == "(True, False)"


def test_a_childs_notifier_starts_a_thread_of_its_own() -> None:
    """L2"""
    notifier = Notifier(lambda item: sent.append(item))  # noqa: PLW0108  # bound below
    sent: list[object] = []
    notifier.put("parents")

    def notify() -> list[object]:
        sent.clear()
        notifier.put("childs")
        notifier.stop(WAIT_S)
        return sent

    printed = _in_child(notify)
    notifier.stop(WAIT_S)

    assert printed == "['childs']"
    assert sent == ["parents"]


def test_a_notifier_that_could_not_start_its_thread_tries_again_with_an_item_that_comes_later() -> None:
    """E6, L7; in a child, since it takes away the memory for another thread's stack."""

    def put_without_memory() -> list[object]:
        sent: list[object] = []
        notifier = Notifier(sent.append)
        threading.stack_size(2**30)
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        # Enough for all else.
        resource.setrlimit(resource.RLIMIT_AS, (_memory_in_use() + 2**28, hard))
        notifier.put("first")
        missing = notifier.missing_threads
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        threading.stack_size(0)
        notifier.put("at once")
        _retry_at_once()
        notifier.put("later")
        notifier.stop(WAIT_S)
        return [*missing, *notifier.missing_threads, *sent]

    printed = _in_child(put_without_memory)

    assert printed == "['hermes_cache.notifier', 'first', 'at once', 'later']"


def _memory_in_use() -> int:
    """Return the bytes of addresses that this process uses; 0 where the system does not say."""
    said = Path("/proc/self/statm")
    return int(said.read_text().split()[0]) * resource.getpagesize() if said.exists() else 0


def _retry_at_once() -> None:
    """Let the second pass that lies between two tries."""
    kept_thread._RETRY_S = 0  # type: ignore[misc]  # this process is a child's
