"""No commit of another process is missed: rule S2, with updates, deletes, same sizes, same ticks, checkpoints.

Agents of several profiles commit at random, one commit or a burst each in a round, and are read meanwhile. Once
what they did has settled, the next read of each profile, and of all profiles, must show it.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple, Self

import pytest

from hermes_cache import Policy, SessionListCache
from hermes_cache.errors import HermesCacheError
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from tests.integration.agent import Agent
from tests.integration.namespaces import namespace

QUIET_S: Final = 0.065
"""Past a tick: what was committed before has settled."""

WHOLE_SECONDS: Final = 'mkfs.ext4 -q -I 128 -F "$1.img" 16M >&2 && mount -o loop "$1.img" "$1"'
"""Mounts a file system that keeps whole seconds."""

WITHOUT_LOG: Final = ("DELETE", "TRUNCATE", "PERSIST")

Titles = dict[str, str]
Read = Callable[[SessionListKey], list[dict[str, Any]]]


def _key(profile: str | None) -> SessionListKey:
    """Return the key of a profile, or of all."""
    return SessionListKey(profile=profile, all_profiles=profile is None, show_cli=True, show_cron=True)


class _Writer:
    """What one profile's agent is made to do, and the titles that it has then."""

    def __init__(
        self, home: Path, profile: str, modes: Sequence[str], chance: random.Random, counts: Counter[str]
    ) -> None:
        self.profile = profile
        self._modes = modes
        folder = home if profile == "default" else home / "profiles" / profile
        folder.mkdir(parents=True, exist_ok=True)
        self.agent = Agent(folder / "state.db")
        self._chance = chance
        self._counts = counts
        self._mode = ""
        self._is_open = False
        self.titles: Titles = {}

    def __enter__(self) -> Self:
        self._open()
        self.titles = self.agent.do("fill", sessions=10)["titles"]
        return self

    def __exit__(self, *ended: object) -> None:
        self.agent.kill()

    def begin(self) -> int:
        """Have it begin one commit or a burst, and return how many."""
        if not self._is_open:
            self._open()
        count = 1 if self._chance.random() < 0.6 else self._chance.randint(2, 40)
        self._counts["commits"] += count
        self._counts["commits seen alone"] += count == 1
        self._counts[f"commits in {self._mode} mode"] += count
        self.agent.send("commits", count=count, pause_s=self._chance.choice([0.0, 0.003]))
        return count

    def end(self) -> None:
        """Wait until it has committed; sometimes have it checkpoint, or quit."""
        self.titles = self.agent.answer()["titles"]
        event = self._chance.random()
        if event < 0.1:
            kind = self._chance.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
            self.agent.do("statement", sql=f"PRAGMA wal_checkpoint({kind})")
            self._counts["checkpoints"] += 1
        elif event < 0.15:
            self.agent.do("close")
            self._is_open = False
            self._counts["quits"] += 1
            if event < 0.12:
                self.titles = self.agent.do("replace")["titles"]
                self._counts["replaced files"] += 1
                self._counts["commits"] += 1

    def once_more(self) -> None:
        """Have it commit at once, if it runs: in the tick of a read, perhaps."""
        if self._is_open:
            self.titles = self.agent.do("commits", count=1)["titles"]
            self._counts["commits"] += 1
            self._counts["commits right after a read"] += 1

    def _open(self) -> None:
        self._mode = self._chance.choice(self._modes)
        self.agent.do("open", mode=self._mode, seed=self._chance.randrange(10**9))
        self._is_open = True

    def __str__(self) -> str:
        return f"{self.profile}, {self._mode}, {'open' if self._is_open else 'closed'}"


class Plan(NamedTuple):
    """What agents are to do.

    Attributes:
        commits: How many commits, at least, in all.
        seed: For what is left to chance.
        profiles: How many agents.
        quiet_s: After how long a commit has settled.
        modes: The journal modes to choose from.
    """

    commits: int
    seed: int
    profiles: int
    quiet_s: float = QUIET_S
    modes: Sequence[str] = ("WAL", "WAL", "WAL", *WITHOUT_LOG)


