"""A storm of interrupts: a program whose main thread is struck at random moments while it publishes and reads.

Six other threads read and publish beside it. It writes what became of all that as one line of JSON. Run as
`python interrupt_storm.py SECONDS AlarmError FOLDER`; without a folder there is no journal.
"""

import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import FrameType

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey, journal_at
from hermes_cache.ports import Position

_PROFILES = [f"p{number}" for number in range(8)]
_GIVES_UP_S = 20.0
_WITHIN_S = (0.0005, 0.005, 0.05, 0.5)


class AlarmError(Exception):
    """What a plain alarm raises."""


class Truth:
    """What the lists should say: for each profile, how often it was changed, and how often that was published."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.building: Counter[str] = Counter()
        self.two_at_once = 0
        self.begun = 0
        self.ended = 0
        self._lock = threading.Lock()

    def change(self, profile: str) -> int:
        with self._lock:
            self.changes[profile] += 1
            return self.changes[profile]

    def publish(self, profile: str, change: int) -> None:
        with self._lock:
            self.published[profile] = max(self.published[profile], change)

    def build(self, key: SessionListKey) -> Mapping[str, object]:
        profile = key.profile_name
        with self._lock:
            self.begun += 1
            self.building[profile] += 1
            self.two_at_once += self.building[profile] > 1
            seen = self.changes[profile]
        time.sleep(0.002)
        with self._lock:
            self.building[profile] -= 1
            self.ended += 1
        return {"seen": seen, "sessions": []}


class Striker:
    """Arms one alarm at a time, which raises in the main thread."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error
        self.raised = 0
        self.caught = 0
        self._armed = False
        self._random = random.Random(7)
        signal.signal(signal.SIGALRM, self._strike)

    def during(self, act: Callable[[], None]) -> None:
        """Do something, and be struck at some moment of it, or not."""
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, self._random.choice(_WITHIN_S) * self._random.random())
            act()
            self._armed = False
        except self.error:
            self.caught += 1

    def _strike(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            self.raised += 1
            raise self.error


class Storm:
    """A cache under it, and what happens there."""

    def __init__(self, error: type[BaseException], folder: str | None) -> None:
        self.truth = Truth()
        self.striker = Striker(error)
        self.bus = Bus()
        self.applied: list[str] = []
        self.bus.attach(lambda event: self.applied.append(str(event.id)))
        self.url = folder and f"sqlite:///{folder}/journal.db"
        policy = Policy(ttl=3_600.0, max_entries=5, journal_interval=0.0)
        self.cache = SessionListCache(self.truth.build, bus=self.bus, policy=policy, journal=self.url)
        self.done = threading.Event()
        self.outdated: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, object]:
        """Let it rage for so long, and say what became of it."""
        with self.cache:
            threads = [threading.Thread(target=self._beside, args=(number,), daemon=True) for number in range(6)]
            for thread in threads:
                thread.start()
            self._in_main_thread(time.monotonic() + seconds)
            self.done.set()
            for thread in threads:
                thread.join(_GIVES_UP_S)
            hung = sum(thread.is_alive() for thread in threads)
            self._come_to_rest()
            stats, health = self.cache.stats(), self.cache.health()
        said = set(self.applied)
        half_published = {"half published": len(said ^ _kept(self.url))} if self.url else {}
        truth, striker = self.truth, self.striker
        return {
            "raised": striker.raised,
            "swallowed": striker.raised - striker.caught,
            "reads": self.reads.total(),
            "reads of the main thread": self.reads["main"],
            "outdated": self.outdated.total(),
            "errors": dict(self.errors),
            "hung": hung,
            "two builders of a key at once": truth.two_at_once,
            "builds lost": truth.begun - truth.ended + stats.building + stats.queued + stats.abandoned,
            "left waiting": stats.waiting,
            "unhealthy because of": "" if health.healthy else repr(health),
            "events": len(said),
            **half_published,
            "applied twice": len(self.applied) - len(said),
        }

    def _in_main_thread(self, ends_at_s: float) -> None:
        chosen = random.Random(8)
        while time.monotonic() < ends_at_s:
            profile = chosen.choice(_PROFILES)
            try:
                self.striker.during(lambda profile=profile: self._publish_and_read(profile, "main"))  # type: ignore[misc]
            except BaseException as failure:  # noqa: BLE001 - counted
                self.errors[f"main: {failure!r}"] += 1
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _beside(self, number: int) -> None:
        chosen = random.Random(number)
        act = (self._read, self._publish, self._publish_and_read)[number % 3]
        while not self.done.is_set():
            try:
                act(chosen.choice(_PROFILES), f"thread {number}")
            except BaseException as failure:  # noqa: BLE001 - counted
                self.errors[repr(failure)] += 1

    def _publish(self, profile: str, who: str) -> int:
        change = self.truth.change(profile)
        self.bus.session_list_changed.send(who, profile=profile, reason="storm")
        self.truth.publish(profile, change)
        return change

    def _read(self, profile: str, who: str) -> None:
        self._demand(profile, who, self.truth.published[profile])

    def _publish_and_read(self, profile: str, who: str) -> None:
        self._demand(profile, who, self._publish(profile, who))

    def _demand(self, profile: str, who: str, change: int) -> None:
        seen = self.cache.get(SessionListKey(profile))["seen"]
        self.outdated[who] += not isinstance(seen, int) or seen < change
        self.reads[who] += 1

    def _come_to_rest(self) -> None:
        """Wait for the builds whose readers were interrupted to end."""
        ends_at_s = time.monotonic() + _GIVES_UP_S
        while time.monotonic() < ends_at_s:
            stats = self.cache.stats()
            if not (stats.building or stats.waiting or self.truth.building.total()):
                return
            time.sleep(0.01)


def _kept(url: str) -> set[str]:
    journal = journal_at(url)
    position = Position(journal.end().journal)
    kept: set[str] = set()
    while recorded := journal.read(position):
        kept.update(str(each.event.id) for each in recorded)
        position = recorded[-1].position
    journal.close()
    return kept


if __name__ == "__main__":
    seconds, kind, *folder = sys.argv[1:]
    error = {each.__name__: each for each in (AlarmError, KeyboardInterrupt, RuntimeError, TimeoutError)}[kind]
    sys.stdout.write(json.dumps(Storm(error, folder[0] if folder else None).run(float(seconds))))
