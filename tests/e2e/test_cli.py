"""`hermes-cache` as a process: help, exit codes, and the sample home."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cache.cli.main import COMMANDS
from tests.waiting import PROCESS_S


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_python("-m", "hermes_cache.cli", *arguments)


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 -- ours
        [sys.executable, *arguments], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )


HEAVY = ("sqlalchemy", "psycopg", "rich", "starlette", "uvicorn", "loky", "hermes_cache.stores")
"""What takes longer to import than a help may take in all."""


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_each_help_has_an_example_and_imports_nothing_that_takes_long(command: str | None, option: str) -> None:
    # Proves W3.
    arguments = [option] if command is None else [command, option]
    code = (
        f"import sys; from hermes_cache.cli.main import main; main({arguments!r}, standalone_mode=False); "
        f"sys.exit(' '.join(each for each in {HEAVY!r} if each in sys.modules) or 0)"
    )

    result = run_python("-c", code)

    assert (result.returncode, result.stderr) == (0, "")
    assert "Example" in result.stdout
    assert f"  hermes-cache {command or 'serve'} " in result.stdout


def test_the_overview_names_each_command() -> None:
    # Proves W3.
    result = run("-h")

    assert all(f"  {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sever"], "'serve'"),
        (["sample_home"], "'sample-home'"),
        (["tail", "--folow"], "'--follow'"),
        (["fly"], "tail"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(arguments: list[str], meant: str) -> None:
    # Proves W3: a command that is like no other gets all there are.
    result = run(*arguments)

    assert result.returncode == 2
    assert meant in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["fly"], ["serve", "--port", "high"], ["sample-home"], ["serve", "--fast"]])
def test_wrong_usage_has_exit_code_2(arguments: list[str]) -> None:
    # Proves W3.
    result = run(*arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("package", "extra"), [("starlette", "serve"), ("uvicorn", "serve"), ("loky", "processes")]
)
def test_serve_without_its_extras_says_what_to_install(package: str, extra: str, tmp_path: Path) -> None:
    # Proves W3.
    run = f"from hermes_cache.cli.main import main; main(['serve', '--port', '0', '--home', {str(tmp_path)!r}])"

    result = run_python("-c", f"import sys; sys.modules[{package!r}] = None; {run}")

    assert result.returncode == 1
    assert f'pip install "hermes-session-cache[{extra}]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_a_sample_home_is_made_and_printed_as_json(tmp_path: Path) -> None:
    # Proves W3, X9.
    result = run("sample-home", str(tmp_path / "home"), "--sessions", "12", "--seed", "3", "--json")

    printed = json.loads(result.stdout)
    assert result.returncode == 0
    assert (printed["path"], printed["sessions"], printed["seed"]) == (str(tmp_path / "home"), 12, 3)
    assert (tmp_path / "home" / "state.db").exists()
    assert "12 sessions" in result.stderr


@pytest.mark.parametrize("name", ["a home?#%", "caf\udce9"])
def test_a_sample_home_may_have_any_name(name: str, tmp_path: Path) -> None:
    # Proves W3, X2: also one that is no valid UTF-8.
    result = run("sample-home", str(tmp_path / name), "--sessions", "2", "--json")

    assert (result.returncode, json.loads(result.stdout)["path"]) == (0, str(tmp_path / name))
    assert "Traceback" not in result.stderr


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    # Proves W3.
    (tmp_path / "mine.txt").write_text("mine")

    result = run("sample-home", str(tmp_path))

    assert result.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("path", ["/dev/full", "/dev/full/home", f"/{'x' * 300}"])
def test_a_sample_home_that_cannot_be_made_fails_in_one_line(path: str) -> None:
    # Proves W3.
    result = run("sample-home", path)

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("Error: the home could not be made: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["serve", "--home", "."], ["publish", "--journal", "sqlite:///journal.db"], ["sample-home", "home"]],
)
def test_a_current_folder_that_is_gone_is_reported_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    # Proves W3.
    gone = tmp_path / "gone"
    gone.mkdir()
    # -P: as the installed command, it looks for no module in the current folder.
    code = "import os, sys; os.rmdir(os.getcwd()); from hermes_cache.cli.main import main; main(sys.argv[1:])"

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=gone,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert (result.returncode, result.stderr.splitlines()[-1][:7]) == (1, "Error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "offered"), [("hermes-cache sta", "stats"), ("hermes-cache tail --fo", "--follow")]
)
def test_a_shell_completes_commands_and_options(line: str, offered: str) -> None:
    # Proves W3: as the page of the command line says, through the variable that the script of the shell sets.
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_HERMES_CACHE_COMPLETE": "bash_complete"}
    code = "from hermes_cache.cli.main import main; main(prog_name='hermes-cache')"

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", code],
        env=os.environ | words,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert f"plain,{offered}" in result.stdout.splitlines()
