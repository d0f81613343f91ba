"""What two trees have in common: the rows of their figures, found again by name, and held against one another."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_NUMBER = re.compile(r"([\d,]+(?:\.\d+)?(?:e[+-]?\d+)?) ?(s|ms|us|ns|/s|%|MiB)?")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Row:
    """What one run found for one line of the table.

    Attributes:
        name: Of the line, the same in every run.
        value: Seconds, a rate, a share, or a count.
        unit: As written; empty for a count.
    """

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of both trees.

    Attributes:
        name: Of the line.
        base: The values of the base, a run each.
        head: Those of the present tree.
        unit: Of them.
    """

    name: str
    base: tuple[float, ...]
    head: tuple[float, ...]
    unit: str

    @property
    def ratio(self) -> float | None:
        """How many times the base's cost this is: below 1 is better. None where there is nothing to compare."""
        if not (self.base and self.head) or self.unit not in {*_SECONDS, "/s"}:
            return None
        base, head = median(self.base), median(self.head)
        if not (base and head):
            return None
        return base / head if self.unit == "/s" else head / base


def named(figures: Sequence[Mapping[str, object]]) -> list[Row]:
    """Return the rows of one run, each with a name of its own."""
    rows, seen, last = [], Counter[str](), ""
    for figure in figures:
        what = str(figure["what"])
        if what.startswith("the same"):
            what = last + what.removeprefix("the same")
        else:
            last = what
        seen[what] += 1
        found = _NUMBER.match(str(figure["ours"]))
        if found:
            unit = found[2] or ""
            value = float(found[1].replace(",", "")) * _SECONDS.get(unit, 1.0)
            name = what if seen[what] == 1 else f"{what} ({seen[what]})"
            rows.append(Row(name, value, "s" if unit in _SECONDS else unit))
    return rows


def compared(base: Sequence[Row], head: Sequence[Row]) -> list[Comparison]:
    """Bring the rows of all runs together, in their order."""
    names = dict.fromkeys(row.name for row in (*head, *base))
    units = {row.name: row.unit for row in (*base, *head)}
    return [Comparison(name, _values(base, name), _values(head, name), units[name]) for name in names]


def text_table(comparisons: Sequence[Comparison], base: str, most: float) -> list[str]:
    """Write the comparison for a terminal."""
    lines = [("what", f"base {base[:12]}", "spread", "this tree", "spread", "ratio", "")]
    lines += [
        (each.name, *_told(each.base, each.unit), *_told(each.head, each.unit), *_judged(each.ratio, most))
        for each in comparisons
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def _values(rows: Sequence[Row], name: str) -> tuple[float, ...]:
    return tuple(row.value for row in rows if row.name == name)


def _told(values: Sequence[float], unit: str) -> tuple[str, str]:
    if not values:
        return "-", ""
    middle = median(values)
    spread = f"{(max(values) - min(values)) / middle:.0%}" if middle else ""
    return _in_units(middle, unit), spread


def _in_units(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:,.4g}{unit}"
    size, name = next(((size, name) for name, size in _SECONDS.items() if value >= size), (1e-9, "ns"))
    return f"{value / size:.3g} {name}"


def _judged(ratio: float | None, most: float) -> tuple[str, str]:
    if ratio is None:
        return "", ""
    return f"{ratio:.2f}", "SLOWER" if ratio > most else ""