def _missed(home: Path, read: Read, plan: Plan) -> tuple[Counter[str], list[str]]:
    """Have agents commit; return what they did, and what was not seen."""
    chance, counts, missed = random.Random(plan.seed), Counter[str](), list[str]()
    names = ["default", *[f"p{number}" for number in range(1, plan.profiles)]]
    with ExitStack() as stack:
        writers = [stack.enter_context(_Writer(home, name, plan.modes, chance, counts)) for name in names]
        while counts["commits"] < plan.commits and not missed:
            most = max([writer.begin() for writer in writers])
            ends_at_s = monotonic() + 0.002 * most
            while monotonic() < ends_at_s:
                # A busy database without a log may be locked, or not stand still.
                with suppress(HermesCacheError):
                    read(_key(chance.choice(names)))
            for writer in writers:
                writer.end()
                with suppress(HermesCacheError):
                    read(_key(writer.profile))
                writer.once_more()
            sleep(plan.quiet_s)
            for writer in writers:
                found = {row["session_id"]: row["title"] for row in read(_key(writer.profile))}
                if found != writer.titles:
                    missed.append(f"seed {plan.seed}, {writer}: {_difference(found, writer.titles)}")
            together = sorted([title for writer in writers for title in writer.titles.values()])
            if sorted([row["title"] for row in read(_key(None))]) != together:
                missed.append(f"seed {plan.seed}, all profiles")
            counts["rounds"] += 1
    return counts, missed


def _difference(found: Titles, expected: Titles) -> list[tuple[str, str | None, str | None]]:
    both = [(each, found.get(each), expected.get(each)) for each in found.keys() | expected.keys()]
    return [(each, one, other) for each, one, other in both if one != other]


@contextmanager
def _by_builder(home: HermesHome) -> Iterator[Read]:
    """Read by the builder alone, which probes what it read before."""

    def read(key: SessionListKey) -> Any:
        return home.builder(key)["sessions"]

    yield read


@contextmanager
def _by_cache(home: HermesHome) -> Iterator[Read]:
    """Read by a whole cache, in which no list gets old but by its sources."""
    policy = Policy.strict(ttl=3_600.0, retry_delay=0.001, retry_delay_max=0.001)
    with SessionListCache(home.builder, sources=home.sources, policy=policy) as cache:

        def read(key: SessionListKey) -> Any:
            looked = cache.lookup(key)
            while looked.error is not None:
                # It says that it is old, and when it may be read anew.
                sleep(looked.retry_in_s or 0.001)
                looked = cache.lookup(key)
            return looked.payload["sessions"]

        yield read


def missed_by_a_cache(home: Path, plan: Plan) -> tuple[Counter[str], list[str]]:
    """Return what agents did to a home that a whole cache reads, and what it did not see."""
    with _by_cache(HermesHome(home)) as read:
        return _missed(home, read, plan)


@pytest.mark.parametrize("reading", [_by_builder, _by_cache])
def test_no_commit_is_missed(tmp_path: Path, reading: Callable[[HermesHome], Any]) -> None:
    """S2, S4, X4"""
    with reading(HermesHome(tmp_path)) as read:
        counts, missed = _missed(tmp_path, read, Plan(600, seed=1, profiles=3))

    assert not missed
    assert counts["commits seen alone"] > 0


IN_NAMESPACE: Final = """
import json, sys
from pathlib import Path
from tests.integration.test_hermes_commits import WITHOUT_LOG, Plan, missed_by_a_cache
plan = Plan(200, seed=2, profiles=4, quiet_s=2.6, modes=("WAL", *WITHOUT_LOG))
print(json.dumps(missed_by_a_cache(Path(sys.argv[1]), plan)))
"""


def test_no_commit_is_missed_where_times_are_whole_seconds(tmp_path: Path) -> None:
    """S2: all that is committed within one second may leave the same times and sizes."""
    with namespace(WHOLE_SECONDS, tmp_path) as (inside, folder):
        assert not (folder / "lost+found").stat().st_mtime_ns % 10**9
        command = [*inside, sys.executable, "-c", IN_NAMESPACE, str(tmp_path)]
        # The command that enters the namespace does not start in this folder.
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        outcome = subprocess.run(  # noqa: S603 - our own
            command, env=environment, capture_output=True, text=True, timeout=150, check=False
        )

    assert outcome.returncode == 0, outcome.stderr
    counts, missed = json.loads(outcome.stdout)
    assert not missed
    assert counts["commits right after a read"] > 3


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("seed", range(100, 110))
def test_no_commit_of_many_is_missed_by_a_cache(tmp_path: Path, seed: int) -> None:
    """S2, S4, X4: ten runs of 10,000 commits, or as many as the environment says; prints what was done (`-s`)."""
    wanted = int(os.environ.get("HERMES_CACHE_COMMITS", "10000"))

    counts, missed = missed_by_a_cache(tmp_path, Plan(wanted, seed, profiles=8))

    sys.stdout.write(f"\nseed {seed}: {dict(counts)}, missed {len(missed)}\n")
    assert not missed
    assert counts["commits"] >= wanted
