"""The page for everybody: no finding of axe, a silent console, light and dark, a phone, less motion. Rule W2."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from hermes_cache import SessionListKey
from tests.e2e.page_site import PageSite, row
from tests.waiting import PROCESS_S

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def site(page_site: Callable[..., PageSite]) -> PageSite:
    rows = [row(number) for number in range(300)]
    rows[2] |= {"pinned": True}
    rows[3] |= {"archived": True, "profile": "work", "project_id": "0123456789ab"}
    rows[5] |= {"display_title": "Hebrew שלום and Arabic مرحبا"}
    return page_site(rows)


@pytest.fixture
def console(page: Page) -> Iterator[list[str]]:
    """Everything that is written to the console of the page."""
    written: list[str] = []
    page.on("pageerror", lambda error: written.append(str(error)))
    page.on("console", lambda message: written.append(message.text))
    yield written
    assert written == []


def opened(page: Page, site: PageSite) -> None:
    page.goto(site.server.url)
    expect(page.locator(".row").first).to_be_attached()
    expect(page.locator("#status")).to_have_attribute("data-state", "live")


def busy(page: Page, site: PageSite) -> None:
    """Have everything shown that the page can show."""
    site.cache.bus.stream_started.send("test", stream_id="turn", profile="default", session_id="session-00007")
    site.cache.bus.settings_changed.send("test")
    expect(page.locator("#events")).to_contain_text("settings changed")
    expect(page.locator("#entries button").first).to_be_attached()


def findings(page: Page) -> list[str]:
    """Return what axe finds, without what moves under it."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 20, "axe looked at nothing"
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(browser: Browser, site: PageSite, scheme: str, size: dict[str, int]) -> None:
    with browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce") as context:  # type: ignore[arg-type] # literals
        context.set_default_timeout(PROCESS_S * 1_000)
        page = context.new_page()
        opened(page, site)
        found = findings(page)
        page.locator(".row").nth(1).click()
        busy(page, site)
        found += findings(page)

    assert found == []


def test_the_console_is_silent(site: PageSite, page: Page, console: list[str]) -> None:
    opened(page, site)
    busy(page, site)
    page.locator(".row").nth(1).click()
    page.get_by_role("button", name="Outdate the list").click()
    page.locator("#entries button").first.click()
    expect(page.locator("#story")).to_contain_text("Built by build")
    page.get_by_role("searchbox").fill("Session 12")
    expect(page.locator("#count")).to_contain_text("found in")

    assert console == []


def test_a_phone_shows_one_pane_at_a_time_and_nothing_wider_than_itself(browser: Browser, site: PageSite) -> None:
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:  # type: ignore[arg-type] # a size
        context.set_default_timeout(PROCESS_S * 1_000)
        page = context.new_page()
        opened(page, site)
        busy_pane = page.get_by_role("region", name="What the cache does")
        list_pane = page.get_by_role("listbox", name="Sessions")
        expect(busy_pane).to_be_hidden()
        widths = [page.evaluate("document.documentElement.scrollWidth")]

        page.locator(".row").nth(1).tap()
        expect(busy_pane).to_be_visible()
        expect(list_pane).to_be_hidden()
        expect(page.locator("#story")).to_be_in_viewport()
        widths.append(page.evaluate("document.documentElement.scrollWidth"))
        page.get_by_role("button", name="Sessions").tap()
        expect(list_pane).to_be_visible()

        assert max(widths) <= PHONE["width"]
        assert page.locator(".row").nth(1).bounding_box()["height"] >= 44  # type: ignore[index] # it is in sight


TIMELINE = """async ({ builds, width }) => {
  const { Timeline } = await import("/page/timeline.js");
  document.body.innerHTML = `<div id="box" class="timeline" style="width: ${width}px"></div>`;
  const now = Date.now() / 1000;
  const same = { key: "all profiles", took_s: 0.4, outcome: "stored" };
  const begun = builds.map((build) => ({ ...same, ...build, began_at_s: now - build.ago }));
  const known = { at_s: now, clockOffset: 0, builds: begun, events: [], entries: [], streams: [] };
  new Timeline(document.getElementById("box"), () => {}).show(known);
  return [...document.querySelectorAll(".readers")].map((text) => [text.textContent, text.getBoundingClientRect()])
    .map(([words, { left, right }]) => ({ words, left, right })).sort((one, other) => one.left - other.left);
}"""


@pytest.mark.parametrize("width", [340, 720])
def test_labels_of_the_time_line_stand_apart(site: PageSite, page: Page, width: int) -> None:
    opened(page, site)
    builds = [{"ago": number, "waited": 12, "sent_on": number % 3} for number in range(1, 55)]

    labels = page.evaluate(TIMELINE, {"builds": builds, "width": width})

    assert len(labels) > 1
    assert all(one["right"] + 3 < other["left"] for one, other in pairwise(labels))
    assert {each["words"] for each in labels} <= {"12 waited", "11 got it, 1 waits on", "10 got it, 2 wait on"}


def test_two_views_of_one_profile_have_different_names(site: PageSite, page: Page) -> None:
    for visible_only in (True, False):
        site.cache.get(SessionListKey(visible_only=visible_only))
    opened(page, site)

    names = page.locator("#entries b")

    expect(names).to_have_count(3)
    expected = ["all profiles", "profile default", "profile default, visible_only"]
    assert sorted(names.all_text_contents()) == expected


def test_light_and_dark_follow_the_system(site: PageSite, page: Page) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        opened(page, site)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert grounds == ["rgb(246, 247, 249)", "rgb(15, 16, 19)"]


def test_nothing_moves_by_itself_for_those_who_want_less_motion(site: PageSite, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    opened(page, site)
    busy(page, site)
    expect(page.locator(".row.running")).to_be_visible()

    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate("document.getAnimations({ subtree: true }).length") > 0
