"""The page on journals, taken at its word: its commands are run, and its snippet."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cache import SessionListCache
from hermes_cache.samples.home import make_sample_home
from hermes_cache.testing import GatedBuilder
from tests.e2e.event_client import Client
from tests.e2e.gateway_process import served

PAGE = (Path(__file__).parents[2] / "docs" / "journal.md").read_text()
JOURNAL = "sqlite:///journal.db"


def lines_of(language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_its_commands_run_one_after_the_other_beside_a_gateway(tmp_path: Path) -> None:
    # Proves W3, J3: as they stand, but for the place of the journal.
    home, journal = tmp_path / "home", f"sqlite:///{tmp_path / 'journal.db'}"
    make_sample_home(home, sessions=20, seed=1)
    serve, *others = [shlex.split(line.replace(JOURNAL, journal))[1:] for line in lines_of("sh")]
    assert serve[0] == "serve"

    with served(*serve[1:], "--home", str(home)) as (_, url), Client(url) as client:
        client.next()
        for arguments in others:
            subprocess.run(  # noqa: S603 -- ours
                [sys.executable, "-m", "hermes_cache.cli", *arguments], check=True, capture_output=True, timeout=30
            )
        heard = client.next()

    assert len(others) >= 5
    assert heard is not None
    assert heard.fields["reason"] == "nightly_import"


@pytest.mark.parametrize("line", lines_of("python"))
def test_its_snippet_makes_a_cache_with_a_journal(line: str) -> None:
    # Proves J1: nothing is made or connected to before it is started.
    names: dict[str, object] = {"SessionListCache": SessionListCache, "builder": GatedBuilder()}

    exec(line, names)  # noqa: S102 -- ours

    made = names["cache"]
    assert isinstance(made, SessionListCache)
    made.stop()
