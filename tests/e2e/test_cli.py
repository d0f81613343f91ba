"""`hermes-cache` as a process: help, exit codes, and the sample home."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_python("-m", "hermes_cache.cli", *arguments)


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- ours


def test_the_overview_names_each_command_without_importing_it() -> None:
    # Proves W3.
    code = (
        "import sys; from hermes_cache.cli.main import main; main(['--help'], standalone_mode=False); "
        "sys.exit('starlette' in sys.modules or 'uvicorn' in sys.modules)"
    )

    result = run_python("-c", code)

    assert result.returncode == 0
    assert "serve" in result.stdout
    assert "sample-home" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["sample-home", "--help"]])
def test_each_help_has_an_example(arguments: list[str]) -> None:
    # Proves W3.
    result = run(*arguments)

    assert result.returncode == 0
    assert "Example" in result.stdout
    assert "  hermes-cache " in result.stdout


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
    run = f"from hermes_cache.cli.main import main; main(['serve', '--home', {str(tmp_path)!r}])"

    result = run_python("-c", f"import sys; sys.modules[{package!r}] = None; {run}")

    assert result.returncode == 1
    assert f'pip install "hermes-session-cache[{extra}]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_a_sample_home_is_made_and_told_as_json(tmp_path: Path) -> None:
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
