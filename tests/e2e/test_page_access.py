"""Who is let in, in a real browser: the form for the token, its cookie, and pages of other sites. Rule W5."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_process import free_port, served
from tests.e2e.gateway_site import Site
from tests.e2e.moody_proxy import MoodyProxy
from tests.waiting import PROCESS_S, until

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


PREFIX = "/hermes"
ATTACK = """async (target) => {
  const tried = {};
  const note = async (name, act) => { try { tried[name] = await act(); } catch { tried[name] = "failed"; } };
  const element = (name, fields) => new Promise((done) => {
    const made = Object.assign(document.createElement(name), fields);
    made.onload = () => done("loaded");
    made.onerror = () => done("failed");
    document.body.append(made);
  });
  const list = target + "api/sessions?source_filter=";
  await note("read", async () => (await fetch(list + "a")).status);
  await note("credentials", async () => (await fetch(list + "b", { credentials: "include" })).status);
  await note("blind", async () => (await fetch(list + "c", { mode: "no-cors", credentials: "include" })).type);
  await note("script", () => element("script", { src: list + "d" }));
  await note("image", () => element("img", { src: list + "e" }));
  await note("style", () => element("link", { rel: "stylesheet", href: target + "page/style.css" }));
  await note("write", async () => (await fetch(target + "sign-in", { method: "POST", mode: "no-cors" })).type);
  await note("events", () => new Promise((done) => {
    const stream = new EventSource(target + "api/sessions/events");
    stream.onopen = () => done("opened");
    stream.onerror = () => { stream.close(); done("failed"); };
  }));
  return tried;
}"""

FRAME = """(target) => new Promise((done) => {
  document.body.append(Object.assign(document.createElement("iframe"), { src: target, onload: done }));
})"""


@pytest.fixture
def foreign() -> Iterator[str]:
    """The address of a page of another site, with a link to what stands behind `?`."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target = urlsplit(self.path).query
            body = f'<!doctype html><title>x</title><link rel="icon" href="data:,"><a href="{target}">link</a>'
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with running(Stranger) as origin:
        yield origin.replace("127.0.0.1", "localhost") + "/"


class Proxy(BaseHTTPRequestHandler):
    """Passes requests below a prefix on to `target`, and takes the prefix away if `strips`."""

    target = ""
    strips = True

    def do_GET(self) -> None:
        where = urlsplit(self.target)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=PROCESS_S)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {**self.headers, "X-Forwarded-For": "203.0.113.9", "Connection": "close"}
        if "/api/sessions/follow" in self.path:
            # It would have to send what comes as it comes; the page polls without.
            self.send_error(503)
            return
        connection.request(self.command, self._passed_on(), body, headers)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in {"Connection", "Date", "Server"}:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        connection.close()

    def _passed_on(self) -> str:
        return self.path.replace(f"{PREFIX}/", "/", 1) if self.strips else self.path

    do_POST = do_GET  # noqa: N815 -- the name that the parent class looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port; gives the origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join(5.0)


