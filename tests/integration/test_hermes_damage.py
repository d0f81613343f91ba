"""Damaged homes: a broken one never looks like an empty one (rule X8), an old or odd one works (rule X3)."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hermes_cache.errors import SourceError
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import freeze
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.read_only import read_database
from tests.waiting import PROCESS_S

EVERYTHING = SessionListKey(
    show_cli=True,
    show_cron=True,
    show_webhook=True,
    show_kanban=True,
    show_previous_messaging=True,
    include_archived=True,
)
SESSIONS = 20


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    """A home whose list comes from its database alone."""
    made = make_sample_home(tmp_path / "home", sessions=SESSIONS, profiles=(), now_s=1_790_000_000.0)
    for path in made.session_index.parent.iterdir():
        path.unlink()
    return made


def _rows(home: HermesHome, key: SessionListKey = EVERYTHING) -> list[dict[str, Any]]:
    rows: Any = freeze(home.builder(key))["sessions"]
    return list(rows)


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name("temporary")
    temporary.write_bytes(content)
    temporary.replace(path)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:50],
        lambda content: content[:100],
        lambda content: content[:4096],
        lambda content: content[:4097],
        lambda content: content[: len(content) // 2],
        lambda content: b"this is no database at all. " * (len(content) // 28),
        lambda content: _flipped(content, 0),
        lambda content: _flipped(content, 100),
        lambda content: content[:4096] + bytes(len(content) - 4096),
    ],
)
def test_a_damaged_database_fails_by_name_and_recovers_by_itself(
    sample: SampleHome, damage: Callable[[bytes], bytes]
) -> None:
    """X8"""
    whole = sample.state_db.read_bytes()
    warm = HermesHome(sample.path)
    count = len(_rows(warm))

    _put(sample.state_db, damage(whole))

    for home in (warm, HermesHome(sample.path)):
        with pytest.raises(SourceError) as raised:
            _rows(home)
        assert raised.value.path == str(sample.state_db)
        assert home.sources.stamp(EVERYTHING, held=False)["content"] is not None
    _put(sample.state_db, whole)
    assert len(_rows(warm)) == count > 0


def test_no_flipped_byte_of_the_first_page_makes_an_empty_list(sample: SampleHome, tmp_path: Path) -> None:
    """X8"""
    whole = sample.state_db.read_bytes()
    outcomes: set[str] = set()
    # All are written before the first is read: each would be waited for until it stands still.
    damaged = {at: tmp_path / f"{at}.db" for at in [*range(100), *range(100, 4096, 23)]}
    for at, path in damaged.items():
        path.write_bytes(_flipped(whole, at))

    for at, path in damaged.items():
        home = HermesHome(sample.path, state_db=path)
        home.sources.stamp(EVERYTHING, held=False)
        try:
            assert _rows(home), f"byte {at} made an empty list"
            outcomes.add("rows")
        except SourceError:
            outcomes.add("error")

    assert outcomes == {"rows", "error"}
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))]


def test_a_database_that_goes_missing_is_no_empty_list(sample: SampleHome) -> None:
    """X8"""
    home = HermesHome(sample.path)
    _rows(home)

    sample.state_db.rename(sample.path / "moved")

    with pytest.raises(SourceError, match=r"state\.db: is missing"):
        _rows(home)
    assert home.sources.stamp(EVERYTHING, held=False)["content"] == ("absent",)


def test_a_database_that_left_its_log_behind_is_no_reason_for_a_list_from_the_index(sample: SampleHome) -> None:
    """X8"""
    sample.session_index.write_text('[{"session_id": "a", "message_count": 1}]')
    sample.session_index.with_name("a.json").write_text('{"session_id": "a"}')
    sample.state_db.rename(sample.path / "moved")
    assert len(_rows(HermesHome(sample.path))) == 1

    (sample.path / "state.db-wal").write_bytes(b"frames")

    with pytest.raises(SourceError, match="is missing"):
        _rows(HermesHome(sample.path))


def test_a_list_without_sessions_is_empty_and_a_front_end_alone_is_enough(sample: SampleHome) -> None:
    """X8, R12: known to be empty."""
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("DELETE FROM messages")
        connection.execute("DELETE FROM sessions")

    assert _rows(HermesHome(sample.path)) == []


def test_messages_without_any_session_are_damage(sample: SampleHome) -> None:
    """X8"""
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("DELETE FROM sessions")

    with pytest.raises(SourceError, match="messages but no session"):
        _rows(HermesHome(sample.path))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_fails_at_once(sample: SampleHome, make: Callable[[Path], None]) -> None:
    """X8: opening a pipe would wait for ever."""
    sample.state_db.unlink()
    make(sample.state_db)
    home = HermesHome(sample.path)

    with pytest.raises(SourceError, match="no regular file"):
        _rows(home)
    assert home.sources.stamp(EVERYTHING, held=False)


def _away(path: Path) -> None:
    path.unlink()


def _away_beside_a_log(path: Path) -> None:
    path.unlink()
    for name in ("state.db-wal", "state.db-shm"):
        path.with_name(name).write_bytes(b"frames")


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [(_away, "is missing"), (_away_beside_a_log, "is missing"), (_a_pipe, "is no regular file")],
)
def test_a_database_that_goes_while_it_is_read_fails_by_name(
    sample: SampleHome, turns: Callable[[Path], None], reason: str
) -> None:
    """X8: it is decided anew by what lies there then."""
    readings = []

    def read(_connection: sqlite3.Connection) -> None:
        readings.append(1)
        turns(sample.state_db)

    with pytest.raises(SourceError, match=reason) as failed:
        read_database(sample.state_db, read, Looks())

    assert str(sample.state_db) in str(failed.value)
    assert readings == [1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_fails_by_name(sample: SampleHome) -> None:
    """X8"""
    sample.state_db.chmod(0)

    with pytest.raises(SourceError, match=r"state\.db"):
        _rows(HermesHome(sample.path))


@pytest.mark.parametrize(
    "content", [b"", b"[", b'[{"session_id": "a"', b'{"a": 1}', b"null", b"\xff\xfe", b"[" * 99_999]
)
def test_a_half_written_index_fails_by_name(sample: SampleHome, content: bytes) -> None:
    """X8"""
    sample.session_index.write_bytes(content)

    with pytest.raises(SourceError, match=r"_index\.json"):
        _rows(HermesHome(sample.path))


def test_an_index_with_odd_entries_loses_those_alone(sample: SampleHome) -> None:
    """X3"""
    sample.session_index.write_text(
        '[null, 7, {"title": "no id"}, {"session_id": 5}, {"session_id": "odd", "title": "\\ud800",'
        f' "created_at": {"9" * 5_000},'
        ' "updated_at": NaN, "message_count": 1e999, "gateway_routing": {"x": [Infinity]},'
        ' "profile": ["a"], "parent_session_id": {}, "raw_source": []}]'
    )
    sample.session_index.with_name("odd.json").write_text("{}")

    rows = {row["session_id"]: row for row in _rows(HermesHome(sample.path))}

    assert rows["odd"]["title"] == "?"
    assert rows["odd"]["gateway_routing"] == {"x": [None]}
    assert len(rows) > 1


@pytest.mark.parametrize("odd", [f'"created_at": {"9" * 5_000}', "[1]: 2", "{}: 2", '"x": ' + "[" * 60_000])
def test_a_sidecar_with_odd_fields_loses_those_alone(sample: SampleHome, odd: str) -> None:
    """X3"""
    sample.session_index.with_name("odd.json").write_text(
        f'{{"session_id": "odd", "title": "Odd", "message_count": 3, {odd}, "messages": []}}'
    )

    rows = {row["session_id"]: row for row in _rows(HermesHome(sample.path))}

    assert rows["odd"]["title"] == "Odd"
    assert len(rows) > 1


def test_an_id_that_is_no_text_for_json_costs_its_session_alone(sample: SampleHome) -> None:
    """X3: a file name that is no UTF-8, and a lone surrogate in the index"""
    folder = sample.session_index.parent
    _put(sample.session_index, rb'[{"session_id": "a"}, {"session_id": "\ud800"}]')
    (folder / "a.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).write_text('{"title": "Odd"}')

    rows = _rows(HermesHome(sample.path))

    assert len([row for row in rows if row["source_tag"] == "webui" and row["session_id"] == "a"]) == 1
    assert {row["title"] for row in rows}.isdisjoint({"Odd"})


def test_a_profile_adopted_from_another_process_is_not_left_out_when_its_database_goes_missing(
    sample: SampleHome,
) -> None:
    """B8, X8"""
    folder, everyone = sample.path / "profiles" / "work", SessionListKey(all_profiles=True)
    folder.parent.mkdir()
    make_sample_home(folder, sessions=3, profiles=())
    joining, owning = HermesHome(sample.path).builder, HermesHome(sample.path).builder
    joining.adopt("work", owning.share("work", None)[1])

    (folder / "state.db").rename(folder / "moved")

    assert joining.parts(everyone) == ("default", "work")
    with pytest.raises(SourceError, match=r"state\.db: is missing"):
        owning.share("work", None)


def test_one_broken_profile_fails_the_view_of_all_and_is_named(tmp_path: Path) -> None:
    """X8"""
    sample = make_sample_home(tmp_path / "home", sessions=5)
    broken = sample.path / "profiles" / "work" / "state.db"
    _put(broken, b"damaged")
    home = HermesHome(sample.path)

    with pytest.raises(SourceError) as raised:
        home.builder(SessionListKey(all_profiles=True))

    assert raised.value.path == str(broken)
    assert home.builder(SessionListKey())["sessions"] is not None


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "x" * 255, "UPPER", "..", "work?mode=rw"])
def test_a_hostile_profile_name_opens_nothing(sample: SampleHome, name: str) -> None:
    """X2, X8"""
    home = HermesHome(sample.path)
    key = SessionListKey(profile=name or "../x")

    stamp = home.sources.stamp(key, held=False)

    assert "state_db" not in stamp
    with pytest.raises(SourceError, match="no profile can be named"):
        home.builder(key)


def test_a_profile_that_is_not_there_has_no_file_to_open(sample: SampleHome) -> None:
    """X8"""
    home = HermesHome(sample.path)

    for number in range(300):
        assert home.sources.stamp(SessionListKey(profile=f"p{number}"), held=False)["content"] == ("absent",)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE IF NOT EXISTS held (x)")
print("held", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
connection.close()
"""


