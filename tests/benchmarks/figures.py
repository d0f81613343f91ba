"""What a benchmark found, and the table of it all."""

from collections.abc import Sequence
from dataclasses import dataclass

_HEADS = ("what", "ours", "baseline", "ratio", "budget", "met")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: The workload, and what was counted.
        ours: The figure of this cache.
        baseline: What it is held against, with its figure.
        ratio: The two by one another, as the budget has it.
        budget: What was promised; empty where the figure only informs.
        met: Whether it was kept; None where nothing was promised.
    """

    what: str
    ours: str
    baseline: str
    ratio: str
    budget: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells as text."""
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        return (self.what, self.ours, self.baseline, self.ratio, self.budget, verdict)


def faster(what: str, ours_s: float, baseline: str, baseline_s: float, *, least: float) -> Figure:
    """Promise to be so many times faster than a baseline."""
    ratio = baseline_s / ours_s
    other = f"{baseline} {in_units(baseline_s)}"
    return Figure(what, in_units(ours_s), other, f"{ratio:,.1f} x faster", f">= {least:,g} x", ratio >= least)


def at_most(what: str, ours_s: float, baseline: str, baseline_s: float, *, most: float | None = None) -> Figure:
    """Promise to take no more than so many times what a baseline takes; with None, only compare."""
    ratio = ours_s / baseline_s
    other = f"{baseline} {in_units(baseline_s)}"
    budget, met = ("", None) if most is None else (f"<= {most:,g} x", ratio <= most)
    return Figure(what, in_units(ours_s), other, f"{ratio:,.2f} x its time", budget, met)


def in_units(span_s: float) -> str:
    """Write a span in the unit that suits it."""
    size, name = next((unit for unit in _UNITS if span_s >= unit[0]), _UNITS[-1])
    return f"{span_s / size:.3g} {name}"


def text_table(figures: Sequence[Figure]) -> list[str]:
    """Write the figures for a terminal."""
    lines = [_HEADS, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    written = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [line.rstrip() for line in written]


def markdown_table(figures: Sequence[Figure]) -> list[str]:
    """Write the figures for a page."""
    lines = [_HEADS, tuple("---" for _ in _HEADS), *(figure.cells() for figure in figures)]
    return [f"| {' | '.join(line)} |" for line in lines]
