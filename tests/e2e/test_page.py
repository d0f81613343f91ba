"""The page in a real browser. Rules W1, L1."""

import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import rename_session
from tests.e2e.gateway_process import served
from tests.waiting import PROCESS_S, at_its_best


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=30, seed=5)


def test_the_page_lists_sessions_and_shows_a_rename_by_another_writer(sample: SampleHome, page: Page) -> None:
    # Proves W1, W5, E9.
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    # Not one of the front end's own: there its index has the last word on titles.
    session = next(each for each in reversed(sample.sessions) if each.source == "cli" and each.title)
    with served("--home", str(sample.path)) as (_, address):
        page.goto(address)
        expect(page.locator(".row").first).to_be_visible()
        expect(page.get_by_text(str(session.title))).to_be_visible()

        rename_session(sample.path, session.id, "Renamed by somebody else")

        expect(page.get_by_text("Renamed by somebody else")).to_be_visible()
        assert said == []


@at_its_best(under_s=5.0)
def test_the_server_ends_within_5_s_with_a_browser_connected(sample: SampleHome, page: Page) -> float:
    # Proves L1.
    with served("--home", str(sample.path)) as (server, address):
        page.goto(address)
        expect(page.locator(".row").first).to_be_visible()

        began_s = time.monotonic()
        server.send_signal(signal.SIGINT)
        code = server.wait(PROCESS_S)
        took_s = time.monotonic() - began_s

    assert code == 0
    return took_s
