"""Reading a home of 5,200 sessions with 130,000 messages, in full and after one row changed.

One scope, one thread. The floor of a full reading is what no reader can leave out: the bare SELECTs of its
columns, the index parsed, one `orjson.dumps` of all its rows. The floor of a refresh is the bare SELECTs of what
it compares. A row is made when a view first shows it, so a projection is timed alone, with the rows of the list
that `serve` builds first, and with all rows.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Literal

import orjson
import pytest

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import rename_session
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.timing import Benchmark, side_by_side, timed_s

_SESSIONS, _MESSAGES = 5_200, 130_000
_KEY = SessionListKey(
    show_cli=True,
    show_cron=True,
    show_webhook=True,
    show_kanban=True,
    show_previous_messaging=True,
    include_archived=True,
)
_FIRST_KEY = SessionListKey(show_cli=True, visible_only=True)
_SELECT_SESSIONS = """
SELECT sessions.id, source, model, parent_session_id, started_at, ended_at, end_reason, message_count,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cwd, billing_provider, estimated_cost_usd,
    actual_cost_usd, title, display_name, session_key, user_id, chat_id, chat_type, thread_id, archived, hidden,
    pinned,
    instr(model_config, '"_branched_from"') > 0 OR instr(model_config, '"_reset_from"') > 0
        OR instr(model_config, '"_delegate_from"') > 0,
    last.timestamp, last.role
FROM sessions LEFT JOIN messages AS last
ON last.rowid = (SELECT rowid FROM messages WHERE session_id = sessions.id ORDER BY timestamp DESC LIMIT 1)
"""
_SELECT_USERS = "SELECT session_id, COUNT(*) FROM messages NOT INDEXED WHERE role = 'user' GROUP BY session_id"
_SELECT_ROUTING = "SELECT session_key, entry_json FROM gateway_routing ORDER BY updated_at, scope"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    return make_sample_home(
        tmp_path_factory.mktemp("large") / "home", sessions=_SESSIONS, messages=_MESSAGES, profiles=()
    )


@pytest.mark.timeout(300)
def test_a_full_projection(benchmark: Benchmark, record: Callable[[Figure], None], sample: SampleHome) -> None:
    """X4"""
    rows = _rows(HermesHome(sample.path).builder(_KEY))

    def project(key: SessionListKey | None) -> None:
        home = HermesHome(sample.path)
        home.builder.refresh(home.sources.scope(_KEY))
        if key is not None:
            home.builder.content(key)
        home.close()

    def read_the_floor() -> None:
        _select_all(sample.state_db, _SELECT_SESSIONS, _SELECT_USERS, _SELECT_ROUTING)
        orjson.loads(sample.session_index.read_bytes())
        orjson.dumps(rows)

    ways = [lambda key=key: project(key) for key in (None, _FIRST_KEY, _KEY)]
    spans = side_by_side(benchmark, ways[0], *ways[1:], read_the_floor, calls=(1, 1, 1, 1), rounds=7)
    projected_s, first_list_s, all_rows_s, floor_s = spans

    assert len(rows) > 0.9 * _SESSIONS
    record(at_most("full projection, 5,200 sessions", projected_s, "floor", floor_s, most=2))
    record(at_most("the same, and the rows of the first list of `serve`", first_list_s, "floor", floor_s))
    record(at_most("the same, and all rows", all_rows_s, "floor", floor_s))


@pytest.mark.timeout(300)
def test_a_refresh_after_one_changed_row(
    benchmark: Benchmark, record: Callable[[Figure], None], sample: SampleHome
) -> None:
    """X5, X6"""
    home = HermesHome(sample.path)
    scope = home.sources.scope(_KEY)
    before = _rows(home.builder(_KEY))
    renamed = before[0]["session_id"]
    spans: list[float] = []
    made_anew: list[int] = []

    def refresh() -> None:
        rename_session(sample.path, renamed, f"Title {time.perf_counter_ns()}")
        spans.append(timed_s(lambda: home.builder.refresh(scope)))

    def count_the_new() -> None:
        nonlocal before
        after = _rows(home.builder(_KEY))
        made_anew.append(len({id(row) for row in after} - {id(row) for row in before}))
        before = after

    bare: list[float] = []

    def turn() -> None:
        bare.append(timed_s(lambda: _select_all(sample.state_db, _SELECT_SESSIONS, _SELECT_ROUTING)))
        refresh()
        count_the_new()

    benchmark.pedantic(turn, rounds=9)
    home.close()

    assert made_anew == [1] * 9
    record(at_most("refresh after one changed row", median(spans), "bare SELECTs", median(bare), most=1.5))
    record(Figure("the same, rows made anew", "1", "", "", "1", met=True))


@pytest.mark.timeout(300)
def test_a_refresh_by_process_builders(
    benchmark: Benchmark, record: Callable[[Figure], None], sample: SampleHome
) -> None:
    """B8: what the process that serves pays for a refresh, up to the body"""
    what = "refresh and body by process builders, time of this process's own"
    processes, threads = _opened(sample.path, "processes"), _opened(sample.path, "threads")
    own: list[float] = []
    others: list[float] = []

    def turn() -> None:
        for cache, spans in ((threads, others), (processes, own)):
            rename_session(sample.path, sample.sessions[-1].id, f"Title {time.perf_counter_ns()}")
            began_s = time.process_time()
            cache.render(_KEY, freshness="fresh")
            spans.append(time.process_time() - began_s)

    with processes, threads:
        for cache in (processes, threads):
            cache.render(_KEY)
        benchmark.pedantic(turn, rounds=7)
        builds = [cache.stats().builds for cache in (processes, threads)]

    assert builds == [8, 8]
    record(at_most(what, median(own), "thread builders", median(others), most=0.1))


def _opened(home: Path, executor: Literal["processes", "threads"]) -> SessionListCache:
    hermes = HermesHome(home)
    return SessionListCache(hermes.builder, sources=hermes.sources, executor=executor, bus=Bus())


def _rows(payload: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = payload["sessions"]
    return rows


def _select_all(state_db: Path, *selects: str) -> None:
    with closing(sqlite3.connect(f"file:{state_db}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        for select in selects:
            _exhaust(connection.execute(select))


def _exhaust(rows: Iterable[object]) -> None:
    for _ in rows:
        pass
