"""The examples, run as a reader would run them, and held against the output that stands beside them."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import PROCESS_S, at_its_best

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("[0-9]*.py"))
MOST_LINES = 60


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@at_its_best(under_s=10.0)
def test_an_example_prints_what_stands_beside_it(example: Path) -> float:
    # Proves W4 with the gateway on http.server; the others show R2, P1, V1, H1, H2, E7, E8, E5, J1 to J3 and J8.
    expected = example.with_suffix(".out").read_text()
    if '"node"' in example.read_text() and shutil.which("node") is None:
        pytest.skip("node is not here; install it, as by `apt-get install nodejs`")

    began_s = time.monotonic()
    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    took_s = time.monotonic() - began_s
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == expected
    return took_s


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    # Proves W4: one idea, read in one sitting.
    lines = example.read_text().splitlines()

    assert len(lines) <= MOST_LINES


def test_every_expected_output_has_its_example_and_the_numbers_leave_no_gap() -> None:
    # Proves W4: nothing is left behind by a renamed example.
    outputs = sorted(FOLDER.glob("*.out"))

    assert [path.stem for path in outputs] == [path.stem for path in EXAMPLES]
    assert [int(path.stem[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
