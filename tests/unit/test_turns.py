"""Steps that come one at a time, though a finalizer or another thread comes amid one (L4, L6)."""

import threading
from collections.abc import Callable

import pytest

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.cache.lines import Lines, Turns
from hermes_cache.errors import MailboxReentryError, NoThreadError
from tests.waiting import WAIT_S


def test_a_step_that_comes_amid_another_is_done_after_it() -> None:
    """L6"""
    turns, order = Turns(), list[str]()

    def outer() -> None:
        turns.do(lambda: order.append("inner"))
        order.append("outer")

    turns.do(outer)

    assert order == ["outer", "inner"]


def test_what_a_step_gives_or_raises_comes_to_who_asked_for_it() -> None:
    """L6"""
    turns = Turns()

    assert turns.do(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        turns.do(lambda: 1 // 0)


def test_what_a_step_returns_or_raises_that_was_left_is_passed_on_later() -> None:
    """L6"""
    turns, told = Turns(), list[tuple[object, type[Exception] | None]]()

    def late(value: object, error: Exception | None) -> None:
        told.append((value, type(error) if error else None))

    def outer() -> None:
        assert turns.do(lambda: 7, late) is None
        assert turns.do(lambda: 1 // 0, late) is None

    turns.do(outer, late)

    assert told == [(7, None), (None, ZeroDivisionError)]


class Striking:
    """A value that does something when its hash is asked for, or whether it is another, as a finalizer might."""

    strike: Callable[[], object] | None = None

    def __hash__(self) -> int:
        self._strike()
        return 1

    def __eq__(self, other: object) -> bool:
        self._strike()
        return self is other

    def _strike(self) -> None:
        strike, self.strike = self.strike, None
        if strike is not None:
            strike()


def _on_another_thread(act: Callable[[], object], done: threading.Event) -> Callable[[], None]:
    """Return a call that has something done on another thread, and waits for it."""

    def run() -> None:
        act()
        done.set()

    def strike() -> None:
        threading.Thread(target=run, daemon=True).start()
        done.wait(WAIT_S)
        came.append(done.is_set())

    came: list[bool] = []
    strike.came = came  # type: ignore[attr-defined]
    return strike


def test_a_call_that_comes_amid_the_bookkeeping_of_lines_waits_for_nobody() -> None:
    """L6: the thread that runs the mailbox makes such calls, and a finalizer amid one waits for the mailbox."""
    lines, name, ran, done = Lines("hermes_cache.test_line", 4), Striking(), threading.Event(), threading.Event()
    strike = _on_another_thread(lambda: lines.call("other", ran.set), done)

    def arm() -> None:
        name.strike = strike

    # What is asked next for the name's hash is the end of this call.
    call = lines.call(name, arm)

    assert call.wait(WAIT_S)
    assert ran.wait(WAIT_S)
    assert strike.came == [True]  # type: ignore[attr-defined]
    assert lines.stop(WAIT_S)


def test_a_worker_is_refused_late_by_who_does_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6"""
    lines, name = Lines("hermes_cache.test_line", 4), Striking()
    calls = []

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def strike() -> None:
        with monkeypatch.context() as machine:
            machine.setattr(threading.Thread, "start", refuse)
            calls.append(lines.call("amid", lambda: None))
            lines._turns._turns.popleft().run()

    name.strike = strike
    lines.call(name, lambda: None)

    assert calls[0].wait(WAIT_S)
    with pytest.raises(NoThreadError, match="can't start"):
        calls[0].result()
    assert lines.stop(WAIT_S)


class Silent(MailboxActor):
    """Takes anything."""

    def on_receive(self, message: object) -> object:
        """Return it back."""
        return message


class Lock:
    """A lock under which something is done as soon as it is held, as by a finalizer."""

    def __init__(self, strike: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._strike = strike
        self.locked = self._lock.locked

    def __enter__(self) -> None:
        self._lock.acquire()
        self._strike()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_finalizer_that_asks_as_soon_as_its_thread_may_run_the_mailbox_waits_for_nobody() -> None:
    """L6"""
    ref, came = Silent.start(), list[object]()

    def strike() -> None:
        if threading.current_thread() is asker and not came:
            with pytest.raises(MailboxReentryError):
                ref.ask("from the finalizer")
            came.append("refused")

    asker = threading.Thread(target=lambda: came.append(ref.ask("from the thread")), daemon=True)
    ref.actor_inbox._lock = Lock(strike)  # type: ignore[assignment]
    asker.start()
    asker.join(WAIT_S)

    assert came == ["refused", "from the thread"]
    ref.stop()


def test_a_thread_that_an_interrupt_kept_from_noting_that_it_left_the_mailbox_may_ask_again() -> None:
    """L6"""
    ref = Silent.start()
    came: list[object] = []

    def ask() -> None:
        ref.actor_inbox._runners.add(threading.get_ident())
        came.append(ref.ask("again"))

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(WAIT_S)

    assert came == ["again"]
    ref.stop()
