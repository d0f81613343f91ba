"""No commit of another process is missed: rule S2, with updates, deletes, same sizes, same ticks, checkpoints."""

import os
import random
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from hermes_cache.errors import SourceError
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from tests.integration.agent import Agent

EVERYTHING = SessionListKey(show_cli=True, show_cron=True)
QUIET_S = 0.065
"""Past a tick: what was committed before has settled."""


def _titles(home: HermesHome) -> dict[str, str]:
    rows: Any = home.builder(EVERYTHING)["sessions"]
    return {row["session_id"]: row["title"] for row in rows}


def _read_until_answered(home: HermesHome, agent: Agent, count: int) -> Any:
    """Read all the time while the agent commits; a build may fail then, but not leave anything wrong behind."""
    agent.send("commits", count=count, pause_s=0.003)
    ends_at_s = monotonic() + 0.003 * count
    while monotonic() < ends_at_s:
        with suppress(SourceError):  # A busy database without a log may be locked, or stand still too shortly.
            _titles(home)
    return agent.answer()


def _missed(folder: Path, commits: int, seed: int) -> tuple[int, list[str]]:
    """Have an agent commit so often, and return what it did and what was not seen."""
    path, chance, done, missed = folder / "state.db", random.Random(seed), 0, []
    home = HermesHome(folder)
    with Agent(path) as agent:
        agent.do("open", seed=seed)
        agent.do("fill", sessions=10)
        mode = "WAL"
        while done < commits:
            count = chance.randint(1, 40)
            expected = _read_until_answered(home, agent, count)["titles"]
            done += count
            event = chance.random()
            if event < 0.1:
                kind = chance.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
                expected = agent.do("statement", sql=f"PRAGMA wal_checkpoint({kind})")["titles"]
            elif event < 0.15:
                agent.do("close")
                if chance.random() < 0.5:
                    expected = agent.do("replace")["titles"]
                    done += 1
                mode = chance.choice(["WAL", "WAL", "DELETE", "TRUNCATE", "PERSIST"])
                if chance.random() < 0.5:
                    sleep(QUIET_S)
                    if _titles(home) != expected:
                        missed.append(f"seed {seed}, {done} commits, closed")
                expected = agent.do("open", mode=mode, seed=chance.randrange(10**9))["titles"]
            sleep(QUIET_S)
            found = _titles(home)
            if found != expected:
                missed.append(f"seed {seed}, {done} commits, {mode}")
    return done, missed


@pytest.mark.parametrize("seed", range(2))
def test_no_commit_is_missed_by_a_home(tmp_path: Path, seed: int) -> None:
    """S2, X4"""
    done, missed = _missed(tmp_path, 600, seed)

    assert not missed
    assert done >= 600


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("seed", range(100, 104))
def test_no_commit_of_many_is_missed_by_a_home(tmp_path: Path, seed: int) -> None:
    """S2, X4: four runs of 25,000 commits, or as many as the environment asks for."""
    wanted = int(os.environ.get("HERMES_CACHE_COMMITS", "25000"))

    done, missed = _missed(tmp_path, wanted, seed)

    assert not missed
    assert done >= wanted
