"""The mailbox that runs on the caller: replies, errors, interrupts, timers, stop.

Proves parts of L1, L5, L6 and L7. Tests run in the main thread, which runs no mailbox: what is about a thread that
does is done elsewhere.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

import pykka
import pytest
from pykka._envelope import Envelope

from hermes_cache.actors.mailbox import MAX_NEWCOMERS, MailboxActor, MailboxRef
from hermes_cache.actors.reply import AskTimeoutError, MailboxFuture
from hermes_cache.errors import CallLostError, MailboxReentryError
from hermes_cache.threads.kept_thread import KeptThread
from tests.waiting import WAIT_S

T = TypeVar("T")
C = TypeVar("C", bound="Caller")


class Caller(MailboxActor):
    """Calls what it is sent; its clock stands at 0 and tells of each turn of its own thread."""

    def __init__(self) -> None:
        super().__init__(clock=self._read_clock)
        self.turns = threading.Semaphore(0)
        self.turn_count = 0
        self.wakes: list[threading.Thread] = []
        self.woken = threading.Event()
        self.calls: list[str] = []

    def on_start(self) -> None:
        self.calls.append("started")

    def on_stop(self) -> None:
        self.calls.append("stopped")

    def on_receive(self, message: Callable[[], Any]) -> object:
        return message()

    def on_wake(self) -> None:
        self.wakes.append(threading.current_thread())
        self.woken.set()

    def _read_clock(self) -> float:
        self.turn_count += 1
        self.turns.release()
        return 0.0


class FailsFirst:
    """A message whose first call, or first few, are interrupted."""

    def __init__(self, failures: int, error: type[BaseException]) -> None:
        self.failures = failures
        self.error = error
        self.called_on: list[threading.Thread] = []
        self.done = threading.Event()

    def __call__(self) -> str:
        self.called_on.append(threading.current_thread())
        if len(self.called_on) <= self.failures:
            raise self.error
        self.done.set()
        return "done"


@pytest.fixture
def ref() -> Iterator[MailboxRef[Caller]]:
    """Return an actor whose own thread sleeps."""
    reference = Caller.start()
    wait_for_turn(reference)
    yield reference
    reference.stop()
    assert reference.join(WAIT_S)


def actor_of(ref: MailboxRef[C]) -> C:
    actor: C = cast("C", ref.actor_inbox._actor)
    return actor


def elsewhere(call: Callable[[], T]) -> T:
    """Call on a thread that is not the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(WAIT_S)


def wait_for_turn(ref: MailboxRef[Caller]) -> None:
    assert actor_of(ref).turns.acquire(timeout=WAIT_S)
    with ref.actor_inbox._lock:  # who takes a turn gives this back before it sleeps
        pass


def leave(ref: MailboxRef[Caller], message: Callable[[], Any]) -> MailboxFuture:
    """Put a message in as another asker does who has not yet come to run it."""
    future = MailboxFuture()
    future.mailbox = ref.actor_inbox
    ref.actor_inbox._envelopes.append(Envelope(message, future))
    return future


def test_an_ask_runs_on_the_thread_that_asks(ref: MailboxRef[Caller]) -> None:
    asked_on, handled_on = elsewhere(lambda: (threading.current_thread(), ref.ask(threading.current_thread)))

    assert handled_on is asked_on
    assert actor_of(ref).turn_count == 1


def test_an_ask_of_the_main_thread_runs_on_the_actors_own(ref: MailboxRef[Caller]) -> None:
    """L6"""
    handled_on = ref.ask(threading.current_thread)

    assert handled_on.name == actor_of(ref).thread.name


def test_a_tell_and_an_ask_that_nobody_waits_for_run_on_the_actors_own_thread(ref: MailboxRef[Caller]) -> None:
    told = FailsFirst(0, Exception)
    asked = FailsFirst(0, Exception)

    ref.tell(told)
    ref.ask(asked, block=False)

    assert told.done.wait(WAIT_S)
    assert asked.done.wait(WAIT_S)
    assert {thread.name for thread in (*told.called_on, *asked.called_on)} == {actor_of(ref).thread.name}


def test_messages_are_handled_in_the_order_in_which_they_came(ref: MailboxRef[Caller]) -> None:
    handled: list[int] = []
    for number in range(50):
        leave(ref, partial(handled.append, number))

    last = ref.ask(lambda: list(handled))

    assert last == list(range(50))


