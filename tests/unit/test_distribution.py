"""The name of the distribution, which is not that of the import: messages and pages name what can be installed."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import hermes_cache
from hermes_cache.distribution import DISTRIBUTION, install_command, installed_version

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_READ = (*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md"), *_ROOT.glob("examples/**/*.*"),
         *_ROOT.glob("hermes_cache/**/*.py"), *_ROOT.glob("tests/**/*.py"), _ROOT / "pyproject.toml")  # fmt: skip
_WITH_EXTRA = re.compile(r"""([\w.-]*hermes[\w.-]*)\[([a-z][a-z,]*)\]""", re.IGNORECASE)


def _named_extras() -> list[tuple[str, str, str]]:
    """Return each `name[extra]` that the repository says can be installed, with its file."""
    texts = [(path, path.read_text(encoding="utf-8", errors="replace")) for path in _READ if path.is_file()]
    return [
        (str(path.relative_to(_ROOT)), name, extra)
        for path, text in texts
        for name, extras in _WITH_EXTRA.findall(text)
        for extra in extras.split(",")
    ]


def test_each_extra_that_is_named_somewhere_is_one_of_the_distribution() -> None:
    named = _named_extras()

    assert [each for each in named if each[1] != DISTRIBUTION] == []
    assert [each for each in named if each[2] not in _PROJECT["optional-dependencies"]] == []
    assert {each[0] for each in named} >= {"pyproject.toml", "docs/journal.md"}


def test_a_command_that_installs_names_the_distribution_and_is_quoted_for_all_shells() -> None:
    assert _PROJECT["name"] == DISTRIBUTION
    assert install_command("serve") == 'pip install "hermes-session-cache[serve]"'


def test_only_the_distributions_own_name_is_installed_or_upgraded() -> None:
    # The repository itself is installed with a dot; packages of others have names of their own.
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in _READ if path.is_file()}
    wrong = re.compile(r"""(pip install|upgrade) ['"]?hermes[_-]?cache""")

    assert [str(path) for path, text in texts.items() if path != Path(__file__) and wrong.search(text)] == []


def test_the_version_is_that_of_the_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """L8: it is looked up when it is asked for."""
    monkeypatch.setattr("importlib.metadata.version", "1.2.3 of {}".format)

    assert hermes_cache.__version__ == f"1.2.3 of {DISTRIBUTION}"


def test_the_version_of_a_program_that_left_out_the_facts_of_its_packages_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L8: a frozen program."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)

    assert installed_version() == "0+unknown"


def test_no_address_of_the_project_is_made_up() -> None:
    # The project has no public address yet; one is added when there is one that answers.
    urls = " ".join(_PROJECT.get("urls", {}).values())

    assert not re.search(r"example|localhost|your-|TODO", urls)
    assert _PROJECT["authors"]
