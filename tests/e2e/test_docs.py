"""The pages of docs/, taken at their word: snippets and commands are run, and tables are held to the code."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

import hermes_cache
from hermes_cache import Bus, Policy
from hermes_cache.samples.home import make_sample_home
from tests.waiting import PROCESS_S

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs").rglob("*.md"))
BLOCK: Final = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN_BY_HAND: Final = ("curl ", "export ", "echo ", "eval ", "make ", "_HERMES_CACHE_COMPLETE=", "#")
"""Beginnings of lines that set up a shell, or that other tests run."""

BEFORE: Final = {
    "journal.md": (
        "from hermes_cache import Bus, ListCache, SessionListCache\n"
        "url = 'sqlite:////var/lib/gateway/lists.db'\n"
        "builder = build_orders = build_bills = lambda key: {'sessions': []}\n"
    ),
    "operators.md": (
        "from hermes_cache import Bus, SessionListCache\n"
        "from prometheus_client import CollectorRegistry, generate_latest\n"
        "from prometheus_client.multiprocess import MultiProcessCollector\n"
        "cache = SessionListCache(lambda key: {'sessions': []}, bus=Bus())\n"
        "from hermes_cache.integrations.prometheus import CacheCollector\n"
        "collector = CacheCollector(cache)\n"
    ),
}
"""What a page takes as given."""


def _blocks(page: Path, kind: str) -> list[str]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [each["text"] for each in found if each["kind"] == kind and not each["why"]]


def _names(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs"))


def _with(kind: str) -> list[Path]:
    return [page for page in PAGES if _blocks(page, kind)]


def _environment(folder: Path) -> dict[str, str]:
    multiprocess = folder / "multiprocess"
    multiprocess.mkdir(exist_ok=True)
    own = ("PYTEST", "HERMES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"PROMETHEUS_MULTIPROC_DIR": str(multiprocess), "XDG_STATE_HOME": str(folder / "state")}


@pytest.mark.parametrize("page", _with("python"), ids=_names)
def test_the_snippets_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    # Proves W3 for the pages.
    program = BEFORE.get(page.name, "") + "\n".join(_blocks(page, "python"))
    program = program.replace("/var/lib/gateway/", f"{tmp_path}/")

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stderr) == (0, "")


def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    # Proves W3 for the pages: a comment behind a `print` begins with what it prints.
    blocks = _blocks(ROOT / "docs" / "tutorial.md", "python")
    wanted = re.findall(r"^\s*print\(.*\)  # ([^:,\n]+)", "\n".join(blocks), re.MULTILINE)

    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=PROCESS_S, check=True,
    )  # fmt: skip

    printed = result.stdout.splitlines()
    for line in wanted:
        if line != "what is cached cannot be changed":
            assert line in printed
    assert len(wanted) > 10


def _commands() -> list[tuple[str, str]]:
    """Return each command once, with the page on which it stands last."""
    lines = {line: _names(page) for page in PAGES for block in _blocks(page, "sh") for line in block.splitlines()}
    return [(page, line) for line, page in lines.items() if line.startswith("hermes-cache ")]


@pytest.mark.parametrize(("page", "line"), _commands())
def test_a_command_of_a_page_does_its_work(page: str, line: str, tmp_path: Path) -> None:
    # Proves W3 for the pages: on a home and a journal of their own, and a free port.
    home, journal = tmp_path / "home", f"sqlite:///{tmp_path / 'journal.db'}"
    make_sample_home(home, sessions=20)
    first = [sys.executable, "-m", "hermes_cache.cli"]
    with Bus(journal=journal) as bus:
        bus.list_changed.send(None)
    line = line.replace("sqlite:///journal.db", journal).replace("/tmp/home", str(tmp_path / "another"))  # noqa: S108 -- of the page
    _, command, *arguments = shlex.split(line)
    if command in {"stats", "explain"} and "--journal" not in arguments:
        pytest.skip(f"{page}: it asks a gateway that runs; the tests of {command} do")
    if command == "doctor":
        arguments = [str(home) if each == str(tmp_path / "another") else each for each in arguments]
    environment = _environment(tmp_path) | {"HERMES_HOME": str(home)}

    if command in {"serve", "tail"}:
        free = ["--port", "0"] if command == "serve" else []
        with subprocess.Popen(  # noqa: S603 -- ours
            [*first, command, *arguments, *free], env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.terminate()
            process.wait(PROCESS_S)
        assert said
        return
    result = subprocess.run(  # noqa: S603 -- ours
        [*first, command, *arguments], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert result.returncode in ({0, 1} if command == "doctor" else {0}), result.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "sh")], ids=_names)
def test_every_line_for_a_shell_is_of_a_kind_that_a_test_runs(page: Path) -> None:
    # Proves W3 for the pages.
    lines = [line for block in _blocks(page, "sh") for line in block.splitlines() if line.strip()]

    assert [line for line in lines if not line.startswith(("hermes-cache ", *RUN_BY_HAND))] == []


def test_the_page_on_tuning_has_every_field_with_its_default() -> None:
    # Proves W3 for the pages.
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE))

    wanted = {each.name: each.default for each in fields(Policy)}
    assert told.keys() == wanted.keys()
    defaults = {name: text.split(":")[0].replace(",", "") for name, text in told.items()}
    assert {name: text if text == "None" else float(text) for name, text in defaults.items()} == {
        name: str(value) if value is None else value for name, value in wanted.items()
    }


def test_every_page_stands_in_the_table_of_contents() -> None:
    # Proves W3 for the pages.
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert [_names(page) for page in PAGES if f" {_names(page)}\n" not in contents] == []


def test_every_public_name_has_a_docstring_for_the_reference() -> None:
    # Proves W3 for the pages: the reference is made of docstrings.
    assert [
        name
        for name in hermes_cache.__all__
        if callable(getattr(hermes_cache, name)) and not (getattr(hermes_cache, name).__doc__ or "").strip()
    ] == []


def test_every_file_that_the_architecture_names_is_there() -> None:
    # Proves W3 for the pages: 'where a change goes' is true for the tree.
    named = set(
        re.findall(r"`([\w/]+/[\w*]+\.(?:py|js))`", (ROOT / "docs" / "architecture.md").read_text("utf-8"))
    )

    missing = [
        each for each in named if not any(list(folder.glob(each)) for folder in (ROOT, ROOT / "hermes_cache"))
    ]

    assert len(named) > 100
    assert missing == []
