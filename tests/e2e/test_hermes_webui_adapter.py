"""The adapter for hermes-webui, in a stand-in for that program: a server of our own with the same seam."""

import gzip
import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from hermes_cache import Policy
from tests.waiting import PROCESS_S

ROOT = Path(__file__).parents[2]
ADAPTER = ROOT / "examples/gateways/hermes_webui"
STAND_IN = Path(__file__).with_name("hermes_webui")
MOST_LINES = 40


class Client:
    """Asks the server over connections of its own, one a request."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, query: str = "", **headers: str) -> tuple[Any, bytes]:
        """Return the headers and the body of the list."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PROCESS_S)) as connection:
            connection.request("GET", f"/api/sessions{query}", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.headers, answer.read()

    def titles(self, **headers: str) -> dict[str, str]:
        """Return the title of each session."""
        _, body = self.get(**headers)
        return {row["session_id"]: row["title"] for row in json.loads(body)["sessions"]}

    def do(self, what: str, **fields: object) -> str:
        """Let the program do something, and return what it says."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PROCESS_S)) as connection:
            connection.request("POST", f"/{what}?{urlencode(fields)}")
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with 30 sessions, and a profile `work` with another one."""
    for name, count in {".": 30, "profiles/work": 1}.items():
        folder = tmp_path / "home" / name
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / "state.db")) as connection, connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE sessions (id PRIMARY KEY, title, message_count, started_at)")
            rows = [(f"s{number}", f"{name} {number}", 1, float(number)) for number in range(count)]
            connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?)", rows)
    return tmp_path / "home"


@contextmanager
def serving(checkout: Path, home: Path) -> Iterator[Client]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(  # noqa: S603 -- ours
        [sys.executable, "server.py", str(home)],
        cwd=checkout,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        yield Client(int(process.stdout.readline()))


def wired(folder: Path) -> Path:
    checkout = folder / "checkout"
    shutil.copytree(STAND_IN, checkout)
    subprocess.run([sys.executable, str(ADAPTER / "wire_in.py"), str(checkout)], check=True)  # noqa: S603 -- ours
    return checkout


@pytest.fixture
def webui(tmp_path: Path, home: Path) -> Iterator[Client]:
    with serving(wired(tmp_path), home) as client:
        yield client


def change(home: Path, session_id: str, **fields: object) -> None:
    """Commit to the home, as another process does."""
    with closing(sqlite3.connect(home / "state.db", timeout=PROCESS_S)) as connection, connection:
        for name, value in fields.items():
            connection.execute(f"UPDATE sessions SET {name} = ? WHERE id = ?", (value, session_id))  # noqa: S608


@contextmanager
def builds_nothing(webui: Client) -> Iterator[None]:
    """Read the list, and fail if it is built again, but for one that grew old on a busy machine."""
    began_s = time.monotonic()
    webui.get()
    before = int(webui.do("builds"))
    yield
    grew_old = (time.monotonic() - began_s) / Policy.strict().ttl
    assert int(webui.do("builds")) - before <= grew_old


def test_the_adapter_is_short() -> None:
    # Proves W4. Lines that say nothing and the docstrings of one line are not counted.
    lines = [line.strip() for line in (ADAPTER / "session_lists.py").read_text().splitlines()]

    assert len([line for line in lines if line and not line.startswith(('"""', "#"))]) <= MOST_LINES


@pytest.mark.parametrize("query", ["", "?all_profiles=1"])
def test_a_wired_program_answers_what_it_answered_before(webui: Client, home: Path, query: str) -> None:
    # Proves O2 to O4, O7: order, turns and fields are the program's own.
    webui.do("start", session_id="s3", stream_id="turn")
    with serving(STAND_IN, home) as before:
        before.do("start", session_id="s3", stream_id="turn")
        old, new = (json.loads(client.get(query)[1]) for client in (before, webui))

    assert new["sessions"][0]["is_streaming"]
    assert new.pop("server_time") == pytest.approx(old.pop("server_time"), abs=30)
    assert new == old


def test_a_client_that_reads_gzip_gets_the_same_list_compressed(webui: Client) -> None:
    # Proves O7, W4.
    _, plain = webui.get()
    headers, packed = webui.get(**{"Accept-Encoding": "gzip"})

    assert headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed))["sessions"] == json.loads(plain)["sessions"]


def test_each_build_has_the_profile_of_its_key(webui: Client) -> None:
    # Proves B2: builds run on threads that no request has set a profile for.
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: webui.titles(**{"X-Profile": name}), ["work", "default"] * 20))

    assert {len(titles) for titles in found[::2]} == {1}
    assert {len(titles) for titles in found[1::2]} == {30}


