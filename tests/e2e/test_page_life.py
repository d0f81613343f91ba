"""The page comes back by itself, and all tabs share one stream. Rules W2, R13, D4."""

import re
import time
from collections.abc import Callable
from threading import Event

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.moody_proxy import MoodyProxy
from tests.e2e.page_site import PageSite, row
from tests.waiting import WAIT_S, at_its_best, until

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def site(page_site: Callable[..., PageSite], proxy: MoodyProxy) -> PageSite:
    site = page_site([row(number) for number in range(50)], origins=(proxy.url.rstrip("/"),))
    proxy.target = site.port
    return site


def state(page: Page, expected: str) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", expected)


def opened(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator(".row").first).to_be_visible()
    state(page, "live")


def renamed(site: PageSite, title: str) -> None:
    site.rows[3]["display_title"] = title
    site.changed()


def followers(site: PageSite, expected: int) -> None:
    """Wait until so many views are followed."""
    until(lambda: site.cache.stats().followers == expected, f"never {expected} followers")


def test_a_rename_and_a_turn_are_seen_without_a_request_for_the_list(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    # Seen once the readers that waited for the first build are counted.
    renamed(site, "The first change")
    expect(page.get_by_role("option", name="The first change,")).to_be_visible()
    reads = site.cache.stats().outcomes

    renamed(site, "A new name")
    expect(page.get_by_role("option", name="A new name,")).to_be_visible()
    site.cache.bus.stream_started.send("test", stream_id="t", profile="default", session_id="session-00003")
    expect(page.get_by_role("option", name="A new name, running,")).to_be_visible()

    assert site.cache.stats().outcomes == reads


def test_after_a_restart_the_page_shows_what_happened_meanwhile(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)

    site.stop()
    state(page, "offline")
    expect(page.locator("#status-text")).to_contain_text("Offline: the gateway does not answer. Last heard")
    expect(page.locator(".row").first).to_be_visible()
    site.rows[3]["display_title"] = "Renamed while it was away"
    site.start()

    state(page, "live")
    expect(page.get_by_role("option", name="Renamed while it was away,")).to_be_visible()


@pytest.mark.parametrize("status", [502, 503])
def test_after_an_error_of_a_proxy_the_page_is_live_again(
    site: PageSite, proxy: MoodyProxy, page: Page, status: int
) -> None:
    opened(page, proxy.url)
    expect(page.locator("#entries button").first).to_be_visible()

    proxy.turn(status)
    state(page, "offline")
    expect(page.locator("#status-text")).to_contain_text(f"status {status}")
    page.locator("#entries button").first.click()
    expect(page.locator("#story")).to_contain_text("The gateway does not answer.")
    proxy.turn(None)
    state(page, "live")

    renamed(site, "After the error")
    expect(page.get_by_role("option", name="After the error,")).to_be_visible()


def test_a_page_without_a_seat_polls_and_shows_what_changed(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    site = page_site([row(number) for number in range(50)], max_streams=0)
    page.goto(site.server.url)
    expect(page.locator(".row").first).to_be_visible()
    state(page, "polling")
    expect(page.locator("#status-text")).to_contain_text("Polling every 5 s: 0 event streams are open")

    renamed(site, "Found by a poll")

    expect(page.get_by_role("option", name="Found by a poll,")).to_be_visible()


def test_two_tabs_share_one_stream_which_ends_when_both_are_hidden_or_closed(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    other = page.context.new_page()
    opened(other, f"{site.server.url}?source=Cron")
    followers(site, 1)

    renamed(site, "Seen by the first")
    expect(page.get_by_role("option", name="Seen by the first,")).to_be_visible()
    page.evaluate(HIDE, True)  # noqa: FBT003 -- the argument of a script
    Event().wait(1.2)
    followers(site, 1)
    site.rows[4]["display_title"] = "Seen by the other"
    site.changed()
    expect(other.get_by_role("option", name="Seen by the other,")).to_be_visible()
    other.evaluate(HIDE, True)  # noqa: FBT003
    followers(site, 0)
    page.evaluate(HIDE, False)  # noqa: FBT003
    followers(site, 1)
    expect(page.get_by_role("option", name="Seen by the other,")).to_be_visible()
    other.close()
    page.close()
    followers(site, 0)


@at_its_best(under_s=1.0)
def test_a_tab_that_is_looked_at_again_follows_within_a_second(site: PageSite, page: Page) -> float:
    opened(page, site.server.url)
    page.evaluate(HIDE, True)  # noqa: FBT003
    followers(site, 0)

    began_s = time.monotonic()
    page.evaluate(HIDE, False)  # noqa: FBT003
    followers(site, 1)
    return time.monotonic() - began_s


def test_a_visible_tab_goes_on_when_the_one_that_came_first_is_closed(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    other = page.context.new_page()
    opened(other, site.server.url)

    # The readers that waited for the first build are counted by then.
    renamed(site, "Before the first tab is closed")
    expect(other.get_by_role("option", name="Before the first tab is closed,")).to_be_visible()
    reads = site.cache.stats().outcomes

    page.close()
    renamed(site, "After the first tab")

    expect(other.get_by_role("option", name="After the first tab,")).to_be_visible()
    assert site.cache.stats().outcomes == reads, "the tab asked for the list"


def test_after_a_sleep_of_the_machine_the_page_asks_anew_though_its_connection_seems_to_live(
    site: PageSite, proxy: MoodyProxy, page: Page
) -> None:
    page.add_init_script("delete globalThis.SharedWorker")  # the clock of a page's own worker can be moved
    opened(page, proxy.url)
    proxy.lose_streams()
    renamed(site, "Renamed in the sleep")
    page.wait_for_timeout(500)
    expect(page.get_by_role("option", name="Renamed in the sleep,")).to_have_count(0)

    page.workers[0].evaluate("() => { const now = Date.now; Date.now = () => now() + 3_600_000; }")

    expect(page.get_by_role("option", name="Renamed in the sleep,")).to_be_visible()
    state(page, "live")
    expect(page.locator("#events")).to_contain_text("test · default")


@pytest.mark.parametrize("part", ["row.js", "worker.js"])
def test_a_page_of_which_a_part_did_not_come_says_so_and_comes_back_once_the_gateway_answers(
    site: PageSite, page: Page, part: str
) -> None:
    page.add_init_script("delete globalThis.SharedWorker")  # a page's own worker can be refused here
    refused = re.compile(part)
    asked: list[str] = []

    def refuse(route: Route) -> None:
        if refused.search(route.request.url):
            asked.append(route.request.url)
            route.fulfill(status=502, body="Not now")
        else:
            route.fallback()

    page.route("**/*", refuse)
    page.goto(site.server.url)
    state(page, "offline")
    expect(page.locator("#status-text")).to_contain_text("a part of the page could not be loaded")

    refused = re.compile(".")
    asked.clear()
    while len(asked) < 2:
        page.wait_for_timeout(100)
    expect(page.locator("#status")).to_be_visible()
    refused = re.compile("nothing is refused any more")

    state(page, "live")
    expect(page.locator(".row").first).to_be_visible()


def test_a_browser_without_shared_workers_shows_the_list_too(site: PageSite, page: Page) -> None:
    page.add_init_script("delete globalThis.SharedWorker")
    opened(page, site.server.url)

    renamed(site, "By a worker of its own")

    expect(page.get_by_role("option", name="By a worker of its own,")).to_be_visible()


def test_a_home_that_cannot_be_read_is_reported_and_the_page_stays_live(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    rows, site.rows = site.rows, [{"session_id": {1}, "last_message_at": 0}]

    site.changed()
    expect(page.get_by_role("alert")).to_contain_text("The list may be outdated")
    state(page, "troubled")
    site.changed(rows)

    expect(page.get_by_role("alert")).to_be_hidden()
    state(page, "live")


def test_buttons_publish_what_they_say(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    page.get_by_role("option", name="Session 5,").click()

    page.get_by_role("button", name="Start a turn").click()
    expect(page.get_by_role("option", name="Session 5, running,")).to_be_visible()
    page.get_by_role("button", name="Stop the turn").click()
    expect(page.get_by_role("option", name="Session 5, running,")).to_have_count(0)
    page.get_by_role("button", name="Outdate the list").click()
    page.get_by_role("button", name="Settings changed").click()

    log = page.locator("#events")
    expect(log).to_contain_text("from the page · default")
    expect(log).to_contain_text("settings changed · all profiles")
    expect(log).to_contain_text("stream stopped · page-turn-")


def test_the_page_shows_an_event_overtake_a_build_and_explains_it(site: PageSite, page: Page) -> None:
    opened(page, site.server.url)
    begun, goes_on = Event(), Event()

    def wait() -> None:
        begun.set()
        goes_on.wait(WAIT_S)

    site.before_build = wait
    site.changed()
    assert begun.wait(WAIT_S)
    site.cache.invalidate("default", reason="renamed amid it")
    goes_on.set()

    overtaken = page.locator("#builds .overtaken button")
    expect(overtaken.first).to_contain_text("overtaken")
    expect(page.locator(".timeline .build.overtaken").first).to_be_attached()
    expect(page.locator(".timeline path.overtakes").first).to_be_attached()
    overtaken.first.click()
    expect(page.locator("#story")).to_contain_text(re.compile("an event overtook it: renamed amid it"))
