"""The bus that publishers hold: topics under one name, and the journal that keeps what is sent on them.

A process that only publishes needs no cache: such a bus writes to its journal, and does not read it before
a cache on the bus does. Source: rules K5, E2, E10.
"""

import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from hermes_cache.bus.blinker_bus import BlinkerBus
from hermes_cache.closing import Closing
from hermes_cache.core.events import SESSIONS
from hermes_cache.core.policy import Policy, policy_or_default
from hermes_cache.errors import CallBlockedError
from hermes_cache.ports import Journal, Position, SystemClock
from hermes_cache.threads.aside import aside


class Bus(BlinkerBus, Closing):
    """A namespace of events: what is sent on it outdates the lists of the caches on it, and no others.

    It may be used as a context manager, by `with` or `async with`, which closes it. A bus that was given a journal
    keeps it until then, also if caches on the bus are stopped.

    Args:
        name: Names the namespace, in a journal too. Buses of one name that share a journal are one namespace.
        journal: Keeps what is sent: a URL such as "sqlite:////path/to/journal.db", a journal, or None.
        policy: The spans and bounds of writing to the journal; None for the defaults.
        incarnation: Names this life of this bus in event ids; a random name if none is given.

    Raises:
        JournalSetupError: The URL names no journal.
        TypeError: The name is no text, or the journal is none.
        ValueError: There can be no bus of that name.
    """

    def __init__(
        self,
        name: str = SESSIONS,
        journal: str | Journal | None = None,
        policy: Policy | None = None,
        *,
        incarnation: str | None = None,
    ) -> None:
        super().__init__(name, incarnation=incarnation)
        self._policy = policy_or_default(policy)
        self._publisher: _Publisher | None = None
        if journal is not None:
            self.attach_journal(journal)

    @property
    def journal(self) -> str | Journal | None:
        """The journal that was attached, as it was named; None if there is none."""
        return self._publisher.journal if self._publisher is not None else None

    def attach_journal(self, journal: str | Journal) -> None:
        """Keep what is sent from now on in a journal; caches that are made on the bus from now on share it.

        Args:
            journal: Its URL, or itself; naming the same once more changes nothing.

        Raises:
            JournalSetupError: The URL names no journal.
            TypeError: It is no journal.
            ValueError: The bus has another journal, or a cache that has none is on the bus already.
        """
        # To load it takes as long as all else here, and a bus without a journal needs none of it.
        from hermes_cache.journal.link import JournalLink  # noqa: PLC0415

        publisher = self._publisher or _Publisher(journal)
        new = partial(JournalLink, policy=self._policy, clock=SystemClock())
        with self._lock:
            if self._recorder is None and self._attached:
                todo = "attach it before the cache is made, or give it to the cache"
                raise ValueError(f"a cache without a journal is on the bus {self.name!r} already; {todo}")
            link = JournalLink.of(self, journal, user=publisher, new=new)
            publisher.leave = link.leave
            if self._publisher is None:
                leave = partial(link.leave, publisher, self._policy.stop_timeout)
                # A bus that nobody holds any more writes what was sent; a finalizer must wait for nothing.
                publisher.finalizer = weakref.finalize(self, aside.begin, leave)
                publisher.finalizer.atexit = False
            self._publisher = publisher

    def close(self) -> None:
        """Write what was sent, and let the journal go, unless caches on the bus use it.

        It waits at most `Policy.stop_timeout`; what is not written then is logged with its count. What is sent
        afterwards is not kept. Closing twice is no error.
        """
        with suppress(CallBlockedError):
            aside.do(self._close, self._policy.stop_timeout)

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""
        from hermes_cache.threads.loops import elsewhere  # noqa: PLC0415 - as in `attach_journal`

        await elsewhere(self._close)

    def _close(self) -> None:
        publisher = self._publisher
        if publisher is not None:
            publisher.leave(publisher, self._policy.stop_timeout)
            publisher.finalizer.detach()
            # Only now: a second call finishes what one that was interrupted did not.
            self._publisher = None


class _Publisher:
    """A bus as a user of its own journal: it writes, and waits for nothing that others say."""

    leave: Callable[["_Publisher", float], bool]
    finalizer: "weakref.finalize[..., Bus]"

    def __init__(self, journal: str | Journal) -> None:
        self.journal = journal

    def is_listening(self) -> bool:
        return False

    def hear_position(self, position: Position) -> None:
        pass


default_bus: Final = Bus()
"""The bus of this process, for publishers and session lists that are given no other; it is called `sessions`."""
