"""Runs the benchmarks only where they are asked for, gathers their figures, and prints them as one table.

They need the dependency group `bench` and the option `--benchmark-enable`; without it nothing here is collected.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figure, markdown_table, text_table
from tests.benchmarks.machine import described

_PAGE = Path("docs") / "benchmarks.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help=f"write the table of the benchmarks into {_PAGE}")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.getoption("benchmark_enable", default=False) else True


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[Figure], None]:
    """Takes what a benchmark found into the table."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, [])
    if not figures:
        return
    about = described(config.rootpath)
    terminalreporter.section("figures")
    for line in (*about, "", *text_table(figures)):
        terminalreporter.write_line(line)
    if config.getoption("--record", default=False):
        _write(config.rootpath / _PAGE, [*(f"- {line}" for line in about), "", *markdown_table(figures)])


def _write(page: Path, lines: list[str]) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text("\n".join([before + _BEGIN, "", *lines, "", _END + after]), encoding="utf-8")
