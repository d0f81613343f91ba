"""The demo proves the claim within its first minute. Rule W2."""

import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest

from hermes_cache import Bus, SessionListCache, SessionListKey
from hermes_cache.cli.demo import DemoShow
from tests.e2e.demo_process import demo_folder
from tests.e2e.gateway_process import connect, served
from tests.waiting import PROCESS_S, until

_LOOKS: Final = 50
_PAUSE_S: Final = 0.005
"""Together more than the time between two messages of a turn."""


class Show:
    """A demo that runs, as its page sees it."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home

    def get(self, path: str) -> dict[str, Any]:
        status, body = self._ask(lambda connection: connection.request("GET", path))
        assert status == 200, body
        found = json.loads(body)
        assert isinstance(found, dict)
        return found

    def do(self, **command: str) -> int:
        headers = {"Origin": self.url.rstrip("/")}
        return self._ask(lambda connection: connection.request("POST", "/api/demo", json.dumps(command), headers))[
            0
        ]

    def waited_for(self, what: str, fits: Callable[[dict[str, Any]], object]) -> None:
        """Look into the cache until something is seen."""
        until(lambda: fits(self.get("/api/cache")), f"there was no {what}", within_s=PROCESS_S)

    def _ask(self, send: Callable[[HTTPConnection], None]) -> tuple[int, bytes]:
        connection = connect(self.url)
        try:
            send(connection)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def show() -> Iterator[Show]:
    with served("--demo", "--sessions", "60") as (process, url):
        yield Show(url, demo_folder(process) / "home")


def test_hits_a_hold_down_an_overtaken_build_and_events_of_another_process_are_seen(show: Show) -> None:
    # Proves W2, H1, B4, J3.
    show.waited_for("hit", lambda seen: seen["stats"]["outcomes"].get("hit", 0) > 5)
    show.waited_for("hold-down", lambda seen: seen["streams"])
    show.waited_for("foreign event", lambda seen: [each for each in seen["events"] if each["is_foreign"]])
    show.waited_for("overtaken build", lambda seen: seen["stats"]["overtaken"])
    show.waited_for(
        "reader that waited for an overtaken build",
        lambda seen: [each for each in seen["builds"] if each["overtaken_by"] and each["waited"]],
    )
    stats = show.get("/api/cache")["stats"]
    assert sum(stats["outcomes"].values()) > stats["builds"]


def test_the_agent_keeps_its_database_open_during_a_turn(show: Show) -> None:
    # Proves W2: a real agent does. Without its log, a build of this busy home fails: it 'is being written'.
    log, pause = show.home / "state.db-wal", Event()

    def is_there_all_the_time(_number: int) -> bool:
        pause.wait(_PAUSE_S)
        return log.exists()

    show.waited_for(
        "turn with the log at each look",
        lambda seen: seen["streams"] and all(map(is_there_all_the_time, range(_LOOKS))),
    )


def test_a_rename_during_a_build_overtakes_it_and_the_naive_cache_serves_the_old_name(show: Show) -> None:
    # Proves W2, B4.
    def is_behind() -> bool:
        behind = show.get("/api/demo/naive")["behind"]
        return any(each.get("reason") == "session_rename" for each in behind)

    def gets_behind() -> bool:
        # The second poll comes after the build that was renamed, unless an event of others came between.
        assert show.do(do="rename_during_build") == 204
        return is_behind() or is_behind()

    until(gets_behind, "the naive cache was never behind", within_s=PROCESS_S)


def test_a_broken_home_is_reported_and_mended(show: Show) -> None:
    # Proves W2, X8.
    assert show.do(do="break") == 204
    show.waited_for("failure", lambda seen: [each for each in seen["entries"] if each["failure"]])
    assert show.get("/api/cache")["demo"] == {"is_broken": True}

    assert show.do(do="mend") == 204
    show.waited_for("recovery", lambda seen: not [each for each in seen["entries"] if each["failure"]])
    assert show.get("/api/cache")["demo"] == {"is_broken": False}


def test_the_demo_does_nothing_else(show: Show) -> None:
    # Proves W1, E3.
    assert show.do(do="anything") == 400


def test_it_ends_in_silence_before_the_last_words_of_its_agent_are_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Proves W6: a journal that takes its time holds up who publishes them.
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    publishers: list[threading.Thread] = []
    publishes, has_ended = Event(), Event()
    journal = f"sqlite:///{home.parent / 'journal.db'}"

    def hold_up(_sender: object, event: object) -> None:  # noqa: ARG001 -- receivers are called so
        publishers.append(threading.current_thread())
        publishes.set()
        has_ended.wait(PROCESS_S)

    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), journal=journal) as cache:
        cache.bus.stream_started.connect(hold_up)
        with DemoShow(home, cache, SessionListKey(), journal):
            assert publishes.wait(PROCESS_S)
        has_ended.set()
        publishers[0].join(PROCESS_S)

    assert not failures
