"""Rule W4: each example of a framework, as a real process under 20 clients, is never out of date."""

import pytest

from tests.e2e.framework_runs import EXAMPLES, STOPS_WITHIN_S, Example, run
from tests.waiting import at_its_best

MOST_LINES = 40


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
@at_its_best(under_s=STOPS_WITHIN_S)
def test_no_read_lacks_a_rename_that_was_acknowledged_before_it_began(example: Example) -> float:
    # Proves W4, R1, J3, J8, E10, L1.
    if example.missing:
        pytest.skip(f"{example.missing} is not here; install it, as by `pip install --group dev`")

    found = run(example, reads=400, renames=20)

    assert (found.outdated, found.refused) == (0, [])
    assert found.code in example.codes
    assert "Traceback" not in found.errors
    return found.stop_s


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_short(example: Example) -> None:
    # Proves W4.
    assert example.lines <= MOST_LINES
