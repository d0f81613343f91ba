"""What the campaigns of all simulations share: the search for a planted bug, and the traces of a seed."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

import pytest

from tests.waiting import PROCESS_S


class Run(Protocol):
    """A simulation that a seed drives."""

    def run(self) -> Counter[str]:
        """Run, and raise `AssertionError` if a law is broken."""


def assert_found(simulation: Callable[[int], Run], *, seeds: int, first: int) -> None:
    """Assert that a planted bug breaks a law of one of the seeds, and that the failure names the seed.

    Args:
        simulation: Begins the run of a seed.
        seeds: All seeds below this number are run, until one breaks a law.
        first: The seed that is run before the others. It decides how long the search takes, not what it finds.
    """
    with pytest.raises(AssertionError, match=r"\(seed \d+, at"):
        _run_seeds(simulation, dict.fromkeys((first, *range(seeds))))


def _run_seeds(simulation: Callable[[int], Run], seeds: Iterable[int]) -> None:
    for seed in seeds:
        simulation(seed).run()


def traces_with(hash_seed: str, program: str) -> str:
    """Return what a program prints of the steps of its seeds, in a process with a hash seed of its own (I15)."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PROCESS_S,
    )
    return done.stdout
