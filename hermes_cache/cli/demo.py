"""What `serve --demo` shows: a home that others write to, tabs that poll it, and a naive cache beside."""

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, Final, Self

import orjson

from hermes_cache.bus.codec import KINDS, to_plain
from hermes_cache.cli.demo_processes import DEMO_PREFIX, END, RENAMED
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import EventError, HermesCacheError
from hermes_cache.gateway.view_defaults import PAGE_QUERY
from hermes_cache.integrations.view_query import key_of, parameters_in
from hermes_cache.samples.home import make_sample_home
from hermes_cache.samples.naive_cache import NaiveCache, as_in_a_large_home
from hermes_cache.samples.writer import is_broken
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.hermes import HermesHome

_TABS: Final = 24
_TAB_POLLS_EVERY_S: Final = 5.0
_WRITER_WAIT_S: Final = 1.0
_RENAME_WAIT_S: Final = 3.0
_MOST_REMOVALS: Final = 40
_BETWEEN_REMOVALS_S: Final = 0.05


@contextmanager
def demo_home(sessions: int) -> Iterator[Path]:
    """Make a home in a folder of its own, which is gone at the end."""
    folder = Path(mkdtemp(prefix=DEMO_PREFIX))
    try:
        make_sample_home(folder / "home", sessions=sessions)
        yield folder / "home"
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, also if a thread that ends late puts a file into it meanwhile."""
    for _ in range(_MOST_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_BETWEEN_REMOVALS_S)


class DemoShow:
    """A demo that runs: what its page can ask for.

    Args:
        path: The home.
        cache: Serves it.
        default: The view that front ends poll.
        journal: The URL of the journal by which the second process publishes.
    """

    def __init__(self, path: Path, cache: SessionListCache, default: SessionListKey, journal: str) -> None:
        self._path = path
        self._cache = cache
        self._journal = journal
        self._page_view = key_of(parameters_in(PAGE_QUERY), default)
        self._views = (default, self._page_view)
        self._home = HermesHome(path)
        self._naive = NaiveCache(self._build)
        self._renamed = threading.Event()
        """Is clear while a session is to be renamed during the builds."""
        self._renamed.set()
        self._agent: IO[bytes] | None = None
        self._life = ExitStack()

    def __enter__(self) -> Self:
        """Start the two processes, and the tabs that poll."""
        # What was begun ends, too, if an interrupt strikes before the rest is.
        with ExitStack() as life:
            life.callback(self._home.close)
            bus = self._cache.bus
            for topic in (bus.session_list_changed, bus.settings_changed):
                topic.connect(self._forget)
                life.callback(topic.disconnect, self._forget)
            agent = life.enter_context(_process("agent", str(self._path)))
            life.enter_context(_process("importer", str(self._path), self._journal))
            self._agent = agent.stdin
            threading.Thread(
                target=self._publish_all, args=(agent.stdout,), name="hermes_cache.demo_agent", daemon=True
            ).start()
            life.enter_context(_polling(self._cache, self._views))
            self._life = life.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self._life.close()

    def state(self) -> Mapping[str, object]:
        """Return what the page shows of it."""
        return {"is_broken": is_broken(self._path)}

    def do(self, what: str, session_id: str | None) -> None:
        """Do one of the things that the page has a button for.

        Raises:
            ValueError: It is not known.
        """
        match what:
            case "rename_during_build":
                self._rename_during_build(session_id)
            case "break" | "mend":
                self._command({"do": what})
            case _:
                raise ValueError("rename_during_build, break or mend")

    def naive(self) -> Mapping[str, object]:
        """Return the list as the naive cache answers it, and which events it is behind."""
        answer = self._naive.get()
        return {
            "sessions": answer.payload["sessions"],
            "polls": self._naive.polls,
            "outdated": self._naive.outdated,
            "age_s": answer.age_s,
            "waited_s": answer.waited_s,
            "behind": [{**event, "ago_s": ago_s} for event, ago_s in answer.behind],
        }

    def _build(self) -> Mapping[str, object]:
        with as_in_a_large_home(self._page_view):
            payload = self._home.builder(self._page_view)
        if not self._renamed.wait(_RENAME_WAIT_S):
            # The home is broken, or its agent is gone: later builds wait for no rename.
            self._renamed.set()
        return payload

    def _forget(self, _sender: object, event: AppliedEvent) -> None:
        plain = to_plain(event)
        self._naive.forget({**plain, "touched": plain.get("profile")})
        if plain.get("reason") == RENAMED:
            self._renamed.set()

    def _rename_during_build(self, session_id: str | None) -> None:
        """Have both caches build the list, and a session renamed meanwhile."""
        topic = self._cache.bus.build_started

        def rename(_sender: object, event: object) -> None:  # noqa: ARG001 -- receivers are called so
            topic.disconnect(rename)
            self._command({"do": "rename", "session_id": session_id})

        topic.connect(rename)
        self._renamed.clear()
        self._cache.invalidate("default", reason="list_asked_for")
        threading.Thread(target=self._poll_naive, daemon=True).start()

    def _poll_naive(self) -> None:
        with suppress(HermesCacheError):
            self._naive.get()

    def _command(self, command: Mapping[str, str | None]) -> None:
        if self._agent is not None:
            with suppress(OSError, ValueError):
                self._agent.write(orjson.dumps(command) + b"\n")
                self._agent.flush()

    def _publish_all(self, lines: IO[bytes]) -> None:
        """Publish what the agent tells of its turns, as a gateway does."""
        topics = dict(zip(KINDS, self._cache.bus.published(), strict=True))
        # The end of the demo closes the pipe, also if the last lines are not read yet.
        with suppress(ValueError):
            for line in lines:
                fields: dict[str, Any] = orjson.loads(line)
                with suppress(EventError):
                    topics[fields.pop("kind")].send("demo", **fields)


@contextmanager
def _process(*arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "hermes_cache.cli.demo_processes", *arguments]
    # In a session of its own, because Ctrl-C at the terminal is for the server, which then ends it.
    with subprocess.Popen(  # noqa: S603 -- ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.stdin:
                with suppress(OSError):
                    process.stdin.write(END)
                    process.stdin.close()
            try:
                process.wait(_WRITER_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _polling(cache: SessionListCache, views: tuple[SessionListKey, ...]) -> Iterator[None]:
    """Poll as so many tabs of other people do."""

    async def tab(number: int) -> None:
        await asyncio.sleep(number * _TAB_POLLS_EVERY_S / _TABS)
        while True:
            with suppress(HermesCacheError):
                await cache.arender(views[number % len(views)])
            await asyncio.sleep(_TAB_POLLS_EVERY_S)

    async def tabs() -> None:
        await asyncio.gather(*map(tab, range(_TABS)))

    loop = asyncio.new_event_loop()
    polling = loop.create_task(tabs())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(polling)
        loop.close()

    thread = threading.Thread(target=run, name="hermes_cache.demo_tabs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # The loop ended by itself.
            loop.call_soon_threadsafe(polling.cancel)
        thread.join(_WRITER_WAIT_S)