def test_a_runner_handles_at_most_a_bounded_number_of_messages_after_its_own(ref: MailboxRef[Caller]) -> None:
    handled_on: list[threading.Thread] = []
    all_done = threading.Event()
    own = leave(ref, lambda: None)
    for _ in range(MAX_NEWCOMERS + 1):
        leave(ref, lambda: handled_on.append(threading.current_thread()))
    leave(ref, all_done.set)

    runner = elsewhere(lambda: (own.get(), threading.current_thread())[1])

    assert all_done.wait(WAIT_S)
    assert handled_on.count(runner) == MAX_NEWCOMERS
    assert handled_on[-1].name == actor_of(ref).thread.name


def test_an_error_of_a_handler_reaches_its_asker_alone(ref: MailboxRef[Caller]) -> None:
    broken = leave(ref, FailsFirst(9, ZeroDivisionError))

    answer = ref.ask(lambda: "fine")

    assert answer == "fine"
    with pytest.raises(ZeroDivisionError):
        broken.get()


def test_an_error_while_handling_a_tell_is_logged_once_and_the_actor_lives_on(
    ref: MailboxRef[Caller], caplog: pytest.LogCaptureFixture
) -> None:
    """Plain pykka stops the actor."""
    ref.tell(FailsFirst(9, ValueError))

    answer = ref.ask(lambda: "alive")
    ref.stop()
    assert ref.join(WAIT_S)

    records = [record for record in caplog.records if record.name.startswith("hermes_cache")]
    assert answer == "alive"
    assert [(record.getMessage(), record.levelno) for record in records] == [
        ("hermes_cache.handler_failed", logging.ERROR)
    ]
    assert records[0].__dict__["hermes_cache.message"] == "FailsFirst"


def test_an_ask_that_timed_out_says_so_as_pykka_and_as_python_does_and_still_runs(ref: MailboxRef[Caller]) -> None:
    entered, leaves = threading.Event(), threading.Event()

    def pause() -> None:
        entered.set()
        leaves.wait(WAIT_S)

    ref.tell(pause)
    late = FailsFirst(0, Exception)
    assert entered.wait(WAIT_S)

    with pytest.raises(AskTimeoutError, match=r"within 0\.01 s") as raised:
        ref.ask(late, timeout=0.01)
    leaves.set()

    assert isinstance(raised.value, pykka.Timeout)
    assert isinstance(raised.value, TimeoutError)
    assert late.done.wait(WAIT_S)


def test_an_ask_with_a_bound_is_answered_by_the_actors_own_thread(ref: MailboxRef[Caller]) -> None:
    handled_on = ref.ask(threading.current_thread, timeout=WAIT_S)

    assert handled_on.name == actor_of(ref).thread.name


def test_an_ask_from_inside_the_mailbox_is_refused_and_runs_afterwards(ref: MailboxRef[Caller]) -> None:
    """L5"""
    inner = FailsFirst(0, Exception)

    with pytest.raises(MailboxReentryError, match="use tell"):
        ref.ask(lambda: ref.ask(inner))
    with pytest.raises(MailboxReentryError, match="use tell"):
        ref.ask(lambda: ref.ask(inner, timeout=WAIT_S))

    assert inner.done.wait(WAIT_S)


