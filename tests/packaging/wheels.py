"""The wheel of this tree, and environments that have nothing but it: for tests of what a user installs."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PYTHONS: Final = ("3.11", "3.12", "3.13")
_INSTALL_S: Final = 600


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *arguments: str) -> None:
        """Install with pip.

        Raises:
            AssertionError: That failed.
        """
        options = ["-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _run([str(self.python), *options, *arguments], cwd=self.folder, timeout_s=_INSTALL_S)

    def run(self, *command: str, cwd: Path | None = None, timeout_s: float = 60) -> str:
        """Run a program of it, by default away from this tree, and return what it printed."""
        program = [str(self.folder / "bin" / command[0]), *command[1:]]
        return _run(program, cwd=cwd or self.folder, timeout_s=timeout_s)


def find_python(version: str) -> str:
    """Return an interpreter of a version; skip the test if there is none here."""
    found = subprocess.run(  # noqa: S603 - our own script
        [str(ROOT / ".ci" / "find-python"), version], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(f"there is no Python {version} here")
    return found.stdout.strip()


def new_environment(python: str, folder: Path) -> Environment:
    """Make an environment that has nothing but pip."""
    _run([python, "-m", "venv", str(folder)], cwd=folder.parent, timeout_s=120)
    return Environment(folder)


def build_wheel(python: str, folder: Path) -> Path:
    """Build the wheel of this tree; skip the test if there is no index to build it with."""
    command = [python, "-m", "pip", "wheel", "-qq", "--disable-pip-version-check", "--no-deps", "-w", str(folder)]
    done = subprocess.run(  # noqa: S603 - our own
        [*command, str(ROOT)], cwd=folder, capture_output=True, text=True, check=False
    )
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip reaches no index here")
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    return wheel


def _run(command: list[str], *, cwd: Path, timeout_s: float) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(  # noqa: S603 - our own
        command, cwd=cwd, env=environment, capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
