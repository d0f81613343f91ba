"""Takes the pictures of the page that the README and the pages of docs/ show: `make screenshots`.

They show the demo in a real Chromium, at a moment at which there is something to see.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.gateway_process import served

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
DESK = {"width": 1200, "height": 750}
PHONE = {"width": 390, "height": 780}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
_FILLED_S = 50.0
"""After so long the time line is full."""


def main() -> None:
    """Take all of them."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        with served("--demo", "--sessions", "400") as (process, url), opened(browser, url, "light") as light:
            Event().wait(_FILLED_S)
            take_demo(browser, light, url)
            process.terminate()
            process.wait(20)
            expect(light.locator("#status")).to_have_attribute("data-state", "offline", timeout=20_000)
            take(light, "page-offline")
        browser.close()


def take_demo(browser: Browser, light: Page, url: str) -> None:
    """Take those for which the demo must run."""
    with opened(browser, url, "dark") as dark, opened(browser, url, "light", PHONE) as phone:
        phone.wait_for_timeout(1_000)
        take(phone, "page-phone")
        overtake(light)
        take(light, "page-overtaken")
        light.get_by_role("button", name="Close the explanation").click()
        light.locator("#timeline").scroll_into_view_if_needed()
        take(light, "page-light")
        light.get_by_role("switch").click()
        while not light.locator(".verdict.bad").is_visible():
            light.get_by_role("button", name="Rename during a build").click()
            light.wait_for_timeout(1_500)
        take(light, "page-naive")
        light.get_by_role("switch").click()
        dark.locator(".row").nth(2).click()
        dark.wait_for_timeout(500)
        take(dark, "page-dark")


def overtake(page: Page) -> None:
    """Have a build overtaken, and explained."""
    page.get_by_role("button", name="Rename during a build").click()
    page.wait_for_timeout(2_500)
    page.locator("#builds .overtaken button").first.click()
    expect(page.locator("#story")).to_contain_text("overtook it")


@contextmanager
def opened(browser: Browser, url: str, scheme: str, size: dict[str, int] | None = None) -> Iterator[Page]:
    """Open the page in a browser of its own."""
    with browser.new_context(color_scheme=scheme, viewport=size or DESK) as context:  # type: ignore[arg-type] # literals
        page = context.new_page()
        page.goto(url)
        expect(page.locator(".row").first).to_be_visible(timeout=30_000)
        yield page


def take(page: Page, name: str) -> None:
    """Take a picture of what is in sight."""
    page.mouse.move(0, 0)
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
