"""Rules W4, D4, O7: what is answered over HTTP is the same through each framework."""

import asyncio
import gc
import gzip
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes_cache import Bus, Policy, ProfileNotFoundError, SessionListCache, SessionListKey
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.integrations import asgi, wsgi
from tests.integration.http_doors import DOORS, Ask, asgi_door, wsgi_door
from tests.waiting import until

POLICY = Policy(ttl=60, stop_timeout=2.0)


class Titles:
    """Builds lists of 50 titles, of which a test changes the first."""

    def __init__(self) -> None:
        self.first = "Plan the garden"

    def __call__(self, key: Hashable) -> Mapping[str, object]:
        if key == "nobody":
            raise ProfileNotFoundError("/nowhere", "nobody")
        if key == "broken":
            raise OSError("disk I/O error")
        return {"rows": [{"id": f"r{number}", "title": "" if number else self.first} for number in range(50)]}


@pytest.fixture
def titles() -> Titles:
    return Titles()


@pytest.fixture
def cache(titles: Titles) -> Iterator[ListCache[Any]]:
    """A cache of owners, whose lists are `titles`."""
    owners: ListCache[Any] = ListCache(titles, profile_of=str, rows="rows", bus=Bus(), policy=POLICY)
    with owners:
        yield owners


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def ask(request: pytest.FixtureRequest, cache: ListCache[Any]) -> Ask:
    """Asks the cache through one of the frameworks."""
    door: Ask = request.param(cache)
    return door


def test_a_list_has_a_tag_and_is_answered_by_304_until_it_changes(
    ask: Ask, cache: ListCache[Any], titles: Titles
) -> None:
    # Proves W4.
    first = ask("/list?of=ann")
    again = ask("/list?of=ann", {"If-None-Match": first.headers["etag"]})
    titles.first = "Sow the peas"
    cache.invalidate("ann")
    changed = ask("/list?of=ann", {"If-None-Match": first.headers["etag"]})

    assert (first.status, again.status, changed.status) == (200, 304, 200)
    assert again.body == b""
    assert first.headers["content-type"] == "application/json"
    assert orjson.loads(changed.body)["rows"][0]["title"] == "Sow the peas"


def test_a_compressed_list_has_a_weak_tag_of_its_own(ask: Ask) -> None:
    # Proves W4, O7.
    plain = ask("/list?of=ann")
    packed = ask("/list?of=ann", {"Accept-Encoding": "gzip"})
    neither = ask("/list?of=ann", {"Accept-Encoding": "*;q=0"})

    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f'W/"{plain.headers["x-hermes-cache-edition"]}-gzip"'
    assert neither.status == 406


def test_what_changed_since_an_edition_is_a_patch(ask: Ask, cache: ListCache[Any], titles: Titles) -> None:
    # Proves D4.
    edition = ask("/list?of=ann").headers["x-hermes-cache-edition"]
    unchanged = ask(f"/list?of=ann&since={edition}")
    titles.first = "Sow the peas"
    cache.invalidate("ann")
    patch = ask(f"/list?of=ann&since={edition}")

    assert unchanged.status == 304
    assert patch.headers["content-type"] == "application/vnd.hermes-cache.patch+json"
    assert orjson.loads(patch.body)["rows"] == [{"id": "r0", "title": "Sow the peas"}]


@pytest.mark.parametrize(("of", "status"), [("nobody", 404), ("broken", 503)])
def test_an_error_has_its_status_and_its_reason(ask: Ask, of: str, status: int) -> None:
    # Proves W4.
    answer = ask(f"/list?of={of}")

    assert answer.status == status
    assert "error" in orjson.loads(answer.body)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_changes_and_followed_views_are_sent_as_events_with_ids(
    ask: Ask, cache: ListCache[Any], titles: Titles
) -> None:
    # Proves W4, E8, R13: a client that comes back gets what it missed, and only what touches its list.
    hello = ask("/list/events?of=ann", until=b"hello")
    view = ask("/list/follow?of=ann", until=b"view")
    titles.first = "Sow the peas"
    cache.invalidate("bob", reason="of_bob")
    cache.invalidate("ann", reason="of_ann")
    missed = ask("/list/events?of=ann", {"Last-Event-ID": hello.last_id}, until=b"sessions_changed")
    patch = ask("/list/follow?of=ann", {"Last-Event-ID": view.last_id}, until=b"event: patch")

    assert hello.headers["content-type"].startswith("text/event-stream")
    assert b"of_ann" in missed.body
    assert b"of_bob" not in missed.body
    assert b"Sow the peas" in patch.body
    assert len(patch.body) < len(view.body) / 3


def test_a_followed_view_is_compressed_for_a_client_that_reads_gzip(ask: Ask) -> None:
    # Proves W4, D4.
    plain = ask("/list/follow?of=ann", until=b"}\n\n")
    packed = ask("/list/follow?of=ann", {"Accept-Encoding": "gzip"}, until=b"}\n\n")

    assert packed.headers["content-encoding"] == "gzip"
    assert zlib.decompressobj(wbits=31).decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)


@pytest.mark.parametrize("door", DOORS)
def test_past_the_bound_of_seats_a_stream_is_refused_until_one_ends(door: Any, cache: ListCache[Any]) -> None:
    # Proves W4.
    none, one = door(cache, max_streams=0), door(cache, max_streams=1)

    refused = none("/list/events?of=ann")
    statuses = [one("/list/events?of=ann", until=b"hello").status for _ in range(3)]

    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert statuses == [200, 200, 200]
    assert cache.stats().followers == 0


