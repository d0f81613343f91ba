"""What the page costs a browser: `python -m tests.page_figures URL HOME`, beside a gateway that serves HOME.

It prints the time to the first row, the time from a key of a search to the frame that shows what it found, the
time of the main thread for a scrolled frame and for a change, and how many views twenty tabs follow. Times of the
main thread are CPU time from the browser's own trace. The figures stand in docs/benchmarks.md.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.request import urlopen

from playwright.sync_api import BrowserContext, Page, sync_playwright

from hermes_cache.samples.writer import newest_sessions, rename_session
from tests.e2e.conftest import QUIET

FRAMES: Final = 240
SEARCHES: Final = ("l", "li", "lisbon", "nightly", "nightly 3", "nothing has this")
SEARCH: Final = """(words) => new Promise((done) => {
  const [search, count] = ["search", "count"].map((id) => document.getElementById(id));
  const began = performance.now();
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => done(performance.now() - began));
  });
  seen.observe(count, { childList: true, characterData: true, subtree: true });
  search.value = words;
  search.dispatchEvent(new Event("input"));
})"""
SCROLL: Final = """(frames) => new Promise((done) => {
  const list = document.querySelector(".list");
  const step = () => {
    list.scrollTop += 90;
    frames -= 1;
    if (frames) requestAnimationFrame(step); else done();
  };
  requestAnimationFrame(step);
})"""
Events = list[dict[str, Any]]


def main() -> None:
    """Measure, and print."""
    url, home = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        first = []
        for _ in range(3):
            with browser.new_context() as context:
                first.append(first_row(context, url)[1])
        page, _ = first_row(browser.new_context(), url)
        page.wait_for_timeout(1_500)
        searched = [page.evaluate(SEARCH, words) for words in SEARCHES]
        page.evaluate(SEARCH, "")
        scrolled = tasks_ms(traced(page, lambda: page.evaluate(SCROLL, FRAMES)))
        calm = tasks_ms(traced(page, lambda: page.wait_for_timeout(2_500)))
        changed = tasks_ms(traced(page, lambda: change(page, home)))
        pages = [first_row(page.context, url)[0] for _ in range(19)]
        followers = json.load(urlopen(f"{url}api/cache"))["stats"]["followers"]  # noqa: S310 -- our own address
        browser.close()
    say("first row, s", statistics.median(first))
    say("from a key of a search to its frame, ms, median", statistics.median(searched))
    say("main thread a scrolled frame, ms", sum(scrolled) / FRAMES)
    say("longest task while scrolling, ms", max(scrolled))
    say("main thread for a change, ms (what 2.5 s cost without one is taken off)", sum(changed) - sum(calm))
    say(f"views followed by {len(pages) + 1} tabs", followers)


def first_row(context: BrowserContext, url: str) -> tuple[Page, float]:
    """Open the page; return it, and after how many seconds it showed a row."""
    page = context.new_page()
    began_s = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator(".row").first.wait_for(timeout=60_000)
    return page, time.monotonic() - began_s


def change(page: Page, home: str) -> None:
    """Rename a session, and wait for what the page does about it."""
    rename_session(home, newest_sessions(home, 1)[0], f"Measured at {time.time()}")
    page.wait_for_timeout(2_500)


def traced(page: Page, act: Callable[[], object]) -> Events:
    """Return the browser's trace of an act."""
    browser = page.context.browser
    assert browser
    session, events, over = browser.new_browser_cdp_session(), list[dict[str, Any]](), list[object]()
    session.on("Tracing.dataCollected", lambda message: events.extend(message["value"]))
    session.on("Tracing.tracingComplete", lambda message: over.append(message))  # noqa: PLW0108 -- playwright marks its handlers
    categories = ["devtools.timeline", "disabled-by-default-devtools.timeline", "toplevel"]
    config = {"transferMode": "ReportEvents", "traceConfig": {"includedCategories": categories}}
    session.send("Tracing.start", config)
    act()
    session.send("Tracing.end")
    while not over:
        page.wait_for_timeout(50)
    return events


def tasks_ms(events: Events) -> list[float]:
    """Return the CPU time of each task of the busiest main thread of a page."""
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks: dict[tuple[int, int], list[float]] = {}
    for event in events:
        thread = (event["pid"], event["tid"])
        if thread in mains and event["name"].endswith("RunTask") and "tdur" in event:
            tasks.setdefault(thread, []).append(event["tdur"] / 1_000)
    return max(tasks.values(), key=sum)


def say(what: str, figure: float) -> None:
    """Print a figure."""
    sys.stdout.write(f"{what}: {figure:.3g}\n")


if __name__ == "__main__":
    main()
