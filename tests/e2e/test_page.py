"""The page in a real browser. Rules W1, L1."""

import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import rename_session


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=30, seed=5)


@pytest.fixture
def server(sample: SampleHome) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "hermes_cache.cli", "serve", "--port", "0", "--home", str(sample.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        yield process
        process.terminate()


def test_the_page_lists_sessions_and_shows_a_rename_by_another_writer(
    server: "subprocess.Popen[str]", sample: SampleHome, page: Page
) -> None:
    # Proves W1, W5, E9.
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(_address(server))
    expect(page.locator(".row").first).to_be_visible(timeout=30_000)
    # Not one of the front end's own: there its index has the last word on titles.
    session = next(each for each in reversed(sample.sessions) if each.source == "cli" and each.title)
    expect(page.get_by_text(str(session.title))).to_be_visible()

    rename_session(sample.path, session.id, "Renamed by somebody else")

    expect(page.get_by_text("Renamed by somebody else")).to_be_visible(timeout=20_000)
    assert said == []


def test_the_server_ends_within_5_s_with_a_browser_connected(server: "subprocess.Popen[str]", page: Page) -> None:
    # Proves L1.
    page.goto(_address(server))
    expect(page.locator(".row").first).to_be_visible(timeout=30_000)

    server.send_signal(signal.SIGINT)

    assert server.wait(5) == 0


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], 40)
    found = re.search(r"http://\S+", process.stdout.readline() if ready else "")
    assert found, "the server told no address"
    return found[0]
