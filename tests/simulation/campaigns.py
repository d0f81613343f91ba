"""The search for a planted bug, seed after seed."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol


class Run(Protocol):
    """A simulation that a seed drives."""

    def run(self) -> Counter[str]:
        """Run, and raise `AssertionError` if a law is broken."""


def run_seeds(simulation: Callable[[int], Run], *, seeds: int, first: int) -> None:
    """Run seed after seed, until one breaks a law.

    Args:
        simulation: Begins the run of a seed.
        seeds: All seeds below this number are run.
        first: The seed that is run before the others. It decides how long the search takes, not what it finds.

    Raises:
        AssertionError: A law is broken.
    """
    for seed in dict.fromkeys((first, *range(seeds))):
        simulation(seed).run()
