"""The list of the page, in a real browser: every row reachable, search, keyboard, screen reader. Rule W2."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.page_site import PageSite, row
from tests.waiting import until

MOST_ELEMENTS = 200
NOTE_WHAT_IS_READ_OUT = """() => {
  const story = document.getElementById("story");
  globalThis.read = [];
  new MutationObserver(() => globalThis.read.push(story.ariaLive)).observe(story, { childList: true });
}"""
COUNT_ELEMENTS = "document.querySelectorAll('.canvas > *').length"


def opened(page: Page, site: PageSite, query: str = "") -> Locator:
    """Open the page, and return its list."""
    page.goto(site.server.url + query)
    expect(page.locator(".row").first).to_be_visible()
    return page.get_by_role("listbox", name="Sessions")


def shown(page: Page) -> list[str]:
    """Return the titles in sight, from the top."""
    script = """() => [...document.querySelectorAll(".row:not([hidden])")]
        .map((row) => [row.getBoundingClientRect(), row.querySelector(".title").textContent])
        .filter(([box]) => box.bottom > document.querySelector(".list").getBoundingClientRect().top
            && box.top < document.querySelector(".list").getBoundingClientRect().bottom - 1)
        .sort((one, other) => one[0].top - other[0].top).map(([, title]) => title)"""
    found = page.evaluate(script)
    assert isinstance(found, list)
    return found


def shows(page: Page, titles: list[str]) -> None:
    """Wait until exactly these titles are in sight."""
    until(lambda: shown(page) == titles, f"never in sight: {titles}")


def test_each_of_fifty_five_thousand_rows_is_reached_with_few_elements(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    site = page_site([row(number) for number in range(55_000)])
    sessions = opened(page, site)
    expect(page.locator("#count")).to_have_text("55,000 sessions")

    sessions.focus()
    page.keyboard.press("End")
    last = page.get_by_role("option", name="Session 54999,")
    expect(last).to_have_attribute("aria-posinset", "55000")
    expect(last).to_have_attribute("aria-setsize", "55000")
    expect(last).to_be_in_viewport()
    counts = [page.evaluate(COUNT_ELEMENTS)]
    page.keyboard.press("Home")
    expect(page.get_by_role("option", name="Session 0,")).to_be_in_viewport()
    for part in (0.2, 0.5, 0.7):
        page.evaluate("(part) => { const list = document.querySelector('.list');"
                      " list.scrollTop = list.scrollHeight * part; }", part)  # fmt: skip
        expect(
            page.get_by_role("option", name=re.compile(f"Session {int(550 * part)}\\d\\d,")).first
        ).to_be_in_viewport()
        counts.append(page.evaluate(COUNT_ELEMENTS))

    assert max(counts) <= MOST_ELEMENTS


def test_search_finds_as_one_types_and_is_in_the_address(page_site: Callable[..., PageSite], page: Page) -> None:
    rows = [row(number) for number in range(3_000)]
    rows[1_234]["display_title"] = "The flaky Suite of Lisbon"
    site = page_site(rows)
    opened(page, site)

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("lisbon FLAKY")
    expect(page.locator("#count")).to_contain_text("1 session · found in")
    shows(page, ["The flaky Suite of Lisbon"])
    expect(page).to_have_url(re.compile("[?]q=lisbon[+]FLAKY$"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("listbox", name="Sessions")).to_be_focused()
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#count")).to_have_text("3,000 sessions")
    page.keyboard.type("no such thing")
    expect(page.locator("#empty")).to_contain_text("no such thing")

    opened(page, site, "?q=lisbon")
    shows(page, ["The flaky Suite of Lisbon"])


def test_what_is_selected_and_what_is_read_keep_their_places_when_rows_come_and_move(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    site = page_site([row(number) for number in range(1_000)])
    opened(page, site)
    page.evaluate("document.querySelector('.list').scrollTop = 9000")
    expect(page.get_by_role("option", name="Session 300,")).to_be_in_viewport()
    page.get_by_role("option", name="Session 302,").click()
    before = shown(page)

    newer = [row(-number, title=f"New {number}", display_title=f"New {number}") for number in range(1, 40)]
    renamed = [
        {**each, "display_title": "Renamed"} if each["session_id"].endswith("00303") else each
        for each in site.rows
    ]
    site.changed([*newer, *renamed])

    expect(page.locator("#count")).to_have_text("1,039 sessions")
    expect(page.get_by_role("option", name="Renamed,")).to_be_in_viewport()
    shows(page, ["Renamed" if title == "Session 303" else title for title in before])
    expect(page.locator("[aria-selected=true]")).to_have_attribute("aria-label", re.compile("^Session 302,"))
    expect(page).to_have_url(re.compile("session=session-00302"))
    page.evaluate("document.querySelector('.list').scrollTop = 0")
    expect(page.get_by_role("option", name="New 39,")).to_be_in_viewport()


def test_rows_are_filtered_by_profile_source_project_and_shelf(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    rows = [
        row(0),
        row(1, profile="work", project_id="0123456789ab"),
        row(2, pinned=True),
        row(3, archived=True),
        row(4, archived=True, profile="work"),
    ]
    site = page_site(rows)
    opened(page, site)
    shows(page, ["Session 2", "Session 0", "Session 1"])

    page.get_by_label("Profile").select_option("work")
    expect(page.locator("#count")).to_have_text("1 session")
    shows(page, ["Session 1"])
    page.get_by_role("button", name="Archived").click()
    expect(page.locator(".row:visible")).to_have_count(1)
    shows(page, ["Session 4"])
    expect(page).to_have_url(re.compile("[?]profile=work&shelf=archived$"))
    page.go_back()
    expect(page.get_by_role("option", name="Session 1,")).to_be_visible()
    page.get_by_label("Profile").select_option("")
    page.get_by_label("Source", exact=True).select_option("Cron")
    expect(page.get_by_role("option", name="Session 1,")).to_be_visible()
    expect(page.locator("#count")).to_have_text("1 session")
    page.get_by_label("Source", exact=True).select_option("")
    page.get_by_label("Project").select_option("0123456789ab")
    expect(page.locator("#count")).to_have_text("1 session")
    page.get_by_label("Project").select_option("")
    page.get_by_role("button", name="Pinned").click()
    expect(page.locator("#count")).to_have_text("1 session")
    shows(page, ["Session 2"])


def test_running_turns_stand_on_top_and_dates_are_groups(page_site: Callable[..., PageSite], page: Page) -> None:
    site = page_site([row(number) for number in range(400)])
    opened(page, site)
    expect(page.locator(".heading").first).to_contain_text(re.compile("^(Today|Yesterday)"))

    site.cache.bus.stream_started.send("test", stream_id="turn", profile="default", session_id="session-00007")

    running = page.get_by_role("option", name="Session 7, running,")
    expect(running).to_have_attribute("aria-posinset", "1")
    expect(page.locator(".heading").first).to_have_text("Running1")
    expect(page).to_have_title("(1) Sessions")
    site.cache.bus.stream_stopped.send("test", stream_id="turn")
    expect(page).to_have_title("Sessions")
    expect(running).to_have_count(0)


def test_the_keyboard_and_a_screen_reader_reach_every_row_and_its_explanation(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    site = page_site([row(number) for number in range(500)])
    sessions = opened(page, site)
    sessions.focus()

    seen = []
    for key in ("ArrowDown", "j", "PageDown", "ArrowUp", "k"):
        page.keyboard.press(key)
        active = sessions.get_attribute("aria-activedescendant")
        assert active, key
        option = page.locator(f"#{active}")
        expect(option).to_have_attribute("aria-selected", "true")
        expect(option).to_be_in_viewport()
        seen.append(int(option.get_attribute("aria-posinset") or 0))

    assert seen[:2] == [1, 2]
    assert seen[2] > 12
    assert seen[3:] == [seen[2] - 1, seen[2] - 2]
    explained = page.get_by_role("region", name=f"Session {seen[-1] - 1}")
    expect(explained).to_contain_text(f"session-{seen[-1] - 1:05d}")
    page.keyboard.press("Enter")
    expect(explained).to_be_focused()
    page.keyboard.press("Escape")
    expect(explained).to_be_hidden()
    expect(sessions).to_be_focused()


def test_a_screen_reader_hears_when_a_session_was_what_a_search_found_and_no_explanation_twice(
    page_site: Callable[..., PageSite], page: Page
) -> None:
    site = page_site([row(number, message_count=1) for number in range(20)])
    opened(page, site)
    expect(
        page.get_by_role("option", name=re.compile("^Session 3, CLI, 1 message, .*20[0-9][0-9]"))
    ).to_be_visible()

    page.get_by_role("searchbox").fill("Session 12")
    expect(page.locator("#found")).to_have_text("1 session found")
    page.evaluate(NOTE_WHAT_IS_READ_OUT)
    page.get_by_role("option", name="Session 12,").click()
    site.rows[12]["message_count"] = 2
    site.changed()
    expect(page.locator("#story")).to_contain_text("2 messages")

    first, *others = page.evaluate("globalThis.read")
    assert first == "polite"
    assert set(others) == {"off"}


@pytest.mark.parametrize("mark", ["\u202e", "\u2067", "שלום "])
def test_a_title_that_runs_the_other_way_moves_nothing_beside_it(
    page_site: Callable[..., PageSite], page: Page, mark: str
) -> None:
    site = page_site([row(0), row(1, display_title=f"{mark}evil (99 messages", source_label="CLI")])
    opened(page, site)

    boxes = [
        [page.locator(".row").nth(each).locator(part).bounding_box() for part in (".source", ".messages", "time")]
        for each in range(2)
    ]
    lefts = [[box["x"] + box["width"] for box in each if box] for each in boxes]
    assert lefts[0] == lefts[1]
    assert page.locator(".row bdi.title").count() == 2
    assert page.locator(".row").nth(1).locator(".messages").text_content() == "1"


def test_a_title_that_looks_like_markup_is_text(page_site: Callable[..., PageSite], page: Page) -> None:
    title = "<img src=x onerror=alert(1)> &amp; <b>bold</b>"
    site = page_site([row(0, display_title=title)])
    opened(page, site).focus()

    page.keyboard.press("ArrowDown")

    expect(page.locator("#story h2")).to_have_text(title)
    shows(page, [title])
