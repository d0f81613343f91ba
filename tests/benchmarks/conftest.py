"""Runs the benchmarks only where they are asked for, gathers their figures, and prints them as one table.

They need the dependency group `bench` and the option `--benchmark-enable`; without it nothing here is collected.
Each workload runs on a thread that is not the main one, as a gateway's requests do, unless it is marked
`main_thread`: signal handlers run in the main thread alone, so calls from there go another way.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

import pytest

import hermes_cache
from tests.benchmarks.figures import Figure, markdown_table, text_table
from tests.benchmarks.machine import described

_PAGE = Path("docs") / "benchmarks.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help=f"write the table of the benchmarks into {_PAGE}")
    parser.addoption("--figures", metavar="FILE", help="write the figures into a file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "main_thread: a benchmark that runs on the main thread")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.getoption("benchmark_enable", default=False) else True


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if pyfuncitem.get_closest_marker("main_thread"):
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    over: Future[None] = Future()

    def run() -> None:
        try:
            over.set_result(pyfuncitem.obj(**given))
        except BaseException as error:  # noqa: BLE001 - a failure, or a skip; raised where pytest sees it
            over.set_exception(error)

    threading.Thread(target=run, name="benchmark", daemon=True).start()
    over.result()
    return True


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
    if file := config.getoption("--figures", default=None):
        found = {"package": hermes_cache.__file__, "figures": [asdict(figure) for figure in figures]}
        Path(file).write_text(json.dumps(found), encoding="utf-8")


def _write(page: Path, lines: list[str]) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text("\n".join([before + _BEGIN, "", *lines, "", _END + after]), encoding="utf-8")