def errors_of(page: Page) -> list[str]:
    """Collects what a page complains of, from now on."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


def test_the_printed_address_signs_in_without_an_error_and_for_longer_than_the_server_runs(
    home: Path, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Proves W5.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    logs = ("--access-log", "--log-level", "debug")
    arguments = ("--home", str(home), "--host", "0.0.0.0", *logs)  # noqa: S104 -- a token guards it
    errors = errors_of(page)

    # The second gateway has the port of the first, which no other program is given meanwhile.
    with served(*arguments, "--port", str(free_port())) as (process, address):
        page.goto(address)
        expect(page.locator(".row").first).to_be_visible()
        shown = page.url
        cookies = [each["value"] for each in page.context.cookies()]
        process.terminate()
        _, log = process.communicate(timeout=PROCESS_S)
    first_errors = list(errors)
    url, _, token = address.partition("#")
    page.goto("about:blank")
    with served(*arguments, "--port", str(urlsplit(url).port)) as (_, again):
        page.goto(url)
        expect(page.locator(".row").first).to_be_visible()

    assert len(token) >= 16
    assert (shown, again) == (url, address)
    assert first_errors == []
    assert (tmp_path / "state" / "hermes_cache" / "token").read_text().strip() == token
    assert "/sign-in" in log
    assert len(cookies) == 1
    assert not [secret for secret in (token, *cookies) if secret in log]
    assert page.evaluate("document.cookie") == ""


def test_the_form_is_filled_in_with_the_keyboard_and_says_what_is_wrong(
    serve: Callable[..., Site], page: Page
) -> None:
    # Proves W5.
    site = serve(GatewaySettings(token=TOKEN))
    errors = errors_of(page)
    page.goto(f"{site.server.url}?all_profiles=1")
    field = page.get_by_label("Token of this gateway")
    expect(field).to_be_focused()
    assert errors == []
    expect(page.locator("#hint")).to_contain_text("with which hermes-cache serve was started")

    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    expect(field).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")

    expect(page.locator(".row").first).to_be_visible()
    assert page.url == f"{site.server.url}?all_profiles=1"


def test_the_form_stays_at_its_origin_whatever_its_path(serve: Callable[..., Site], page: Page) -> None:
    # Proves W5: the gateway refuses such a path, but the script does not rely on that.
    site = serve(GatewaySettings(token=TOKEN))
    form = site.get("/a/b/c", Accept="text/html").body
    opened: list[str] = []

    def show(route: Route) -> None:
        opened.append(route.request.url)
        route.fulfill(body=form, content_type="text/html")

    page.route(re.compile("evil[.]example/$"), show)
    target = f"{site.server.url}/evil.example/"
    page.goto(target)
    page.get_by_label("Token of this gateway").fill(TOKEN)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()

    assert opened[:2] == [target, target]


def test_the_form_works_without_a_script(serve: Callable[..., Site], page: Page) -> None:
    # Proves W5.
    site = serve(GatewaySettings(token=TOKEN))
    assert page.context.browser
    plain = page.context.browser.new_context(java_script_enabled=False).new_page()
    plain.set_default_timeout(PROCESS_S * 1_000)
    plain.goto(f"{site.server.url}api/sessions")

    plain.get_by_label("Token of this gateway").fill("wrong")
    plain.get_by_role("button", name="Sign in").click()
    expect(plain.get_by_role("alert")).to_contain_text("not the token")
    plain.get_by_label("Token of this gateway").fill(TOKEN)
    plain.get_by_role("button", name="Sign in").click()

    expect(plain.get_by_role("heading", name="Sessions")).to_be_visible()
    assert plain.url == site.server.url


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_foreign_page_neither_reads_nor_writes_nor_evicts(
    serve: Callable[..., Site], page: Page, foreign: str, token: str | None
) -> None:
    # Proves W5: also if the browser has a cookie, and if the page differs by its port alone.
    site = serve(GatewaySettings(token=token))
    page.goto(f"{site.server.url}#{token or ''}")
    expect(page.locator(".row").first).to_be_visible()
    # The page's own requests are over once its stream is.
    expect(page.locator("#status")).to_have_attribute("data-state", "live")
    until(lambda: site.cache.stats().followers == 1)
    page.goto("about:blank")
    until(lambda: site.cache.stats().followers == 0)
    before = site.cache.stats()

    for stranger in (foreign, foreign.replace("localhost", "127.0.0.1")):
        page.goto(stranger)
        tried = page.evaluate(ATTACK, site.server.url)
        assert tried == dict.fromkeys(tried, "failed")
        assert len(tried) == 8
        page.evaluate(FRAME, site.server.url)
        assert all("Sessions" not in frame.title() for frame in page.frames)

    after = site.cache.stats()
    assert (after.builds, after.entries, after.outcomes) == (before.builds, before.entries, before.outcomes)


def test_a_link_of_a_foreign_page_opens_the_page_of_one_who_is_signed_in(
    serve: Callable[..., Site], page: Page, foreign: str
) -> None:
    # Proves W5: the browser sends no cookie after such a link, so the form looks whether there is one.
    site = serve(GatewaySettings(token=TOKEN))
    page.goto(f"{site.server.url}#{TOKEN}")
    expect(page.locator(".row").first).to_be_visible()

    page.goto(f"{foreign}?{site.server.url}")
    page.get_by_text("link").click()

    expect(page.locator(".row").first).to_be_visible()
    expect(page).to_have_url(re.compile("^" + re.escape(site.server.url) + "$"))


def test_past_the_bound_of_streams_the_page_polls_until_there_is_a_seat(
    serve: Callable[..., Site], page: Page
) -> None:
    # Proves W5.
    site = serve(GatewaySettings(max_streams=1))
    taken = site.connect()
    taken.request("GET", "/api/sessions/events")
    taken.getresponse()
    page.goto(site.server.url)
    expect(page.locator("#status")).to_have_attribute("data-state", "polling")
    expect(page.locator(".row").first).to_be_visible()

    taken.close()

    expect(page.locator("#status")).to_have_attribute("data-state", "live")


def test_behind_a_tunnel_at_another_port_the_page_lists_and_its_buttons_say_what_is_missing(
    site: Site, proxy: MoodyProxy, page: Page
) -> None:
    # Proves W5: such as `ssh -L 9000:127.0.0.1:8787`, without `--origin`.
    proxy.target = urlsplit(site.server.url).port or 0
    page.goto(proxy.url)
    expect(page.locator(".row").first).to_be_visible()
    expect(page.locator("#status")).to_have_attribute("data-state", "live")

    page.get_by_role("button", name="Outdate the list").click()

    expect(page.locator("#actions .said")).to_contain_text(f"--origin {proxy.url.rstrip('/')}")


@pytest.mark.parametrize("strips", [True, False])
def test_behind_a_proxy_with_a_prefix_the_page_signs_in_and_lists(
    serve: Callable[..., Site], page: Page, *, strips: bool
) -> None:
    # Proves W5.
    class PrefixProxy(Proxy):
        """A class of this test's own, as handlers are made for each request."""

    PrefixProxy.strips = strips
    with running(PrefixProxy) as origin:
        site = serve(GatewaySettings(token=TOKEN, origins=(origin,), root_path=PREFIX))
        PrefixProxy.target = site.server.url

        page.goto(f"{origin}{PREFIX}#{TOKEN}")
        expect(page.locator(".row").first).to_be_visible()
        (cookie,) = page.context.cookies()

        assert page.url == f"{origin}{PREFIX}/"
        assert cookie["path"] == f"{PREFIX}/"