@contextmanager
def _held_by_another_process(path: Path, journal_mode: str) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD, str(path), journal_mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S603 - our own
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate(timeout=PROCESS_S)


def test_a_locked_database_fails_a_build_alone(sample: SampleHome) -> None:
    """S2, X8"""
    home = HermesHome(sample.path)
    count = len(_rows(home))

    with _held_by_another_process(sample.state_db, "DELETE"):
        # A busy machine makes some take longer; one that waited for the lock would never be this short.
        checked_s = min(_stamped_in_s(home) for _ in range(20))
        with pytest.raises(SourceError, match="locked"):
            _rows(home)

    assert checked_s < 0.05
    assert len(_rows(home)) == count


def _stamped_in_s(home: HermesHome) -> float:
    began_s = monotonic()
    home.sources.stamp(EVERYTHING, held=False)
    return monotonic() - began_s


def test_a_locked_database_whose_log_is_empty_is_read_past_the_lock(sample: SampleHome) -> None:
    """X2: the file alone is the whole database."""
    home = HermesHome(sample.path)
    count = len(_rows(home))

    with _held_by_another_process(sample.state_db, "WAL"):
        locked = len(_rows(home))

    assert locked == count


def _old(path: Path, *statements: str) -> None:
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (path / name).unlink(missing_ok=True)
    with closing(sqlite3.connect(path / "state.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_the_oldest_schema_works(sample: SampleHome) -> None:
    """X3: schema version 2 has no title."""
    _old(
        sample.path,
        "CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, user_id TEXT, model TEXT, model_config TEXT,"
        " system_prompt TEXT, parent_session_id TEXT, started_at REAL, ended_at REAL, end_reason TEXT,"
        " message_count INTEGER DEFAULT 0, tool_call_count INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0,"
        " output_tokens INTEGER DEFAULT 0)",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, timestamp REAL)",
        "CREATE INDEX idx_messages_session ON messages(session_id, timestamp)",
        "INSERT INTO sessions (id, source, started_at, message_count) VALUES ('a', 'cli', 100.0, 2)",
        "INSERT INTO messages (session_id, role, timestamp) VALUES ('a', 'user', 150.0)",
    )

    (row,) = _rows(HermesHome(sample.path))

    shown = [row[name] for name in ("session_id", "title", "last_message_at", "archived")]
    assert shown == ["a", "Cli Session", 150.0, False]


def test_a_table_of_ids_alone_works(sample: SampleHome) -> None:
    """X3"""
    _old(
        sample.path, "CREATE TABLE sessions (id)", "INSERT INTO sessions VALUES ('a'), (NULL), (7), (' '), (x'00')"
    )

    (row,) = _rows(HermesHome(sample.path))

    assert (row["session_id"], row["raw_source"], row["created_at"]) == ("a", "unknown", None)


def test_broken_text_and_absurd_numbers_cost_their_value_alone(sample: SampleHome) -> None:
    """X3"""
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("UPDATE sessions SET title = CAST(x'41ff42' AS TEXT) WHERE rowid = 1")
        connection.execute("UPDATE sessions SET message_count = 9e999, cwd = x'ff00' WHERE rowid = 2")
        connection.execute(
            "UPDATE sessions SET started_at = '2026-09-21T00:00:00', archived = 'maybe' WHERE rowid = 3"
        )
        connection.execute("UPDATE sessions SET input_tokens = 9223372036854775807 WHERE rowid = 4")
        connection.execute("UPDATE messages SET timestamp = 5e+246 WHERE rowid % 2 = 0")
        ids = [row[0] for row in connection.execute("SELECT id FROM sessions ORDER BY rowid LIMIT 4")]

    rows = {row["session_id"]: row for row in _rows(HermesHome(sample.path))}

    assert len(rows) == SESSIONS - sum(row.get("_compression_segment_count", 1) - 1 for row in rows.values())
    assert rows[ids[0]]["_state_db_title"] == "A\ufffdB"
    assert rows[ids[1]]["message_count"] > 0
    assert rows[ids[2]]["created_at"] == pytest.approx(1789948800.0)
    assert rows[ids[3]]["input_tokens"] == 0
    assert all(row["last_message_at"] for row in rows.values() if row["message_count"] > 1)


@pytest.mark.parametrize(
    "title",
    [
        "word " * 200_000,
        "x" * 2**20,
        "\u202etxt.exe\u202c",
        "zero\u200bwidth\ufeff",
        "nul\x00here",
        "\x1b[31mred\n",
    ],
    ids=["words", "one word", "bidi", "zero width", "nul", "control"],
)
def test_titles_of_a_megabyte_and_of_odd_signs_are_shown_as_they_are(sample: SampleHome, title: str) -> None:
    """X3, X7: at the agent and in the front end; a page that shows them must escape them."""
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("UPDATE sessions SET title = ? WHERE rowid = 1", (title,))
        (session_id,) = connection.execute("SELECT id FROM sessions WHERE rowid = 1").fetchone()
    sidecar = sample.session_index.with_name("own.json")
    sidecar.write_text(json.dumps({"session_id": "own", "title": title, "message_count": 2, "messages": []}))

    rows = {row["session_id"]: row for row in _rows(HermesHome(sample.path))}

    assert rows[session_id]["_state_db_title"] == title
    assert (rows["own"]["title"], rows["own"]["message_count"]) == (title, 2)
