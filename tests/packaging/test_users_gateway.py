"""A user's program is well typed against the installed wheel, as mypy and pyright see it at their strictest."""

import json
import shutil
from pathlib import Path

import pytest

from tests.packaging.wheels import ROOT, Environment, build_wheel, find_python, new_environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, the program and the type checkers; the wheel of basedpyright brings node."""
    python, folder = find_python("3.11"), tmp_path_factory.mktemp("types")
    wheel = build_wheel(python, folder)
    made = new_environment(python, folder / "venv")
    made.install(f"{wheel}[asgi,opentelemetry,prometheus]", "mypy", "basedpyright")
    shutil.copy(ROOT / "tests" / "packaging" / "users_gateway.py", made.folder / "gateway.py")
    return made


def test_mypy_finds_nothing(environment: Environment) -> None:
    told = environment.run("mypy", "--strict", "gateway.py", timeout_s=300)

    assert told.startswith("Success: no issues found in 1 source file")


def test_pyright_finds_nothing(environment: Environment) -> None:
    _configure(environment.folder)

    told = json.loads(environment.run("basedpyright", "--outputjson", timeout_s=300))

    assert told["summary"]["filesAnalyzed"] == 1
    assert told["generalDiagnostics"] == []


def _configure(folder: Path) -> None:
    settings = {
        "typeCheckingMode": "strict",
        "include": ["gateway.py"],
        "venvPath": str(folder.parent),
        "venv": "venv",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