def test_a_tell_from_inside_the_mailbox_is_put_behind_what_waits(ref: MailboxRef[Caller]) -> None:
    """L5"""
    order: list[str] = []
    leave(ref, lambda: ref.tell(lambda: order.append("told")))
    leave(ref, lambda: order.append("waited"))
    done = leave(ref, lambda: None)

    elsewhere(done.get)
    ref.ask(lambda: None)

    assert order == ["waited", "told"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_thrown_into_a_runner_hits_it_alone_and_the_asker_in_hand_is_told(
    ref: MailboxRef[Caller], error: type[BaseException]
) -> None:
    """L6: plain pykka leaves the asker unanswered and stops every actor of the process."""
    mine = FailsFirst(0, error)
    theirs = leave(ref, FailsFirst(9, error))

    with pytest.raises(error):
        elsewhere(lambda: ref.ask(mine))

    assert mine.done.wait(WAIT_S)
    with pytest.raises(CallLostError, match="call again"):
        theirs.get()


def test_what_is_thrown_into_the_own_thread_costs_one_message_and_nothing_else(
    ref: MailboxRef[Caller], caplog: pytest.LogCaptureFixture
) -> None:
    """L6, L7"""
    other_actor = pykka.ThreadingActor.start()
    message = FailsFirst(9, SystemExit)

    ref.tell(message)
    answer = ref.ask(lambda: "alive", timeout=WAIT_S)

    assert answer == "alive"
    assert len(message.called_on) == 1
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.turn_failed"]
    assert other_actor.is_alive()
    other_actor.stop()


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_what_fails_for_lack_of_stack_on_a_strangers_thread_is_handled_by_the_own_thread(
    ref: MailboxRef[Caller], error: type[Exception]
) -> None:
    """L6: the asker has done nothing wrong"""
    message = FailsFirst(1, error)
    theirs = leave(ref, message)

    mine = elsewhere(lambda: ref.ask(lambda: "mine"))

    assert mine == "mine"
    assert theirs.get() == "done"
    assert [thread.name == actor_of(ref).thread.name for thread in message.called_on] == [False, True]


def test_what_fails_for_lack_of_stack_on_the_askers_own_thread_is_raised_there(ref: MailboxRef[Caller]) -> None:
    with pytest.raises(RecursionError):
        elsewhere(lambda: ref.ask(FailsFirst(1, RecursionError)))


class Mortal(Caller):
    """An actor whose own thread ends at once, as long as it is told to."""

    def __init__(self, dies: threading.Event) -> None:
        super().__init__()
        self.dies = dies

    def _actor_loop(self) -> None:
        if not self.dies.is_set():
            super()._actor_loop()


@pytest.fixture
def orphan() -> Iterator[MailboxRef[Mortal]]:
    """Return an actor whose own thread ended though nobody told it to."""
    dies = threading.Event()
    dies.set()
    reference = Mortal.start(dies)
    assert reference.join(WAIT_S)
    yield reference
    dies.clear()
    actor_of(reference).thread.ensure_running()
    elsewhere(reference.stop)
    assert reference.join(WAIT_S)


@pytest.mark.parametrize("ask_on", [lambda call: call(), elsewhere], ids=["main thread", "another"])
def test_an_own_thread_that_ended_is_made_anew_by_the_next_who_needs_it(
    orphan: MailboxRef[Mortal], ask_on: Callable[[Callable[[], object]], object]
) -> None:
    """L7"""
    actor = actor_of(orphan)
    was_missing = actor.thread.is_missing
    actor.dies.clear()
    actor.thread._tried_s = -math.inf  # a second has passed

    answer = ask_on(lambda: orphan.ask(lambda: "alive", timeout=WAIT_S))

    assert answer == "alive"
    assert (was_missing, actor.thread.is_missing) == (True, False)


def test_an_own_thread_that_ended_is_made_anew_at_most_once_a_second(
    orphan: MailboxRef[Mortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L7"""
    actor = actor_of(orphan)
    started: list[threading.Thread] = []
    actor.thread._tried_s = -math.inf

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", lambda thread: started.append(thread))  # noqa: PLW0108 - a method
        for _ in range(100):
            actor.thread.ensure_running()

    assert len(started) == 1


def test_the_main_thread_handles_its_message_in_position_while_no_own_thread_can_be_had(
    orphan: MailboxRef[Mortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L7: nobody hangs"""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", refuse)
        handled_on = orphan.ask(threading.current_thread)
        is_missing = actor_of(orphan).thread.is_missing

    assert handled_on is threading.current_thread()
    assert is_missing


def test_a_timer_that_a_caller_sets_wakes_the_sleeping_thread(ref: MailboxRef[Caller]) -> None:
    actor = actor_of(ref)

    elsewhere(lambda: ref.ask(lambda: setattr(actor, "wake_at_s", -1.0)))

    assert actor.woken.wait(WAIT_S)
    assert ref.ask(lambda: actor.wake_at_s) == math.inf
    assert [thread.name for thread in actor.wakes] == [actor.thread.name]


def test_the_own_thread_hears_once_of_a_timer_that_is_not_due_and_does_not_run_it(ref: MailboxRef[Caller]) -> None:
    actor = actor_of(ref)
    elsewhere(lambda: ref.ask(lambda: setattr(actor, "wake_at_s", 1000.0)))
    wait_for_turn(ref)

    elsewhere(lambda: [ref.ask(lambda: None) for _ in range(100)])

    assert actor.turn_count == 2
    assert actor.wakes == []


def test_a_timer_runs_at_its_time() -> None:
    ref = Timed.start()

    rang = Timed.rang(ref)

    assert rang.wait(WAIT_S)
    ref.stop()
    assert ref.join(WAIT_S)


def test_an_error_of_the_timer_is_logged_and_the_actor_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    ref = Timed.start(fails=True)

    rang = Timed.rang(ref)
    assert rang.wait(WAIT_S)
    answer = ref.ask("alive", timeout=WAIT_S)

    assert answer == "alive"
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.turn_failed"]
    ref.stop()
    assert ref.join(WAIT_S)


class Timed(MailboxActor):
    """Rings a few milliseconds after its start, by the real clock."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.ringing = threading.Event()
        self.fails = fails

    def on_start(self) -> None:
        self.wake_at_s = self._clock() + 0.005

    def on_receive(self, message: object) -> object:
        return message

    def on_wake(self) -> None:
        self.ringing.set()
        if self.fails:
            raise ValueError

    @staticmethod
    def rang(ref: "MailboxRef[Timed]") -> threading.Event:
        return cast("Timed", ref.actor_inbox._actor).ringing


def test_stop_runs_the_hooks_answers_what_waits_and_ends_the_thread() -> None:
    """L1"""
    ref = Caller.start()
    actor = actor_of(ref)
    wait_for_turn(ref)
    stopping = ref.actor_inbox
    before = leave(ref, lambda: "handled")
    stopping.put(Envelope(pykka.messages._ActorStop(), MailboxFuture()))
    after = leave(ref, lambda: "never")

    assert before.get() == "handled"
    with pytest.raises(pykka.ActorDeadError):
        after.get()
    assert ref.join(WAIT_S)
    assert actor.calls == ["started", "stopped"]
    assert not ref.is_alive()


def test_a_stopped_actor_refuses_at_once() -> None:
    """L1"""
    ref = Caller.start()
    first_stop = ref.stop()
    assert ref.join(WAIT_S)

    second_stop = ref.stop()

    assert (first_stop, second_stop) == (True, False)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(lambda: None)
    for timeout in (None, WAIT_S):
        with pytest.raises(pykka.ActorDeadError):
            ref.ask(lambda: None, timeout=timeout)


def test_an_actor_that_fails_to_start_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MailboxActor):
        def on_start(self) -> None:
            raise ValueError

    ref = Broken.start()

    with pytest.raises(pykka.ActorDeadError):
        ref.ask("anything")
    assert ref.join(WAIT_S)
    assert "Unhandled exception" in caplog.text


def test_a_start_that_is_interrupted_raises_and_leaves_no_thread() -> None:
    threads: list[KeptThread] = []

    class Interrupted(MailboxActor):
        def on_start(self) -> None:
            threads.append(self.thread)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted.start()

    assert threads[0].join(WAIT_S)
    assert not threads[0].is_missing


def test_a_stranger_who_stops_all_actors_does_not_stop_this_one(ref: MailboxRef[Caller]) -> None:
    pykka.ActorRegistry.stop_all()

    assert ref.ask(lambda: "alive") == "alive"


def test_futures_map_reduce_and_are_set_once_as_pykkas_are(ref: MailboxRef[Caller]) -> None:
    future = ref.ask(lambda: [1, 2, 3], block=False)

    assert future.map(len).get() == 3
    assert future.reduce(lambda x, y: x + y).get(timeout=WAIT_S) == 6
    assert future.filter(lambda x: x > 1).get() == [2, 3]
    assert future.join(ref.ask(lambda: 4, block=False)).get() == [[1, 2, 3], 4]
    with pytest.raises(queue.Full):
        future.set(1)


def test_a_proxy_works_as_pykkas_does(ref: MailboxRef[Caller]) -> None:
    proxy = ref.proxy()

    turn_count = proxy.turn_count.get()

    assert turn_count >= 1
