"""The README, taken at its word: its commands are run, its snippet too, and its links lead somewhere."""

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cache.samples.home import make_sample_home
from tests.waiting import PROCESS_S

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
DEMO_ADDRESS = "http://127.0.0.1:8787/"
OUR_COMMAND = ".venv/bin/hermes-cache"
JOURNAL = "sqlite:///journal.db"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shell_lines(program: str) -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


def environment(**changes: str) -> dict[str, str]:
    """Return the surroundings of a new shell: neither of the make nor of the pytest that may run this."""
    own = ("MAKE", "MFLAGS", "PYTEST", "HERMES")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | changes


def made_by(target: str) -> list[str]:
    """Return the last command that a target runs, after the program's name."""
    asked = ["make", "--dry-run", "--no-print-directory", target]
    result = subprocess.run(asked, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    return shlex.split(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Run what `make demo` runs, on a free port; gives its address."""
    program, *arguments = made_by("demo")
    assert Path(program).name == "hermes-cache"
    command = [sys.executable, "-m", "hermes_cache.cli", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:  # noqa: S603 -- ours
        try:
            assert process.stdout
            ready, _, _ = select.select([process.stdout], [], [], PROCESS_S)
            found = re.search(r"http://\S+", process.stdout.readline() if ready else "")
            assert found, "the demo told no address"
            yield found[0]
        finally:
            process.terminate()


def test_every_block_is_of_a_kind_that_is_run_here() -> None:
    # Proves W3: no command stands in the README that nobody runs.
    kinds = re.findall(r"^```(\w*)\n.*?^```$", README, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks("sh") for line in block.splitlines()]

    assert set(kinds) == {"text", "sh", "python"}
    run_here = ["make demo", "make test", *shell_lines("curl"), *shell_lines(OUR_COMMAND)]
    assert sorted(lines) == sorted(run_here)


@pytest.mark.parametrize("line", shell_lines("curl"))
def test_a_curl_line_gets_its_answer_from_the_demo(line: str, demo: str) -> None:
    # Proves W1.
    if not shutil.which("curl"):
        pytest.skip("there is no curl here")
    assert DEMO_ADDRESS in line
    command = shlex.split(line.replace(DEMO_ADDRESS, demo))
    if "--max-time" in command:
        # What is sent without an end is read until its first event.
        command[command.index("--max-time") + 1] = str(PROCESS_S)
        with subprocess.Popen(  # noqa: S603 -- ours
            command, env=environment(no_proxy="*"), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert any(said.startswith("event: ") for said in process.stdout)
            process.terminate()
        return

    result = subprocess.run(  # noqa: S603 -- ours
        [*command, "--fail"],
        env=environment(no_proxy="*"),
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert result.returncode == 0
    assert re.search(r'"sessions"|"running"|^X-Hermes-Cache: ', result.stdout, re.MULTILINE)


def test_the_demo_serves_its_page(demo: str) -> None:
    # Proves W2.
    if not shutil.which("curl"):
        pytest.skip("there is no curl here")
    command = ["curl", "-s", "--fail", demo]

    result = subprocess.run(command, env=environment(no_proxy="*"), capture_output=True, text=True, check=False)  # noqa: S603 -- ours

    assert "<html" in result.stdout


def test_the_commands_for_a_journal_tell_of_each_other(tmp_path: Path) -> None:
    # Proves W3, J3: run one after the other, as they stand but for the path of the journal.
    lines = shell_lines(OUR_COMMAND)
    assert all(JOURNAL in line for line in lines)
    commands = [shlex.split(line.replace(JOURNAL, f"sqlite:///{tmp_path / 'journal.db'}"))[1:] for line in lines]

    results = [
        subprocess.run(  # noqa: S603 -- ours
            [sys.executable, "-m", "hermes_cache.cli", *arguments],
            env=environment(), capture_output=True, text=True, timeout=PROCESS_S, check=True,
        )
        for arguments in commands
    ]  # fmt: skip

    assert "reason=nightly_import" in results[-1].stdout


def test_make_test_runs_the_suite() -> None:
    # Proves W3: the very command, on one file of the suite, which needs no workers beside it.
    program, *arguments = made_by("test")
    assert Path(program).name == "pytest"

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-m", "pytest", *arguments, "-n", "0", "tests/unit/test_tickets.py"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


def with_journal(snippet: str, journal: Path) -> str:
    """Return a snippet with the one argument more that the README speaks of."""
    argument = re.search(r'`journal="(.+?)"`', README)
    assert argument
    position = argument[0].strip("`").replace(argument[1], f"sqlite:///{journal}")
    changed = snippet.replace("sources=home.sources)", f"sources=home.sources, {position})")
    assert changed != snippet
    return changed


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize("snippet", blocks("python"))
def test_a_snippet_runs_as_it_stands(snippet: str, tmp_path: Path, *, journaled: bool) -> None:
    # Proves R1, O6, X1, J1.
    if journaled:
        snippet = with_journal(snippet, tmp_path / "journal.db")
    home = tmp_path / "home"
    make_sample_home(home, sessions=20, seed=1)

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-W", "error", "-c", snippet],
        env=environment(HERMES_HOME=str(home)), capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "built event True\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    # Proves W3 for the pages: a file that moved takes its links along.
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    files = [link for link in links if "://" not in link]

    assert [link for link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    # Proves W3 for the pages: whoever looks for the file that is named finds it.
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", page.read_text()))

    assert {
        name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "hermes_cache"))
    } == set()
