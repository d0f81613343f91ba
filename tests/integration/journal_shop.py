"""Processes with two lists, each on a bus of its own, that share one journal; each list counts its builds."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from hermes_cache import Bus, Change, ListCache, Policy
from tests.waiting import PROCESS_S, WAIT_S

POLICY: Final = Policy(ttl=3_600.0, streaming_ttl=3_600.0, journal_interval=0.0, journal_wait=10.0)
LISTS: Final = ("orders", "bills")


class Shop:
    """What a process has.

    Attributes:
        buses: By name.
        caches: The list of each bus; its keys are customers, the empty one is everybody.
        builds: How often each list was built for each customer.
    """

    def __init__(self, url: str) -> None:
        self.buses = {name: Bus(name) for name in LISTS}
        self.builds = {name: Counter[str]() for name in LISTS}
        self.caches: dict[str, ListCache[str]] = {}
        for name, bus in self.buses.items():
            builds = self.builds[name]

            def build(customer: str, builds: Counter[str] = builds) -> dict[str, object]:
                builds[customer] += 1
                return {"customer": customer, "build": builds[customer]}

            self.caches[name] = ListCache(
                build, profile_of=lambda customer: customer or None, bus=bus, journal=url, policy=POLICY
            )

    def read(self, name: str, *customers: str, at_least: str | None = None) -> list[int]:
        """Read lists, and return how often each was built by then."""
        cache = self.caches[name]
        return [int(str(cache.get(customer, at_least=at_least)["build"])) for customer in customers]

    def say(self, name: str, *customers: str) -> str:
        """Say that the lists of customers changed, and return the last ticket."""
        tickets = [self.caches[name].invalidate(customer) for customer in customers]
        return str(tickets[-1])

    def missed(self, name: str, since: str) -> tuple[str, list[str | None]]:
        """Return the version of somebody who subscribes now, and the profiles of what they missed since."""
        with self.caches[name].subscribe(since=since or None) as changes:
            found: list[Change] = []
            while (change := changes.get(timeout=0)) is not None:
                found.append(change)
            return changes.version, [each.profile for each in found if each.reason != "source_changed"]


@contextmanager
def opened(url: str) -> Iterator[Shop]:
    """Let this process be one of them."""
    shop = Shop(url)
    with ExitStack() as stack:
        for cache in shop.caches.values():
            stack.enter_context(cache)
        yield shop


class OtherShop:
    """The same in a process of its own, asked for one thing at a time."""

    def __init__(self, url: str) -> None:
        spawn = get_context("spawn")
        self._here, there = spawn.Pipe()
        self._process = spawn.Process(target=_live, args=(url, there), daemon=True)
        self._process.start()
        there.close()

    def read(self, name: str, *customers: str, at_least: str | None = None) -> list[int]:
        """Do what `Shop.read` does there."""
        found: list[int] = self._ask("read", name, *customers, at_least=at_least)  # type: ignore[assignment]  # what it sends
        return found

    def say(self, name: str, *customers: str) -> str:
        """Do what `Shop.say` does there."""
        return str(self._ask("say", name, *customers))

    def missed(self, name: str, since: str) -> tuple[str, list[str | None]]:
        """Do what `Shop.missed` does there."""
        found: tuple[str, list[str | None]] = self._ask("missed", name, since)  # type: ignore[assignment]  # likewise
        return found

    def _ask(self, act: str, *given: str, **named: str | None) -> object:
        self._here.send((act, given, named))
        assert self._here.poll(PROCESS_S), "the process hangs"
        return self._here.recv()

    def close(self) -> None:
        """End it."""
        self._here.send(None)
        self._process.join(WAIT_S)
        assert self._process.exitcode == 0


def _live(url: str, asked: Connection) -> None:
    with opened(url) as shop, suppress(EOFError):
        while (request := asked.recv()) is not None:
            act, given, named = request
            asked.send(getattr(shop, act)(*given, **named))
