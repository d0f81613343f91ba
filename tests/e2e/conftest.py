"""What several of the end-to-end tests begin with: a sample home, and gateways over it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hermes_cache import Bus, HermesHome, Policy, SessionListCache
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.samples.home import make_sample_home
from tests.e2e.gateway_site import Site
from tests.e2e.moody_proxy import MoodyProxy
from tests.e2e.page_site import PageSite, Row
from tests.waiting import PROCESS_S

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]

_PATIENCE_MS = PROCESS_S * 1_000

# What a page shows at last is compared, not how soon a busy machine shows it.
expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, shared by the tests of a file, as it takes seconds to start."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no browser here: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=QUIET, timeout=_PATIENCE_MS) as browser,
    ):
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of a browser that knows nothing of other tests."""
    with browser.new_context() as context:
        context.set_default_timeout(_PATIENCE_MS)
        yield context.new_page()


@pytest.fixture
def page_site(tmp_path: Path) -> Iterator[Callable[..., PageSite]]:
    """Starts gateways over given rows, and stops them at the end."""
    open_sites: list[PageSite] = []

    def start(rows: list[Row], **options: Any) -> PageSite:
        home = tmp_path / "empty"
        home.mkdir(exist_ok=True)
        site = PageSite(home, rows, **options)
        open_sites.append(site)
        return site

    yield start
    for site in open_sites:
        site.stop()


@pytest.fixture
def proxy() -> Iterator[MoodyProxy]:
    """A proxy before a gateway; a test sets its `target`."""
    moody = MoodyProxy()
    yield moody
    moody.stop()


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands keep what can be made again, instead of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hermes_cache"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A sample home of 60 sessions."""
    path = tmp_path / "home"
    make_sample_home(path, sessions=60, seed=7)
    return path


@pytest.fixture
def policy() -> Policy:
    """The policy of the caches, in which no list grows old on a busy machine; a test file may have its own."""
    return Policy(ttl=600.0, stop_timeout=2.0)


@pytest.fixture
def serve(home: Path, policy: Policy) -> Iterator[Callable[..., Site]]:
    """Starts gateways over the home, and stops them at the end."""
    open_sites: list[Site] = []

    def start(settings: GatewaySettings | None = None) -> Site:
        source = HermesHome(home)
        cache = SessionListCache(source.builder, sources=source.sources, bus=Bus(), policy=policy)
        site = Site(home, cache, GatewayServer(create_app(cache, source, settings=settings)))
        cache.start()
        site.server.start()
        open_sites.append(site)
        return site

    yield start
    for site in open_sites:
        site.server.stop()
        site.cache.stop()


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """A gateway over the home."""
    return serve()
