"""The mailbox under real threads, signals, forks and process exits. Proves parts of L1, L2, L3 and L5."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType

import pykka
import pytest

from hermes_cache.actors.mailbox import MailboxActor, MailboxRef
from hermes_cache.errors import CallLostError
from hermes_cache.threads.forks import after_fork_in_child
from tests.waiting import PROCESS_S

WAIT_S = 30.0


class Caller(MailboxActor):
    """Calls what it is sent."""

    def on_receive(self, message: Callable[[], object]) -> object:
        return message()


class Critical:
    """A section that notices when two threads are in it, and counts what was done there."""

    def __init__(self) -> None:
        self.inside = threading.Lock()
        self.collisions = 0
        self.count = 0
        self.seen: list[tuple[int, int]] = []

    def note(self, sender: int, number: int) -> tuple[int, int]:
        if not self.inside.acquire(blocking=False):
            self.collisions += 1
            return sender, number
        self.count += 1
        self.seen.append((sender, number))
        self.inside.release()
        return sender, number


class Interrupt(BaseException):
    """What a stranger throws into a thread."""


@pytest.fixture
def ref() -> Iterator[MailboxRef[Caller]]:
    reference = Caller.start()
    yield reference
    reference.stop()
    assert reference.join(WAIT_S)


@contextmanager
def held(ref: MailboxRef[Caller]) -> Iterator[None]:
    """Hold the mailbox on the actor's own thread."""
    entered, leaves = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        leaves.wait(WAIT_S)

    ref.tell(hold)
    assert entered.wait(WAIT_S)
    try:
        yield
    finally:
        leaves.set()


def wait_until_put(ref: MailboxRef[Caller], message: Callable[[], object]) -> None:
    """Wait until a message is in the mailbox, which somebody must hold."""
    ends_at_s = time.monotonic() + WAIT_S
    while all(envelope.message is not message for envelope in list(ref.actor_inbox._envelopes)):
        assert time.monotonic() < ends_at_s


