"""Coroutines of builders and sources: a thread of the cache has one run on an event loop, and waits for it.

It runs on the loop in which the cache was entered with `async with`, so that it may use what belongs to that loop,
such as a pool of connections. If there is none, or it does not run, the thread that waits runs a loop for this
one call. A coroutine that is cancelled and goes on all the same keeps its thread, as a function that hangs does.
Only a stop leaves it to the gateway's loop. Source: rules B2, B6, L1, L5.
"""

import asyncio
from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from inspect import isawaitable
from math import inf
from typing import Any, Final, Generic, TypeVar

from hermes_cache.errors import CacheStoppedError, CoroutineCancelledError
from hermes_cache.threads.callables import Inside, close_awaitable, settle
from hermes_cache.threads.calls import Call
from hermes_cache.threads.interrupts import belongs_to_caller
from hermes_cache.threads.starting import running_loop

T = TypeVar("T")

_LOOK_S: Final = 0.5
"""A loop that was closed tells nobody, so the thread that waits looks now and then."""


def no_loop() -> None:
    """Name no loop: each coroutine gets one of its own."""


class Coroutines:
    """Runs the coroutines of one life of a cache. Any thread may call.

    Args:
        inside: Learns that foreign code runs, so that a read from there waits for nobody.
        home: Returns the loop to run on; None if each coroutine gets one of its own.

    Attributes:
        builders_await: A builder returned an awaitable, so the next one may need the loop, too.
    """

    def __init__(
        self, inside: Inside | None = None, home: Callable[[], AbstractEventLoop | None] = no_loop
    ) -> None:
        self._inside = inside or Inside()
        self._home = home
        self._runs: dict[Hashable, _Run[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._holding_up: dict[Callable[[], object], None] = {}
        self.builders_await = False
        self._is_stopped = False

    def result(self, returned: T | Awaitable[T], what: str, *, name: Hashable = None, limit_s: float = inf) -> T:
        """Return what a callable returned, or the result of that if it must be awaited.

        Args:
            returned: What it returned.
            what: The name of the callable, for messages.
            name: The name of the build, for `cancel`; None if it is no build.
            limit_s: After so many seconds it is cancelled.

        Raises:
            BaseException: Whatever the coroutine raises.
            CacheStoppedError: The cache was stopped meanwhile.
            CoroutineCancelledError: It was cancelled.
            RuntimeError: The calling thread runs an event loop, and that of another one will not do.
            TimeoutError: It was cancelled past its limit.
            TypeError: It is an asynchronous generator.
        """
        if not isawaitable(returned):
            return settle(returned, what)
        run: _Run[T] = _Run(returned, what, self._inside, limit_s)
        if name is not None:
            # Noted first: a read that begins to hold up the loop is found below, or finds this.
            self.builders_await = True
            for let_go in list(self._holding_up):
                let_go()
        name = run if name is None else name
        self._runs[name] = run
        try:
            # Looked at after it was noted: a stop finds it, or is seen here.
            if self._is_stopped:
                raise CacheStoppedError
            home, here = self._home(), running_loop()
            if home is not None and home.is_running() and home is not here:
                return run.on_loop(home, self._tasks)
            if here is not None:
                raise RuntimeError(f"{what} must be awaited, for which this thread would block its event loop")
            return run.on_own_loop()
        finally:
            run.close()
            self._runs.pop(name, None)

    def is_home(self) -> bool:
        """Say whether the calling thread runs the loop for the coroutines, so that to wait for one is in vain."""
        home = self._home()
        return home is not None and home is running_loop()

    @contextmanager
    def held_up(self, let_go: Callable[[], object]) -> Iterator[None]:
        """Know that this thread waits meanwhile, and holds up the loop if it runs that.

        Args:
            let_go: Ends the wait; called if a builder needs the loop.
        """
        if not self.is_home():
            yield
            return
        self._holding_up[let_go] = None
        try:
            if self.builders_await:
                let_go()
            yield
        finally:
            self._holding_up.pop(let_go, None)

    def cancel(self, name: Hashable) -> None:
        """Cancel the coroutine of a call, if it has one; it is not waited for."""
        run = self._runs.get(name)
        if run is not None:
            run.cancel()

    def stop(self) -> None:
        """Cancel all, now and later; a thread that waits for one on another thread's loop waits no more."""
        self._is_stopped = True
        for run in list(self._runs.values()):
            run.cancel(CacheStoppedError())

    async def ended(self, timeout_s: float) -> None:
        """Wait on the loop where they run for those that were cancelled, at most so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)


class _Run(Generic[T]):
    """One awaitable on its way: a thread waits for it, and a loop runs it."""

    def __init__(self, awaitable: Awaitable[T], what: str, inside: Inside, limit_s: float) -> None:
        self._awaitable = awaitable
        self._what = what
        self._inside = inside
        self._limit_s = None if limit_s == inf else limit_s
        self._task: asyncio.Task[Any] | None = None
        self._is_begun = False
        self._is_cancelled = False
        self._exit: BaseException | None = None
        self._over: Call[T] = Call(self._outcome)

    def on_own_loop(self) -> T:
        """Run it on this thread, on a loop for it alone."""
        main = self._main()
        try:
            with asyncio.Runner() as runner:
                return runner.run(main)
        except CancelledError:
            raise CoroutineCancelledError(self._what) from None
        finally:
            main.close()

    def on_loop(self, loop: AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> T:
        """Have the loop of another thread run it, and wait.

        Args:
            loop: The loop.
            tasks: Holds its task while that runs; only the loop's thread changes it.
        """

        def begin() -> None:
            task = loop.create_task(self._on_shared_loop())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(self._end)

        try:
            # The context variables of this thread go along, such as those that `build_context` set.
            loop.call_soon_threadsafe(begin)
            while not self._over.wait(_LOOK_S):
                if loop.is_closed():
                    self._over.fail(CoroutineCancelledError(self._what))
        except RuntimeError:
            # The loop was closed just now.
            self._over.fail(CoroutineCancelledError(self._what))
        return self._over.result()

    def cancel(self, error: Exception | None = None) -> None:
        """Cancel it; one that is not begun is never begun.

        Args:
            error: Lets the thread go at once that waits for it on another thread's loop; None if that waits on.
        """
        # Noted first: the thread that is let go closes what is not begun, and the loop must not begin it then.
        self._is_cancelled = True
        if error is not None:
            self._over.fail(error)
        task = self._task
        if task is None:
            self._over.fail(CoroutineCancelledError(self._what))
            return
        with suppress(RuntimeError):
            task.get_loop().call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """See that nothing warns of an awaitable that was never begun."""
        if not self._is_begun:
            close_awaitable(self._awaitable)

    async def _on_shared_loop(self) -> T | None:
        """Run it so that its own `SystemExit` does not end the loop, as it does out of a task."""
        try:
            return await self._main()
        except (SystemExit, KeyboardInterrupt) as error:
            if belongs_to_caller(error):
                raise
            self._exit = error
            return None

    async def _main(self) -> T:
        self._task = asyncio.current_task()
        # Looked at after the task was noted: a thread that cancels it finds the task, or is seen here.
        if self._is_cancelled:
            raise CancelledError
        self._is_begun = True
        self._inside.note_task()
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                return await self._awaitable
        except TimeoutError:
            if limit.expired():
                late = f"the coroutine of {self._what} took longer than {self._limit_s:g} s, and was cancelled"
                raise TimeoutError(late) from None
            raise

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            # Else the loop complains that nobody looked, if the thread was let go.
            task.exception()
        self._over.run()

    def _outcome(self) -> T:
        if self._task is None or self._task.cancelled():
            raise CoroutineCancelledError(self._what)
        if self._exit is not None:
            raise self._exit
        outcome: T = self._task.result()
        return outcome
