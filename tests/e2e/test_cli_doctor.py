"""`hermes-cache doctor` as a process, and what `serve` says of the same at its start (W3)."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from hermes_cache import Policy
from hermes_cache.cli.serving import _say_what_is_wrong
from hermes_cache.doctor.examining import Examined
from tests.e2e.gateway_process import served
from tests.e2e.process_log import AS_JSON
from tests.waiting import PROCESS_S

DOCTOR = [sys.executable, "-m", "hermes_cache.cli", "doctor"]


def examined(
    *arguments: str, command: tuple[str, ...] = (), **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 -- ours
        [*(command or DOCTOR), *arguments],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env=os.environ | environment,
    )


def findings(result: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, str]]:
    """Return the findings that are not about the environment of the tests, by their names."""
    told = json.loads(result.stdout)["findings"]
    return {each["name"]: each for each in told if each["subject"] != "environment"}


def test_nothing_is_found_in_the_sample_home(home: Path) -> None:
    before = sorted(str(path) for path in home.rglob("*"))

    result = examined("--home", str(home), "--json")

    assert result.returncode == (1 if json.loads(result.stdout)["wrong"] else 0)
    assert findings(result) == {}
    assert sorted(str(path) for path in home.rglob("*")) == before


def test_what_is_wrong_is_said_in_sentences_by_subject(home: Path, tmp_path: Path) -> None:
    (home / "webui" / "settings.json").write_text("{")
    journal = f"sqlite:///{tmp_path / 'none' / 'journal.db'}"

    result = examined(
        "--home", str(home), "--journal", journal, "--policy", "poll_interval=5", "--policy", "ttl=2"
    )

    lines = result.stdout.splitlines()
    assert result.returncode == 1
    assert [line for line in lines if line in {f"Home {home}", "Journal", "Policy"}] == [
        f"Home {home}",
        "Journal",
        "Policy",
    ]
    assert any(
        line.startswith("wrong  settings-unreadable  ") and line.endswith("; mend it, or remove it")
        for line in lines
    )
    assert any("journal-folder-missing" in line for line in lines)
    assert any("ttl-under-cadence" in line for line in lines)
    assert lines[-1].startswith("2 things are wrong")


def test_only_hints_are_exit_code_0(home: Path) -> None:
    (home / "profiles" / "My Work").mkdir()

    result = examined("--home", str(home), "--json")

    assert {name: each["gravity"] for name, each in findings(result).items()} == {"odd-profile-name": "hint"}
    assert result.returncode == (1 if json.loads(result.stdout)["wrong"] else 0)


def test_workers_are_read_from_the_environment(home: Path) -> None:
    result = examined("--home", str(home), "--json", WEB_CONCURRENCY="4")

    assert [*findings(result)] == ["workers-without-journal"]
    assert result.returncode == 1


def test_a_home_that_nobody_can_name_is_found() -> None:
    result = examined("--json", "--home", "~nosuchuser/.hermes")

    assert findings(result)["home-missing"]["gravity"] == "wrong"
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("columns", ["20", "40", "80"])
def test_a_narrow_terminal_loses_no_sign(home: Path, columns: str) -> None:
    """W3"""
    given = ("--home", str(home), "--policy", "max_bytes=" + "9" * 20)

    shown, piped = examined(*given, FORCE_COLOR="1", NO_COLOR="1", COLUMNS=columns), examined(*given)

    assert sorted(_signs(shown.stdout)) == sorted(_signs(piped.stdout))


def _signs(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m|\s", "", text)


def test_a_policy_that_is_refused_is_found(home: Path) -> None:
    result = examined("--home", str(home), "--json", "--policy", "ttl=-1")

    assert "Policy.ttl is -1" in findings(result)["policy-refused"]["what"]


@pytest.mark.parametrize(("given", "said"), [("tl=1", "ttl"), ("ttl=soon", "number"), ("ttl", "name=value")])
def test_a_field_that_a_policy_does_not_have_is_wrong_usage(given: str, said: str, home: Path) -> None:
    result = examined("--home", str(home), "--policy", given)

    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr.splitlines()[-1]


def test_a_second_sqlite_library_is_found(home: Path) -> None:
    """X2"""
    code = "import sys; sys.modules['pysqlite3'] = sys; from hermes_cache.cli.main import main; main()"
    command = (sys.executable, "-c", code, "doctor")

    told = json.loads(examined("--home", str(home), "--json", command=command).stdout)["findings"]

    assert "second-sqlite" in {each["name"] for each in told}


def test_a_low_limit_of_descriptors_is_found(home: Path) -> None:
    command = ("sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *DOCTOR)

    told = json.loads(examined("--home", str(home), "--json", command=command).stdout)["findings"]

    assert {each["name"]: each["gravity"] for each in told}["few-descriptors"] == "wrong"


def test_a_gateway_logs_at_its_start_what_the_doctor_finds(home: Path) -> None:
    (home / "webui" / "projects.json").write_text("[")
    home.chmod(0o777)
    logged: list[dict[str, str]] = []

    with served("--home", str(home), *AS_JSON) as (process, _):
        assert process.stderr
        ends_at_s = monotonic() + PROCESS_S
        while monotonic() < ends_at_s and not {"home-open", "file-broken"} <= {
            each.get("finding") for each in logged
        }:
            logged.append(json.loads(process.stderr.readline()))

    found = {each["finding"]: each for each in logged if "finding" in each}
    assert (found["home-open"]["event"], found["home-open"]["level"]) == ("hermes_cache.found_wrong", "warning")
    assert (found["file-broken"]["event"], found["file-broken"]["level"]) == ("hermes_cache.found_hint", "info")
    assert "chmod o-w" in found["home-open"]["todo"]
    assert [each.get("finding") for each in logged].count("home-open") == 1


class SlowEnvironment(Mapping[str, str]):
    """An environment without variables; each read of it waits until the test lets it go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.readers: list[threading.Thread] = []
        self.is_read = threading.Event()

    def __getitem__(self, name: str) -> str:
        self.readers.append(threading.current_thread())
        self.is_read.set()
        self.goes_on.wait(PROCESS_S)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_a_gateway_that_ends_says_nothing_of_a_home_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """W3, W6: a demo removes its home at the end, and a busy machine may examine it only then."""
    caplog.set_level(logging.INFO, "hermes_cache")
    environment = SlowEnvironment()
    examined = Examined(home=tmp_path / "gone", journal=None, policy=Policy(), environment=environment)

    with ExitStack() as life:
        _say_what_is_wrong(examined, life)
        assert environment.is_read.wait(PROCESS_S)
    environment.goes_on.set()
    environment.readers[0].join(PROCESS_S)

    assert [record.message for record in caplog.records] == []
