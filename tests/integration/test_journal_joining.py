"""A process that comes to a journal has its place there before it serves anything (rules J2, J3)."""

import threading
from collections.abc import Hashable

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.adapters.memory_journal import MemoryJournal, MemoryStore

_KEY = SessionListKey("work")
_WAIT_S = 10.0


class _SlowJournal(MemoryJournal):
    """One that answers nobody before it may."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.may_answer = threading.Event()

    def stamp(self) -> Hashable:
        self.may_answer.wait(_WAIT_S)
        return super().stamp()


def test_what_others_say_while_a_process_joins_is_not_missed() -> None:
    """J3: the first list may be built before the journal was read; then the next read builds another."""
    store = MemoryStore()
    journal, bus = _SlowJournal(store), Bus()
    truth = ["old"]
    policy = Policy(ttl=600.0, journal_interval=60.0)
    newcomer = SessionListCache(
        lambda _key: {"sessions": truth.copy()}, bus=Bus(), journal=journal, policy=policy
    )
    with newcomer, SessionListCache(bus=bus, journal=MemoryJournal(store), policy=policy):
        first = threading.Thread(target=newcomer.get, args=(_KEY,))
        first.start()
        first.join(0.2)
        truth[0] = "new"
        bus.session_list_changed.send(profile="work")
        journal.may_answer.set()
        first.join(_WAIT_S)

        assert newcomer.get(_KEY)["sessions"] == ["new"]
