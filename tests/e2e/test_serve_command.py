"""`hermes-cache serve` as a process: its start, its end, and what it refuses."""

import json
import os
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache.cli.serving import _WARMS_FOR_S
from tests.e2e.gateway_process import COMMAND, connect, served
from tests.waiting import PROCESS_S, until

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


def refused(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 -- ours
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env=os.environ | environment,
    )


def status_at(url: str, **headers: str) -> int:
    with closing(connect(url)) as connection:
        connection.request("GET", "/api/sessions", headers=headers)
        return connection.getresponse().status


def titles(url: str) -> list[str]:
    with closing(connect(url)) as connection:
        connection.request("GET", "/api/sessions?show_cli=1&show_cron=1&all_profiles=1")
        return [row["title"] for row in json.loads(connection.getresponse().read())["sessions"]]


def test_the_first_list_is_there_when_it_says_that_it_serves(home: Path) -> None:
    # Proves X14.
    began_s = time.monotonic()
    with served("--home", str(home)) as (_, url), closing(connect(url)) as connection:
        started_s = time.monotonic() - began_s
        connection.request("GET", "/api/ready")
        ready = connection.getresponse()
        answer = json.loads(ready.read())
        connection.request("GET", "/api/sessions")
        first = connection.getresponse()

    # It waits at most 10 s for the list, which a busy machine may need.
    if started_s < _WARMS_FOR_S:
        assert (ready.status, answer) == (200, {"ready": True})
        assert first.headers["X-Hermes-Cache"] in {"hit", "stale"}
    assert first.status == 200


def test_a_home_that_cannot_be_read_keeps_it_from_being_ready_but_not_from_serving(tmp_path: Path) -> None:
    # Proves X14, X8.
    (tmp_path / "state.db").write_bytes(b"no database at all")
    with served("--home", str(tmp_path)) as (_, url), closing(connect(url)) as connection:
        connection.request("GET", "/api/ready")
        ready = connection.getresponse()
        answer = json.loads(ready.read())
        connection.request("GET", "/api/sessions")
        first = connection.getresponse()

    assert (ready.status, answer) == (503, {"ready": False})
    assert first.status == 503


def test_a_demo_shows_nothing_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Proves W1, X9.
    (tmp_path / "sessions").mkdir()
    own = [{"session_id": "mine", "title": "My own", "message_count": 1}]
    (tmp_path / "sessions" / "_index.json").write_text(json.dumps(own))
    monkeypatch.setenv("HERMES_WEBUI_STATE_DIR", str(tmp_path))

    with served("--demo", "--sessions", "20") as (process, url):
        listed = titles(url)
        process.terminate()
        process.wait(PROCESS_S)

    assert listed
    assert "My own" not in listed


def test_a_home_that_was_named_and_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    # Proves W3.
    result = refused("--home", str(tmp_path / "nowhere"))

    assert result.returncode == 2
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("named", ["/nowhere/home", "~no-such-user/home"])
def test_without_a_home_it_says_how_to_get_one(named: str) -> None:
    # Proves W3.
    result = refused(HERMES_HOME=named)

    assert result.returncode == 1
    assert f"no Hermes home at {named}" in result.stderr
    assert "--home" in result.stderr
    assert "--demo" in result.stderr


def test_a_port_that_is_taken_is_named_before_anything_is_built() -> None:
    # Proves W3, W6: a demo of so many sessions takes minutes to make.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = refused("--demo", "--sessions", "1000000", "--port", str(port))

    (complaint,) = result.stderr.splitlines()
    assert result.returncode == 1
    assert str(port) in complaint


@pytest.mark.parametrize("host", ["no such name", "a..b", "a" * 70, "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_refused_with_what_to_give(host: str, home: Path) -> None:
    # Proves W3: 192.0.2.1 is no machine's address.
    result = refused("--home", str(home), "--port", "0", "--host", host, HERMES_CACHE_TOKEN=TOKEN)

    (complaint,) = result.stderr.splitlines()
    assert result.returncode == 1
    assert f"cannot listen on {host} " in complaint
    assert "give --host an address of this machine" in complaint


def test_beyond_loopback_it_makes_a_token_and_keeps_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Proves W5.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HERMES_CACHE_TOKEN", "")

    with served("--home", str(home), "--host", "0.0.0.0") as (_, address):  # noqa: S104 -- a token guards it
        url, _, token = address.partition("#")
        statuses = [status_at(url, Authorization=f"Bearer {shown}") for shown in (token, token[:-1])]

    kept = tmp_path / "state" / "hermes_cache" / "token"
    assert kept.read_text().strip() == token
    assert kept.stat().st_mode & 0o777 == 0o600
    assert url.startswith("http://127.0.0.1:")
    assert statuses == [200, 401]


def test_a_token_that_a_person_gave_is_not_printed(home: Path) -> None:
    # Proves W5.
    with served("--home", str(home), "--host", "0.0.0.0", "--token", TOKEN) as (_, address):  # noqa: S104 -- guarded
        assert "#" not in address


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--token", "short"], "--token"),
        (["--allow-host", "http://box.example"], "--allow-host"),
        (["--origin", "box.example"], "--origin"),
        (["--root-path", "hermes"], "--root-path"),
    ],
)
def test_a_name_or_a_token_that_is_malformed_is_refused(home: Path, arguments: list[str], option: str) -> None:
    # Proves W5.
    result = refused("--home", str(home), *arguments)

    assert result.returncode == 2
    assert option in result.stderr
    assert "Traceback" not in result.stderr


def test_a_token_that_others_can_read_ends_the_command(home: Path, tmp_path: Path) -> None:
    # Proves W5.
    folder = tmp_path / "hermes_cache"
    folder.mkdir()
    (folder / "token").write_text("correct-horse-battery")
    (folder / "token").chmod(0o644)

    result = refused("--home", str(home), "--host", "0.0.0.0", XDG_STATE_HOME=str(tmp_path))  # noqa: S104 -- refused

    assert result.returncode == 1
    assert "chmod 600" in result.stderr
    assert "correct-horse" not in result.stderr


def test_a_demo_takes_no_home(home: Path) -> None:
    # Proves W3.
    result = refused("--demo", "--home", str(home))

    assert result.returncode == 2


def test_counts_are_kept_for_the_next_start_unless_the_user_says_no(home: Path, cache_folder: Path) -> None:
    # Proves X14.
    with served("--home", str(home)):
        kept_without = cache_folder.exists()
    with served("--home", str(home), "--keep-counts"):
        until(lambda: list(cache_folder.glob("counts-*.json")), within_s=PROCESS_S)

    assert not kept_without
