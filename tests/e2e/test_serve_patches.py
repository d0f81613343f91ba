"""Patches and followed views over a real socket: what a client that has a view is sent (rule D4)."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.payload.applying import applied
from hermes_cache.samples.writer import rename_session
from tests.e2e.event_client import Client, Event
from tests.e2e.gateway_site import Answer, Site
from tests.waiting import until

VIEW = "visible_only=0&show_cli=1&show_cron=1&agent_limit=all"
LIST = f"/api/sessions?{VIEW}"
FOLLOW = f"/api/sessions/follow?{VIEW}"


def _edition(answer: Answer) -> str:
    return answer.headers["X-Hermes-Cache-Edition"]


def _rename(site: Site, view: Answer, title: str) -> object:
    """Rename a session in the files of the home, as its owner does, and return its id."""
    row = next(row for row in view.rows if row["profile"] == "default" and row["is_cli_session"])
    rename_session(site.home, str(row["session_id"]), title)
    site.cache.invalidate()
    return row["session_id"]


def test_a_client_that_names_its_edition_gets_what_changed(site: Site) -> None:
    # Proves D4.
    view = site.get(LIST)
    renamed = _rename(site, view, "by another process")

    answer = site.get(f"{LIST}&since={_edition(view)}")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.hermes-cache.patch+json"
    assert [row["session_id"] for row in answer.json["rows"]] == [renamed]  # type: ignore[attr-defined]
    assert answer.json["edition"] == _edition(answer)
    now = site.get(LIST)
    assert applied(view.json, answer.json) == now.json
    assert _edition(now) == _edition(answer)
    assert "X-Hermes-Cache-Ignored" not in answer.headers


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}-gzip"', "{}"])
def test_a_client_that_has_the_present_edition_gets_304(site: Site, form: str) -> None:
    # Proves D4: by the name of the edition, and by a tag of it.
    view = site.get(LIST)
    since = form.format(_edition(view)).replace('"', "%22")

    answer = site.get(f"{LIST}&since={since}")

    assert (answer.status, answer.body) == (304, b"")
    assert _edition(answer) == _edition(view)


def test_a_client_with_an_edition_that_is_not_kept_gets_the_list(site: Site) -> None:
    # Proves D1, D4.
    view = site.get(LIST)

    for since in ("never-was", _edition(site.get(LIST + "&exclude_hidden=1")), "%00", "x" * 60):
        answer = site.get(f"{LIST}&since={since}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json == view.json


def test_a_large_patch_is_compressed(site: Site) -> None:
    # Proves D4.
    view = site.get(LIST)
    _rename(site, view, "t" * 3_000)

    answer = site.get(f"{LIST}&since={_edition(view)}", Accept_Encoding="gzip")

    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body))["since"] == _edition(view)


def _applied(view: dict[str, Any], event: Event | None) -> dict[str, Any]:
    assert event is not None
    assert event.kind == "patch"
    assert event.fields["edition"] == event.id
    return dict(applied(view, event.fields))


def test_a_followed_view_is_sent_whole_and_then_as_patches(site: Site) -> None:
    # Proves D4, R13.
    with Client(site.server.url, FOLLOW) as client:
        first = client.next()
        before = site.get(LIST)
        _rename(site, before, "by another process")
        view = _applied(before.json, client.next())

    assert client.content_type.startswith("text/event-stream")
    assert first is not None
    assert (first.kind, first.id, first.fields) == ("view", _edition(before), before.json)
    assert view == site.get(LIST).json


def test_a_client_that_reads_gzip_follows_a_compressed_stream_to_its_end(site: Site) -> None:
    # Proves D4: each event can be read when it arrives, and the whole is one gzip file.
    with Client(site.server.url, FOLLOW, encoding="br, gzip") as client:
        first = client.next()
        before = site.get(LIST)
        _rename(site, before, "by another process")
        view = _applied(before.json, client.next())
        site.server.stop()
        rest = client.next()

    assert (client.encoding, client.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert first is not None
    assert (first.kind, first.id, first.fields) == ("view", _edition(before), before.json)
    assert [row["title"] for row in view["sessions"]].count("by another process") == 1
    assert (rest, client.is_whole) == (None, True)


def test_a_client_that_refuses_gzip_follows_plain_text(site: Site) -> None:
    # Proves D4, W1.
    with Client(site.server.url, FOLLOW, encoding="gzip;q=0") as client:
        assert client.next() is not None

    assert client.encoding == "identity"


@pytest.mark.parametrize("by_header", [True, False])
def test_a_follower_that_comes_back_gets_a_patch_from_what_it_has(site: Site, *, by_header: bool) -> None:
    # Proves D4, R13.
    with Client(site.server.url, FOLLOW) as client:
        seen = client.next()
    assert seen is not None
    _rename(site, site.get(LIST), "while it was away")

    path = FOLLOW if by_header else f"{FOLLOW}&since={seen.id}"
    with Client(site.server.url, path, seen.id if by_header else None) as client:
        view = _applied(seen.fields, client.next())

    assert view == site.get(LIST).json


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_quiet_view_says_that_it_lives(serve: Callable[..., Site], encoding: str) -> None:
    # Proves D4.
    site = serve(GatewaySettings(heartbeat_s=0.02))
    with Client(site.server.url, FOLLOW, encoding=encoding) as client:
        client.next()

        client.await_heartbeats(2)


def test_followers_take_the_seats_of_streams_and_leave_them(serve: Callable[..., Site]) -> None:
    # Proves W5, W6.
    site = serve(GatewaySettings(max_streams=1))
    with Client(site.server.url, FOLLOW) as client:
        client.next()
        assert site.get("/api/sessions/events").status == 503
        assert site.get(FOLLOW).status == 503

    def is_let_in() -> bool:
        with Client(site.server.url, FOLLOW) as client:
            return client.status == 200

    until(is_let_in)


def test_a_bad_parameter_of_a_followed_view_is_named(site: Site) -> None:
    # Proves W1.
    answer = site.get("/api/sessions/follow?show_cli=perhaps&unknown=1")

    assert (answer.status, answer.json["field"]) == (400, "show_cli")


def test_a_follower_hears_why_its_view_stands_still(site: Site) -> None:
    # Proves D4, R13, X8: and when it goes on.
    with Client(site.server.url, FOLLOW) as client:
        client.next()
        database = site.home / "state.db"
        whole = database.read_bytes()
        database.write_bytes(b"no database at all" * 500)
        site.cache.invalidate()
        event = client.next()
        database.write_bytes(whole)

    assert event is not None
    assert event.kind == "interrupted"
    assert "state.db" in str(event.fields["error"])
    assert str(event.fields["reason"]).startswith(f"{database}: ")


def test_a_reason_that_is_not_utf8_reaches_a_follower(tmp_path: Path) -> None:
    # Proves X8: the name of a file may be any bytes.
    def fail(_key: SessionListKey) -> dict[str, object]:
        raise OSError("cannot read /home/h\udcff/state.db")

    with (
        SessionListCache(fail, bus=Bus()) as cache,
        GatewayServer(create_app(cache, HermesHome(tmp_path))) as server,
        Client(server.url, FOLLOW) as client,
    ):
        event = client.next()

    assert event is not None
    assert event.kind == "interrupted"
    assert "/home/h?/state.db" in str(event.fields["error"])


def test_streams_end_when_the_gateway_stops(serve: Callable[..., Site]) -> None:
    # Proves W6.
    site = serve(GatewaySettings())
    with Client(site.server.url, FOLLOW) as client:
        client.next()
        site.server.stop()
        assert client.next() is None


def test_all_who_come_with_the_same_edition_are_sent_the_same_patch(site: Site) -> None:
    # Proves D4.
    view = site.get(LIST)
    _rename(site, view, "by another process")
    clients = [Client(site.server.url, FOLLOW, _edition(view)) for _ in range(5)]

    events = [client.next() for client in clients]
    for client in clients:
        client.close()

    assert all(_applied(view.json, event) == site.get(LIST).json for event in events)
