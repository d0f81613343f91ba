"""Rules W4, D4, O7: what Starlette and FastAPI answer with the routes of a cache."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes_cache import Bus, Policy, ProfileNotFoundError, SessionListCache, SessionListKey
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.integrations import asgi
from tests.integration.asgi_client import Answered, asked

ROWS = 50
POLICY = Policy(ttl=60, stop_timeout=2.0)


class Titles:
    """Builds lists of one title, which a test changes."""

    def __init__(self) -> None:
        self.title = "Plan the garden"

    def __call__(self, key: Hashable) -> Mapping[str, object]:
        if key == "nobody":
            raise ProfileNotFoundError("/nowhere", "nobody")
        if key == "broken":
            raise OSError("disk I/O error")
        rows = [{"id": f"r{number}", "title": self.title if number == 0 else "..."} for number in range(ROWS)]
        return {"rows": rows}


def served(use: Callable[[ListCache[Any], Starlette, Titles], Awaitable[None]], **changes: object) -> None:
    """Run a test with an application over a cache of owners."""
    titles = Titles()
    cache: ListCache[Any] = ListCache(titles, profile_of=str, rows="rows", bus=Bus(), policy=POLICY)

    async def run() -> None:
        with cache:
            routes = asgi.routes(cache, lambda request: request.query_params["of"], path="/list", **changes)  # type: ignore[arg-type]
            await use(cache, Starlette(routes=routes), titles)

    asyncio.run(run())


def test_a_list_has_a_tag_and_is_answered_by_304_until_it_changes() -> None:
    # Proves W4.
    async def use(cache: ListCache[Any], app: Starlette, titles: Titles) -> None:
        first = await asked(app, "/list?of=ann")
        again = await asked(app, "/list?of=ann", {"If-None-Match": first.headers["etag"]})
        titles.title = "Sow the peas"
        cache.invalidate("ann")
        changed = await asked(app, "/list?of=ann", {"If-None-Match": first.headers["etag"]})

        assert (first.status, again.status, changed.status) == (200, 304, 200)
        assert again.body == b""
        assert first.headers["content-type"] == "application/json"
        assert orjson.loads(changed.body)["rows"][0]["title"] == "Sow the peas"

    served(use)


def test_a_compressed_list_has_a_weak_tag_of_its_own() -> None:
    # Proves W4, O7.
    async def use(_cache: ListCache[Any], app: Starlette, _titles: Titles) -> None:
        plain = await asked(app, "/list?of=ann")
        packed = await asked(app, "/list?of=ann", {"Accept-Encoding": "gzip"})
        neither = await asked(app, "/list?of=ann", {"Accept-Encoding": "*;q=0"})

        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["etag"] == f'W/"{plain.headers["etag"].strip(chr(34))}-gzip"'
        assert neither.status == 406

    served(use)


def test_what_changed_since_an_edition_is_a_patch() -> None:
    # Proves D4.
    async def use(cache: ListCache[Any], app: Starlette, titles: Titles) -> None:
        edition = (await asked(app, "/list?of=ann")).headers["x-hermes-cache-edition"]
        unchanged = await asked(app, f"/list?of=ann&since={edition}")
        titles.title = "Sow the peas"
        cache.invalidate("ann")
        patch = await asked(app, f"/list?of=ann&since={edition}")

        assert unchanged.status == 304
        assert patch.headers["content-type"] == "application/vnd.hermes-cache.patch+json"
        assert orjson.loads(patch.body)["rows"] == [{"id": "r0", "title": "Sow the peas"}]

    served(use)


@pytest.mark.parametrize(("of", "status"), [("nobody", 404), ("broken", 503)])
def test_an_error_has_its_status(of: str, status: int) -> None:
    # Proves W4.
    async def use(_cache: ListCache[Any], app: Starlette, _titles: Titles) -> None:
        answer = await asked(app, f"/list?of={of}")

        assert answer.status == status
        assert "error" in orjson.loads(answer.body)
        assert ("retry-after" in answer.headers) == (status == 503)

    served(use)


def test_changes_and_followed_views_are_sent_as_events_with_ids() -> None:
    # Proves W4, E8, R13: a client that comes back gets what it missed, and only what touches its list.
    async def use(cache: ListCache[Any], app: Starlette, titles: Titles) -> None:
        hello = await asked(app, "/list/events?of=ann", until=b"hello")
        version = id_in(hello)
        view = await asked(app, "/list/follow?of=ann", until=b"view")
        titles.title = "Sow the peas"
        cache.invalidate("bob", reason="of_bob")
        cache.invalidate("ann", reason="of_ann")
        missed = await asked(app, "/list/events?of=ann", {"Last-Event-ID": version}, until=b"sessions_changed")
        patch = await asked(app, "/list/follow?of=ann", {"Last-Event-ID": id_in(view)}, until=b"event: patch")

        assert hello.headers["content-type"].startswith("text/event-stream")
        assert b"of_ann" in missed.body
        assert b"of_bob" not in missed.body
        assert b"Sow the peas" in patch.body
        assert len(patch.body) < len(view.body) / 3

    served(use)


def test_past_the_bound_of_seats_a_stream_is_refused() -> None:
    # Proves W4.
    cache: ListCache[Any] = ListCache(Titles(), bus=Bus(), policy=POLICY)

    async def use() -> Answered:
        streams = asgi.EventStreams(cache, limit=0)
        app = Starlette(routes=asgi.routes(cache, lambda _request: "ann", path="/list", streams=streams))
        return await asked(app, "/list/events")

    with cache:
        refused = asyncio.run(use())

    assert (refused.status, refused.headers["retry-after"]) == (503, "5")


def test_fields_beside_the_list_make_its_tag_weak_and_are_no_part_of_patches() -> None:
    # Proves O7.
    async def use(cache: ListCache[Any], _app: Starlette, _titles: Titles) -> None:
        async def timed(request: Request) -> Response:
            return await asgi.respond(cache, "ann", request, envelope={"server_time": 1.5})

        app = Starlette(routes=[Route("/", timed)])
        plain = await cache.arender("ann")
        whole = await asked(app, "/")
        unkept = await asked(app, "/?since=unknown")

        assert whole.headers["etag"] == f'W/"{plain.etag}"'
        assert orjson.loads(whole.body)["server_time"] == orjson.loads(unkept.body)["server_time"] == 1.5
        assert (await asked(app, "/", {"If-None-Match": whole.headers["etag"]})).status == 304
        assert (await asked(app, f"/?since={plain.edition}")).status == 304

    served(use)


def test_every_field_of_a_session_list_is_a_parameter() -> None:
    # Proves W4, K1.
    keys: list[SessionListKey] = []

    def build(key: SessionListKey) -> Mapping[str, object]:
        keys.append(key)
        return {"sessions": []}

    async def use() -> list[int]:
        with SessionListCache(build, bus=Bus(), policy=POLICY) as cache:
            app = Starlette(routes=asgi.session_routes(cache, default=SessionListKey(show_cli=True)))
            targets = ["?profile=work&include_archived=1&theirs=3", "?archived_limit=-1", "/events?profile=%20!"]
            return [(await asked(app, f"/api/sessions{target}")).status for target in targets]

    statuses = asyncio.run(use())

    assert statuses == [200, 400, 400]
    assert keys == [SessionListKey("work", show_cli=True, include_archived=True)]


def id_in(answer: Answered) -> str:
    """Return the id of the last event of a stream."""
    return answer.body.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
