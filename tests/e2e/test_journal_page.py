"""The page on journals, taken at its word: its commands are run, and its snippets."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import hermes_cache
from hermes_cache import Bus, ListCache
from hermes_cache.samples.home import make_sample_home
from hermes_cache.testing import GatedBuilder
from tests.e2e.event_client import Client
from tests.e2e.gateway_process import served
from tests.waiting import PROCESS_S

PAGE = (Path(__file__).parents[2] / "docs" / "journal.md").read_text()
JOURNAL = "sqlite:///journal.db"


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def lines_of(language: str) -> list[str]:
    return [line for block in blocks_of(language) for line in block.splitlines()]


def test_its_commands_run_one_after_the_other_beside_a_gateway(tmp_path: Path) -> None:
    # Proves W3, J3: as they stand, but for the path of the journal.
    home, journal = tmp_path / "home", f"sqlite:///{tmp_path / 'journal.db'}"
    make_sample_home(home, sessions=20, seed=1)
    serve, *others = [shlex.split(line.replace(JOURNAL, journal))[1:] for line in lines_of("sh")]
    assert serve[0] == "serve"

    with served(*serve[1:], "--home", str(home)) as (_, url), Client(url) as client:
        client.next()
        for arguments in others:
            subprocess.run(  # noqa: S603 -- ours
                [sys.executable, "-m", "hermes_cache.cli", *arguments],
                check=True,
                capture_output=True,
                timeout=PROCESS_S,
            )
        heard = client.next()

    assert len(others) >= 5
    assert heard is not None
    assert heard.fields["reason"] == "nightly_import"


@pytest.mark.parametrize("block", blocks_of("python"))
def test_its_snippets_make_caches_and_buses_with_a_journal(block: str, tmp_path: Path) -> None:
    # Proves J1, K5, E10: as they stand, but for the path of the journal.
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    builders = dict.fromkeys(("builder", "build_orders", "build_bills"), GatedBuilder())
    names: dict[str, object] = {"url": url, **builders}
    for name in hermes_cache.__all__:
        names[name] = getattr(hermes_cache, name)

    exec(block.replace("sqlite:////var/lib/gateway/journal.db", url), names)  # noqa: S102 -- ours

    made = [each for each in names.values() if isinstance(each, ListCache)]
    assert made or isinstance(names.get("bus"), Bus)
    for cache in made:
        cache.stop()
