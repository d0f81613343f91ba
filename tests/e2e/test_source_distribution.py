"""What a source distribution holds: everything that one needs to test, to read and to change the package."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hermes_cache.distribution import DISTRIBUTION

_ROOT = Path(__file__).parents[2]
_MADE_AGAIN = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", "*.egg-info", ".*_cache", ".benchmarks", ".hypothesis", ".coverage", "build",
    "dist", "site", "journal.db*", "example-data",
)  # fmt: skip
_BUILD = "from setuptools.build_meta import build_sdist; import sys; print(build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, since a build leaves files behind."""
    return Path(shutil.copytree(_ROOT, tmp_path_factory.mktemp("tree") / "copy", ignore=_MADE_AGAIN))


@pytest.fixture(scope="module")
def files(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the source distribution, by their paths in it."""
    before = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-c", _BUILD, str(folder)]
    subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 -- ours
    (made,) = folder.iterdir()
    assert made.name.startswith(f"{DISTRIBUTION.replace('-', '_')}-")
    with tarfile.open(made) as archive:
        held = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    assert held - before <= {"PKG-INFO", "setup.cfg"} | {name for name in held if ".egg-info/" in name}
    return held


def test_it_has_every_file_of_the_repository(tree: Path, files: set[str]) -> None:
    copied = {
        str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file() and ".egg-info" not in str(path)
    }

    assert [name for name in sorted(copied) if not (_ROOT / name).is_file()] == []
    assert sorted(copied - files) == []


@pytest.mark.parametrize(
    "name",
    [
        "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "docs/rules.md",
        "examples/01_first_cache.py", "examples/01_first_cache.out", "hermes_cache/__init__.pyi",
        "hermes_cache/py.typed", "hermes_cache/gateway/page/index.html", "tests/conftest.py",
        "tests/property/patch_vectors.jsonl",
    ],
)  # fmt: skip
def test_it_has_what_people_look_for(name: str, files: set[str]) -> None:
    assert name in files


def test_it_has_nothing_that_can_be_made_again(files: set[str]) -> None:
    assert not [name for name in files if name.endswith((".pyc", ".db")) or "__pycache__" in name]