@contextmanager
def signal_handler(number: signal.Signals, handler: Callable[[], None]) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        handler()

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def exit_code_of_fork(child: Callable[[], bool]) -> int:
    """Run a function in a forked child; 0 where it gives true, by signal where it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(WAIT_S))
        code = 1
        try:
            code = 0 if child() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def is_refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except pykka.ActorDeadError:
        return True
    return False


def test_sixteen_threads_take_turns_and_each_is_answered_in_its_own_order(ref: MailboxRef[Caller]) -> None:
    section = Critical()
    start = threading.Barrier(16)

    def send(sender: int) -> bool:
        start.wait(WAIT_S)
        right = True
        for number in range(300):
            if number % 3 == 0:
                ref.tell(lambda number=number: section.note(sender, number))
            else:
                timeout = WAIT_S if number % 50 == 1 else None
                answer = ref.ask(lambda number=number: section.note(sender, number), timeout=timeout)
                right = right and answer == (sender, number)
        return right

    with ThreadPoolExecutor(16) as pool:
        all_right = list(pool.map(send, range(16), timeout=WAIT_S))
    ref.ask(lambda: None)

    assert all(all_right)
    assert (section.collisions, section.count) == (0, 16 * 300)
    for sender in range(16):
        assert [number for by, number in section.seen if by == sender] == list(range(300))


def test_an_asker_who_finds_the_mailbox_running_is_answered_by_the_runner(ref: MailboxRef[Caller]) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held(ref):
            waiting = pool.submit(ref.ask, threading.current_thread)
            wait_until_put(ref, threading.current_thread)
        handled_on = waiting.result(WAIT_S)

    assert handled_on.name == ref._thread.name


def race_ask_against_stop(pool: ThreadPoolExecutor) -> list[bool]:
    """Return, for three askers of an actor that is being stopped, whether each was answered or refused."""
    ref = Caller.start()
    start = threading.Barrier(4)

    def ask(kind: int) -> bool:
        start.wait(WAIT_S)
        try:
            if kind == 0:
                return bool(ref.ask(lambda: "answered"))
            if kind == 1:
                return bool(ref.ask(lambda: "answered", timeout=WAIT_S))
            return bool(ref.ask(lambda: "answered", block=False).get())
        except pykka.ActorDeadError:
            return True

    asking = [pool.submit(ask, kind) for kind in range(3)]
    start.wait(WAIT_S)
    ref.stop()
    answered = [future.result(WAIT_S) for future in asking]
    assert ref.join(WAIT_S)
    return answered


@pytest.mark.parametrize("rounds", [500, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_an_ask_that_races_stop_is_answered_or_refused_but_never_left_waiting(rounds: int) -> None:
    """L1: plain pykka leaves one of them waiting for ever."""
    with ThreadPoolExecutor(3) as pool:
        for _ in range(rounds):
            assert race_ask_against_stop(pool) == [True, True, True]


def ask_until(done: threading.Event, ref: MailboxRef[Caller]) -> list[object]:
    """Ask without end, and give the answers that were wrong."""
    wrong: list[object] = []
    while not done.is_set():
        question = object()
        with suppress(CallLostError):  # what a thrown exception hits is lost, and its asker told
            answer = ref.ask(lambda question=question: question)
            wrong += [] if answer is question else [answer]
    return wrong


def interrupt_a_runner(ref: MailboxRef[Caller]) -> None:
    """Throw an interrupt into a thread that does nothing but ask, and see it end."""
    started = threading.Event()

    def run() -> None:
        with suppress(Interrupt):
            started.set()
            while True:
                ref.ask(lambda: sum(range(50)))

    runner = threading.Thread(target=run)
    runner.start()
    assert started.wait(WAIT_S)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(runner.ident or 0), ctypes.py_object(Interrupt))
    runner.join(WAIT_S)
    assert not runner.is_alive()


def test_threads_that_are_interrupted_while_they_run_the_mailbox_harm_nobody_else(ref: MailboxRef[Caller]) -> None:
    done = threading.Event()

    with ThreadPoolExecutor(2) as pool:
        bystanders = [pool.submit(ask_until, done, ref) for _ in range(2)]
        for _ in range(200):
            interrupt_a_runner(ref)
        done.set()
        wrong = [bystander.result(WAIT_S) for bystander in bystanders]

    assert wrong == [[], []]
    assert ref.ask(lambda: "alive", timeout=WAIT_S) == "alive"


def test_an_asker_who_is_interrupted_while_it_waits_leaves_its_message_to_the_others(
    ref: MailboxRef[Caller],
) -> None:
    handled = threading.Event()
    message = handled.set

    def interrupt() -> None:
        wait_until_put(ref, message)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with held(ref), ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            ref.ask(message)

    assert handled.wait(WAIT_S)


def test_a_signal_handler_may_tell_and_ask_while_its_thread_waits_for_an_answer(ref: MailboxRef[Caller]) -> None:
    """L5, L6: the interrupted call waits for the own thread, and so does the handler"""
    handled = threading.Event()
    answers: list[object] = []

    def handler() -> None:
        ref.tell(handled.set)
        answers.append(ref.ask(lambda: "answered"))

    def strike() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with signal_handler(signal.SIGUSR1, handler):
        ref.ask(strike)
        ref.ask(lambda: None)

    assert handled.wait(WAIT_S)
    assert answers == ["answered"]


def test_a_signal_handler_may_ask_while_its_thread_waits_elsewhere(ref: MailboxRef[Caller]) -> None:
    answers: list[object] = []

    with signal_handler(signal.SIGUSR1, lambda: answers.append(ref.ask(lambda: "answered"))):
        signal.raise_signal(signal.SIGUSR1)

    assert answers == ["answered"]


def test_asks_of_signal_handlers_in_a_storm_of_asks_are_all_answered(ref: MailboxRef[Caller]) -> None:
    """L5: wherever the signal lands, its ask ends."""
    outcomes: list[object] = []

    def handler() -> None:
        outcomes.append(ref.ask(lambda: "answered"))

    def storm() -> None:
        for _ in range(500):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with signal_handler(signal.SIGUSR1, handler), ThreadPoolExecutor(1) as pool:
        storming = pool.submit(storm)
        while not storming.done():
            ref.ask(lambda: None)
        storming.result(WAIT_S)

    assert outcomes
    assert set(outcomes) == {"answered"}


def test_a_forked_child_is_refused_at_once_while_the_parent_goes_on(ref: MailboxRef[Caller]) -> None:
    """L2: plain pykka's ask never returns there."""
    before_fork = ref.ask(lambda: None, block=False)

    def child() -> bool:
        return (
            not ref.is_alive()
            and is_refused(lambda: ref.ask(lambda: None))
            and is_refused(lambda: ref.ask(lambda: None, timeout=WAIT_S))
            and is_refused(lambda: ref.tell(lambda: None))
            and ref.stop() is False
            and ref.join(WAIT_S)
        )

    exit_code = exit_code_of_fork(child)

    assert exit_code == 0
    assert before_fork.get() is None
    assert ref.ask(lambda: "alive") == "alive"


def test_a_child_forked_while_another_thread_runs_the_mailbox_does_not_hang(ref: MailboxRef[Caller]) -> None:
    """L2"""
    with held(ref):
        asked_before = ref.ask(lambda: None, block=False)

        exit_code = exit_code_of_fork(
            lambda: is_refused(asked_before.get) and is_refused(lambda: ref.ask(lambda: None))
        )

    assert exit_code == 0


def test_an_object_that_is_gone_hears_of_no_fork() -> None:
    """L2"""
    calls: list[str] = []

    class Listener:
        def __init__(self, name: str) -> None:
            self.name = name
            after_fork_in_child(self.hear)

        def hear(self) -> None:
            calls.append(self.name)

    living = Listener("living")
    Listener("gone")

    exit_code = exit_code_of_fork(lambda: calls == ["living"])

    assert (exit_code, calls) == (0, [])
    assert living.name == "living"


def test_the_process_exits_with_an_actor_that_nobody_stopped() -> None:
    """L3"""
    script = (
        "from hermes_cache.actors.mailbox import MailboxActor\n"
        "ref = MailboxActor.start()\n"
        "ref.tell('anything')\n"
        "print(ref.is_alive())\n"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=PROCESS_S, check=False)  # noqa: S603 - our own script

    assert (ended.returncode, ended.stdout) == (0, b"True\n")
