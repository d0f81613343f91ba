"""The quick part of the suite passes with the oldest versions of what is depended on, and with the newest."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.wheels import ROOT, build_wheel, find_python, new_environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_600)]

_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_EXTRAS: Final = ",".join(sorted(_PROJECT["optional-dependencies"]))
_TOOLS: Final = ("hypothesis", "pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "opentelemetry-sdk")
_SUITE: Final = ("tests/unit", "tests/property")


def oldest() -> Iterator[str]:
    """Yield for each dependency the oldest version that the project says will do."""
    extras: dict[str, list[str]] = _PROJECT["optional-dependencies"]
    for requirement in [*_PROJECT["dependencies"], *[each for extra in extras.values() for each in extra]]:
        found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
        if found:
            yield f"{found[1]}=={found[2]}"
        if found and found[1] == "opentelemetry-api":
            # The two are released together.
            yield f"opentelemetry-sdk=={found[2]}"


@pytest.mark.parametrize("versions", ["oldest", "newest"])
def test_the_quick_suite_passes(versions: str, tmp_path: Path) -> None:
    """Nobody can say of a bound that it holds unless something runs with it."""
    python = find_python("3.11")
    wheel = build_wheel(python, tmp_path)
    environment = new_environment(python, tmp_path / "venv")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(oldest()) if versions == "oldest" else "")

    environment.install("-c", str(constraints), f"{wheel}[{_EXTRAS}]", *_TOOLS)
    # The plugin of anyio warns of the newest pytest, and warnings are errors here.
    told = environment.run(
        "python", "-m", "pytest", "-q", "-n", "2", "-p", "no:anyio", "-m", "not long", *_SUITE, cwd=ROOT,
        timeout_s=3_000,
    )  # fmt: skip

    assert " passed" in told
    assert " failed" not in told


def test_each_dependency_has_a_bound() -> None:
    """A dependency without one would be tested with the newest version alone."""
    extras: dict[str, list[str]] = _PROJECT["optional-dependencies"]
    named = [*_PROJECT["dependencies"], *[each for extra in extras.values() for each in extra]]

    assert [each for each in named if ">=" not in each and not each.startswith(_PROJECT["name"])] == []
