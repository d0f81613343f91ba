"""Seeded schedules of processes that share a journal, every law checked after every step.

Proves J1 to J6, J8, E8 and H4 over the schedules that the seeds draw.
"""

from collections import Counter

import pytest

from tests.simulation.campaigns import traces_with
from tests.simulation.journal_simulation import JournalSimulation

_BLOCK = 60
_USES = (
    "SessionListChanged", "SettingsChanged", "StreamStarted", "StreamStopped", "read", "read without the journal",
    "refused", "resumed", "told of one", "told of all", "all taken", "receivers told", "committed True",
    "committed False",
)  # fmt: skip
_FAULTS = (
    "call failed", "cut", "cut off", "unanswered", "died", "died in an append", "stood still", "compacted",
    "damaged", "replaced", "restored",
)  # fmt: skip
_ONCE_BROKEN = (10_378, 10_700, 13_716, 18_342, 18_886, 19_932)
_TRACES = """
import logging
from tests.simulation.journal_simulation import JournalSimulation
logging.disable()
for seed in range(10):
    simulation = JournalSimulation(seed)
    simulation.run()
    print(simulation.trace)
"""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no record of the thousands of failures that are asked for."""
    caplog.set_level(100, "hermes_cache")


def _campaign(first_seed: int, seeds: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + seeds):
        seen.update(JournalSimulation(seed).run())
    return seen


@pytest.mark.timeout(240)  # seconds, but slow when coverage is measured
@pytest.mark.parametrize("first_seed", range(0, 4 * _BLOCK, _BLOCK))
def test_every_law_of_a_shared_journal_holds_and_enough_happens(first_seed: int) -> None:
    """I1, I6 to I8, I10, I14"""
    seen = _campaign(first_seed, _BLOCK)

    assert {name: seen[name] for name in (*_USES, *_FAULTS) if seen[name] < 3} == {}


@pytest.mark.parametrize("seed", _ONCE_BROKEN)
def test_a_schedule_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    """E8, J2, J8"""
    seen = JournalSimulation(seed).run()

    assert seen.total() > 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first_seed", range(10_000, 20_000, 1_000))
def test_every_law_of_a_shared_journal_holds_in_ten_thousand_schedules(first_seed: int) -> None:
    """I1, I6 to I8, I10, I14"""
    seen = _campaign(first_seed, 1_000)

    assert {name: seen[name] for name in (*_USES, *_FAULTS) if seen[name] < 100} == {}


def test_a_seed_takes_the_same_steps_of_shared_journals_in_every_process() -> None:
    """I15"""
    traces = [traces_with(hash_seed, _TRACES) for hash_seed in ("1", "2")]

    assert traces[0] == traces[1]
    assert len(set(traces[0].split())) == 10