def test_ten_pollers_never_get_an_outdated_title(webui: Client, home: Path) -> None:
    # Proves R1, S4: half of the renames are the program's own, half are commits of another process.
    done, stop, outdated, answers = [0], threading.Event(), [], []

    def poll() -> None:
        while not stop.is_set():
            least = done[0]
            number = int(webui.titles()["s7"].rpartition(" ")[2])
            answers.append(number)
            if number < least:
                outdated.append((least, number))

    change(home, "s7", title="number 0")
    pollers = [threading.Thread(target=poll) for _ in range(10)]
    for poller in pollers:
        poller.start()
    # Until the pollers saw many of them, however little time a busy machine gives them.
    while done[0] < 100 or len(set(answers)) <= 10:
        number = done[0] + 1
        if number % 2:
            webui.do("rename", session_id="s7", title=f"number {number}")
        else:
            change(home, "s7", title=f"number {number}")
        done[0] = number
    stop.set()
    for poller in pollers:
        poller.join()

    assert outdated == []
    assert webui.titles()["s7"] == f"number {done[0]}"


def test_polls_without_a_change_build_nothing(webui: Client) -> None:
    # Proves R2: an empty log that the builds leave behind is no change.
    with builds_nothing(webui):
        for _ in range(20):
            webui.get()


def test_the_commits_of_a_turn_build_nothing_and_its_end_does(webui: Client, home: Path) -> None:
    # Proves H1, H2, O3.
    webui.do("start", session_id="s3", stream_id="turn")
    webui.get()
    before = webui.do("builds")
    for count in range(2, 30):
        change(home, "s3", message_count=count)
        first = json.loads(webui.get()[1])["sessions"][0]
        assert (first["session_id"], first["is_streaming"], first["message_count"]) == ("s3", True, 1)
    during = webui.do("builds")

    webui.do("stop", session_id="s3", stream_id="turn")
    rows = {row["session_id"]: row for row in json.loads(webui.get()[1])["sessions"]}

    assert during == before
    assert (rows["s3"]["is_streaming"], rows["s3"]["message_count"]) == (False, 29)


def test_settings_count_at_once_also_during_a_turn(webui: Client, home: Path) -> None:
    # Proves V3, H1.
    webui.do("start", session_id="s3", stream_id="turn")
    webui.get()
    before = int(webui.do("builds"))
    (home / "settings.json").write_text('{"api_redact_enabled": false}')
    webui.get()

    assert int(webui.do("builds")) == before + 1


def test_a_message_that_waits_shows_without_a_build(webui: Client) -> None:
    # Proves O1, O2.
    with builds_nothing(webui):
        webui.do("ask", session_id="s4", message="hello")
        rows = {row["session_id"]: row for row in json.loads(webui.get()[1])["sessions"]}

    assert rows["s4"]["has_pending_user_message"]
    assert "hello" not in str(rows)


def test_a_rename_during_a_turn_shows_at_once(webui: Client) -> None:
    # Proves R1: the program's own cache of rows, which a turn freezes, is cleared before the event is published.
    webui.do("start", session_id="s3", stream_id="turn")
    webui.get()
    webui.do("rename", session_id="s5", title="renamed")

    assert webui.titles()["s5"] == "renamed"


def test_a_build_that_a_rename_overtakes_is_asked_again(webui: Client) -> None:
    # Proves B4, and that the program's own promise is kept: its request, too, tries again.
    webui.do("hold")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(webui.titles)
        assert webui.do("wait") == "True"
        webui.do("rename", session_id="s7", title="renamed meanwhile")
        webui.do("release")

        assert asked.result(PROCESS_S)["s7"] == "renamed meanwhile"


def test_a_checkout_is_wired_in_once_and_only_if_it_looks_as_expected(tmp_path: Path) -> None:
    # Proves W4: nothing is half done.
    checkout = wired(tmp_path)
    wire_in = runpy.run_path(str(ADAPTER / "wire_in.py"))["wire_in"]
    other = tmp_path / "other"
    shutil.copytree(STAND_IN, other)
    (other / "api/routes.py").write_text("# rewritten upstream\n")

    with pytest.raises(SystemExit, match="wired in already"):
        wire_in(checkout)
    with pytest.raises(SystemExit, match=r"routes\.py has 0 places"):
        wire_in(other)
    assert (other / "api/session_events.py").read_text() == (STAND_IN / "api/session_events.py").read_text()
