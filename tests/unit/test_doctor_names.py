"""Each finding of the doctor has a line on its page, and a test that plants it (W3)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hermes_cache.doctor
from hermes_cache.doctor.findings import SUBJECTS

_ROOT = Path(__file__).parents[2]
_DOCTOR = Path(hermes_cache.doctor.__file__).parent
_MAKERS = {"_wrong", "_hint", "unreadable", "found"}


def _named_in(source: Path) -> Iterator[str]:
    """Yield the names of the findings that a module makes; what is filled in is a star."""
    for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        maker = call.func.id if isinstance(call.func, ast.Name) else ""
        if call.args and (maker in _MAKERS or isinstance(call.func, ast.IfExp)):
            name = ast.unparse(call.args[0]).removeprefix("f").strip("'\"")
            if name != "name":
                yield re.sub(r"\{\w+\}", "*", name)


def _listed() -> list[tuple[str, str]]:
    page = (_ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    return re.findall(r"^\| (\w+) \| `([a-z-]+)` \| (?:wrong|hint) \|", page, re.MULTILINE)


def test_the_page_lists_each_finding_and_no_other() -> None:
    made = {name for source in _DOCTOR.glob("*.py") for name in _named_in(source)}
    listed = [name for _, name in _listed()]
    filled = {re.sub(r"^(no-extra|no-inotify)-\w+$", r"\1-*", name) for name in listed}

    assert len(listed) == len(set(listed)) >= 15
    assert filled == made
    assert {subject for subject, _ in _listed()} == set(SUBJECTS)


def test_each_finding_is_planted_by_a_test() -> None:
    tests = [path for path in (_ROOT / "tests").rglob("test_*doctor*.py") if path != Path(__file__)]
    planted = "".join(path.read_text(encoding="utf-8") for path in tests)

    assert [name for _, name in _listed() if f'"{name}"' not in planted] == []
