"""Event streams over a real socket: what a browser's EventSource is told."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache import Bus, SessionListCache
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.integrations.asgi_streams import EventStreams
from tests.e2e.event_client import Client
from tests.e2e.gateway_site import Site
from tests.waiting import PROCESS_S, until

LIST = "/api/sessions?visible_only=0&show_cli=1&show_cron=1"


def test_a_stream_begins_with_the_position_that_it_starts_from(site: Site) -> None:
    # Proves E8, W1.
    with Client(site.server.url) as client:
        hello = client.next()

    assert client.content_type.startswith("text/event-stream")
    assert hello is not None
    assert (hello.kind, hello.id) == ("hello", hello.fields["version"])
    assert hello.id


def test_a_change_is_sent_with_its_version_as_id(site: Site) -> None:
    # Proves E7, E8, W1.
    with Client(site.server.url) as client:
        client.next()

        site.cache.invalidate(profile="work", reason="session_rename", session_id="s1")
        event = client.next()

    assert event is not None
    assert event.kind == "sessions_changed"
    assert event.fields == {
        "type": "sessions_changed",
        "version": event.id,
        "reason": "session_rename",
        "profile": "work",
        "session_id": "s1",
    }


def test_a_change_of_everything_names_no_profile(site: Site) -> None:
    # Proves E7.
    with Client(site.server.url) as client:
        client.next()

        site.cache.invalidate(reason="session_import")
        event = client.next()

    assert event is not None
    assert event.fields.keys() == {"type", "version", "reason"}


def test_a_stream_of_one_profile_hears_nothing_of_another(site: Site) -> None:
    # Proves E7.
    with Client(site.server.url, "/api/sessions/events?profile=work") as client:
        client.next()

        site.cache.invalidate(profile="other", reason="session_new")
        site.cache.invalidate(profile="work", reason="session_pin")
        event = client.next()

    assert event is not None
    assert event.fields["reason"] == "session_pin"


@pytest.mark.parametrize("by_header", [True, False])
def test_a_client_that_comes_back_is_told_what_it_missed(site: Site, *, by_header: bool) -> None:
    # Proves E8.
    with Client(site.server.url) as client:
        client.next()
        site.cache.invalidate(profile="work", reason="session_new", session_id="s1")
        seen = client.next()
    assert seen is not None

    site.cache.invalidate(profile="work", reason="session_pin", session_id="s2")
    path = "/api/sessions/events" if by_header else f"/api/sessions/events?since={seen.id}"
    with Client(site.server.url, path, seen.id if by_header else None) as client:
        hello, missed = client.next(), client.next()

    assert hello is not None
    assert missed is not None
    assert hello.id == seen.id
    assert (missed.fields["profile"], missed.fields["session_id"]) == ("work", "s2")


@pytest.mark.parametrize("unknown", ["elsewhere:7", "nonsense"])
def test_a_client_with_an_unknown_version_is_told_to_refresh_everything(site: Site, unknown: str) -> None:
    # Proves E8.
    with Client(site.server.url, last_event_id=unknown) as client:
        client.next()
        event = client.next()

    assert event is not None
    assert event.kind == "sessions_changed"
    assert "profile" not in event.fields


def test_a_silent_stream_says_that_it_lives(serve: Callable[..., Site]) -> None:
    # Proves W1.
    site = serve(GatewaySettings(heartbeat_s=0.02))
    with Client(site.server.url) as client:
        client.next()

        client.await_heartbeats(2)


def test_streams_are_bounded_and_a_closed_one_makes_room(serve: Callable[..., Site]) -> None:
    # Proves W5.
    site = serve(GatewaySettings(max_streams=2, heartbeat_s=0.02))
    first, second, third = (Client(site.server.url) for _ in range(3))

    first.close()
    room = wait_for_room(site.server.url)

    assert (second.status, third.status, room.status) == (200, 503, 200)
    assert "2 event streams are open" in json.loads(third.rest())["error"]
    for each in (second, third, room):
        each.close()


def test_a_stream_that_comes_while_the_gateway_ends_is_answered_so() -> None:
    # Proves W1, W6.
    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache:
        streams = EventStreams(cache, limit=5, heartbeat_s=1.0)
        streams.close()

        answer = asyncio.run(streams.changes(None, None))

    assert answer.status_code == 503
    assert b"the gateway ends" in answer.body


def test_a_stream_ends_with_its_cache(site: Site) -> None:
    # Proves L1, E7.
    with Client(site.server.url) as client:
        client.next()

        site.cache.stop()

        assert client.next() is None


def test_a_rename_by_another_process_reaches_the_list_and_the_stream(site: Site) -> None:
    # Proves E9, R4, X6.
    renamed = next(
        row for row in site.get(LIST).rows if row["profile"] in {None, "default"} and not row.get("parent_title")
    )
    polls = Polls(site, lambda rows: any(row["title"] == "A new name" for row in rows))
    with Client(site.server.url) as client:
        client.next()
        polls.start()

        rename(site.home, str(renamed["session_id"]), "A new name")
        event = client.next()
        polls.join(PROCESS_S)

    assert event is not None
    assert event.fields["reason"] == "source_changed"
    assert polls.found


class Polls(threading.Thread):
    """A front end that polls until the list is as it should be."""

    def __init__(self, site: Site, fits: Callable[[list[dict[str, object]]], bool]) -> None:
        super().__init__()
        self._site = site
        self._fits = fits
        self._pause = threading.Event()
        self.found = False

    def run(self) -> None:
        ends_at_s = time.monotonic() + PROCESS_S
        while not self.found and time.monotonic() < ends_at_s:
            self.found = self._fits(self._site.get(LIST).rows)
            self._pause.wait(0.1)


def rename(home: Path, session_id: str, title: str) -> None:
    """Rename a session as another process does."""
    code = (
        "import sys; from pathlib import Path; from hermes_cache.samples.writer import rename_session; "
        "rename_session(Path(sys.argv[1]), sys.argv[2], sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", code, str(home), session_id, title], check=True, timeout=PROCESS_S)  # noqa: S603 -- ours


def wait_for_room(url: str) -> Client:
    """Connect until a stream is let in: a server hears late that a client is gone."""
    clients: list[Client] = []

    def is_let_in() -> bool:
        clients.append(Client(url))
        if clients[-1].status != 200:
            clients[-1].close()
        return clients[-1].status == 200

    until(is_let_in, "no stream was let in")
    return clients[-1]
