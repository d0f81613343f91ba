"""Events that clients publish over HTTP. Rules E3, W2, W5."""

import json
from collections.abc import Callable

import pytest
from starlette.datastructures import Headers

from hermes_cache.core.events import SessionListChanged
from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_site import Answer, Site

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


def post(site: Site, event: object, **headers: str) -> Answer:
    connection = site.connect()
    try:
        connection.request("POST", "/api/events", json.dumps(event), headers)
        response = connection.getresponse()
        return Answer(response.status, Headers(dict(response.getheaders())), response.read())
    finally:
        connection.close()


def own(site: Site) -> dict[str, str]:
    return {"Origin": site.server.url.rstrip("/")}


def test_an_event_is_applied_when_its_answer_comes(site: Site) -> None:
    # Proves E5, W2.
    heard: list[SessionListChanged] = []
    site.cache.bus.session_list_changed.connect(lambda _sender, event: heard.append(event))
    before = site.get("/api/sessions").headers["X-Hermes-Cache"]

    answer = post(
        site, {"kind": "session_list_changed", "reason": "renamed", "profile": "default", "more": 1}, **own(site)
    )

    assert (before, answer.status) == ("built", 204)
    assert [(event.reason, event.profile) for event in heard] == [("renamed", "default")]
    assert site.get("/api/sessions").headers["X-Hermes-Cache-Reason"] == "event"


def test_a_turn_starts_and_stops(site: Site) -> None:
    # Proves H1, W2.
    started = post(site, {"kind": "stream_started", "stream_id": "turn", "session_id": None}, **own(site))
    running = site.cache.stats().streams
    stopped = post(site, {"kind": "stream_stopped", "stream_id": "turn"}, **own(site))

    assert (started.status, running, stopped.status, site.cache.stats().streams) == (204, 1, 204, 0)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"kind": "rows_moved"}, "kind"),
        ({}, "kind"),
        ({"kind": ["stream_started"]}, "kind"),
        ({"kind": "stream_started"}, "stream_id"),
        ({"kind": "stream_started", "stream_id": "x", "profile": 5}, "profile"),
        ([], "body"),
        ("settings_changed", "body"),
    ],
)
def test_what_is_no_event_is_refused_with_the_name_of_the_field(site: Site, event: object, field: str) -> None:
    # Proves E3, W1.
    answer = post(site, event, **own(site))

    assert (answer.status, answer.json["field"]) == (400, field)
    assert site.cache.stats().events == 0


def test_only_the_gateways_own_origin_or_its_token_may_publish(serve: Callable[..., Site]) -> None:
    # Proves W5.
    site = serve(GatewaySettings(token=TOKEN))
    event = {"kind": "settings_changed"}
    origin, token = own(site), {"Authorization": f"Bearer {TOKEN}"}

    statuses = [
        post(site, event, **headers).status
        for headers in ({}, origin, {"Origin": "http://evil.example", **token}, {**origin, **token}, token)
    ]

    assert statuses == [403, 401, 403, 204, 204]
    assert site.cache.stats().events == 2


def test_without_a_demo_there_is_nothing_of_a_demo(site: Site) -> None:
    # Proves W2.
    assert site.get("/api/demo/naive").status == 404
    assert "demo" not in site.get("/api/cache").json