def seats_of_wsgi(cache: ListCache[Any]) -> Callable[[], int]:
    streams = wsgi.EventStreams(cache, limit=1)
    return lambda: streams.changes({"REQUEST_METHOD": "GET"}, "ann").code


def seats_on_a_loop(cache: ListCache[Any]) -> Callable[[], int]:
    streams = wsgi.EventStreams(cache, limit=1)

    def ask() -> int:
        answer = streams.follow({"REQUEST_METHOD": "GET"}, "ann")
        if isinstance(answer.body, wsgi.EventStream):
            # As Django throws it away if the client is gone before the first part.
            answer.body.on_loop()
        return answer.code

    return ask


def seats_of_asgi(cache: ListCache[Any]) -> Callable[[], int]:
    streams = asgi.EventStreams(cache, limit=1)
    return lambda: asyncio.run(streams.changes("ann", None)).status_code


@pytest.mark.parametrize("seats_of", [seats_of_wsgi, seats_on_a_loop, seats_of_asgi])
def test_a_stream_that_is_thrown_away_unsent_gives_its_seat_back(seats_of: Any, cache: ListCache[Any]) -> None:
    # Proves W4: an `after_request` of Flask that raises leaves such a stream.
    ask = seats_of(cache)

    first = ask()
    gc.collect()

    assert first == 200
    until(lambda: ask() == 200, "the seat stays taken")


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"limit": "8"}, {"heartbeat_s": 0}, {"heartbeat_s": "15"}])
@pytest.mark.parametrize("streams", [wsgi.EventStreams, asgi.EventStreams])
def test_a_bound_or_a_heartbeat_that_cannot_be_is_refused_by_name(
    streams: Any, wrong: dict[str, object], cache: ListCache[Any]
) -> None:
    # Proves W4: with a heartbeat of 0 s a stream would send signs of life as fast as it can.
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
        streams(cache, **wrong)


def timed_by_asgi(cache: ListCache[Any]) -> Ask:
    async def timed(request: Request) -> Response:
        return await asgi.respond(cache, "ann", request, envelope={"server_time": 1.5})

    return asgi_door(Starlette(routes=[Route("/", timed)]))


def timed_by_wsgi(cache: ListCache[Any]) -> Ask:
    def timed(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        status, headers, body = wsgi.respond(cache, "ann", environ, envelope={"server_time": 1.5})
        start_response(status, headers)
        return [body]

    return wsgi_door(timed)


def timed_on_a_loop(cache: ListCache[Any]) -> Ask:
    def timed(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        responding = wsgi.arespond(cache, "ann", environ, envelope={"server_time": 1.5})
        status, headers, body = asyncio.run(responding)
        start_response(status, headers)
        return [body]

    return wsgi_door(timed)


@pytest.mark.parametrize("timed_by", [timed_by_asgi, timed_by_wsgi, timed_on_a_loop])
def test_fields_beside_the_list_make_its_tag_weak_and_are_no_part_of_patches(
    timed_by: Any, cache: ListCache[Any]
) -> None:
    # Proves O7.
    ask = timed_by(cache)
    plain = cache.render("ann")

    whole, packed, unkept = ask("/"), ask("/", {"Accept-Encoding": "gzip"}), ask("/?since=unknown")

    assert whole.headers["etag"] == f'W/"{plain.etag}"'
    bodies = [whole.body, gzip.decompress(packed.body), unkept.body]
    assert [orjson.loads(body)["server_time"] for body in bodies] == [1.5, 1.5, 1.5]
    assert ask("/", {"If-None-Match": whole.headers["etag"]}).status == 304
    assert ask(f"/?since={plain.edition}").status == 304


@pytest.mark.parametrize("door", ["asgi", "wsgi"])
def test_every_field_of_a_session_list_is_a_parameter(door: str) -> None:
    # Proves W4, K1.
    keys: list[SessionListKey] = []
    default = SessionListKey(show_cli=True)

    def build(key: SessionListKey) -> Mapping[str, object]:
        keys.append(key)
        return {"sessions": []}

    with SessionListCache(build, bus=Bus(), policy=POLICY) as cache:
        if door == "asgi":
            ask = asgi_door(Starlette(routes=asgi.session_routes(cache, path="/", default=default)))
        else:
            ask = wsgi_door(wsgi.session_application(cache, default=default))
        targets = ["/?profile=work&include_archived=1&theirs=3", "/?archived_limit=-1", "/events?profile=%20!"]
        statuses = [ask(target).status for target in targets]

    assert statuses == [200, 400, 400]
    assert keys == [SessionListKey("work", show_cli=True, include_archived=True)]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("HEAD", "/", 200), ("POST", "/", 405), ("GET", "/x", 404)]
)
def test_an_application_answers_what_it_does_not_have(
    method: str, path: str, status: int, cache: ListCache[Any]
) -> None:
    # Proves W4.
    application = wsgi.Application(cache, lambda _environ: "ann")

    answer = application.answer({"REQUEST_METHOD": method, "PATH_INFO": path})

    assert answer.code == status
    assert bool(answer.body) == (method != "HEAD")
    assert int(dict(answer.headers)["Content-Length"]) > 0


def test_a_ticket_that_is_none_is_a_bad_request(cache: ListCache[Any]) -> None:
    # Proves W4: tickets come from clients.
    environ = {"REQUEST_METHOD": "GET"}

    answers = [
        wsgi.respond(cache, "ann", environ, at_least="none"),
        asyncio.run(wsgi.arespond(cache, "ann", environ, at_least="none")),
    ]

    assert [answer.code for answer in answers] == [400, 400]
    assert orjson.loads(answers[0].body)["field"] == "at_least"
