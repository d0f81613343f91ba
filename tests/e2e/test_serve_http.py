"""HTTP by the book, over a real socket. Source: RFC 9110 and RFC 9112."""

import gzip
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_site import Site
from tests.e2e.raw_http import RawAnswer, ask
from tests.waiting import PROCESS_S

LIST = "/api/sessions?visible_only=0&show_cli=1"
PATHS = [
    "/",
    "/api/sessions",
    "/api/health",
    "/api/explain",
    "/api/nothing",
    "/page/app.js",
    "/api/sessions/events",
]


def one(site: Site, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> RawAnswer:
    """Send one request on a connection of its own."""
    lines = (f"{method} {target} HTTP/{version}", "Host: localhost", "Connection: close", *headers)
    (answer,) = ask(site.server.url, *lines, without_bodies=method == "HEAD")
    return answer


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_like_get_without_a_body(site: Site, path: str) -> None:
    # Proves W1.
    answer = one(site, path, method="HEAD")

    assert answer.status == (404 if path == "/api/nothing" else 200)
    assert answer.body == b""
    if path not in {"/api/sessions/events", "/api/health", "/api/explain"}:
        assert answer.header("content-length") == one(site, path).header("content-length")


@pytest.mark.parametrize("path", PATHS)
def test_options_says_which_methods_a_path_takes(site: Site, path: str) -> None:
    # Proves W1.
    answer = one(site, path, method="OPTIONS")

    if path == "/api/nothing":
        assert answer.status == 404
    else:
        assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS")
        assert answer.body == b""


def test_options_of_the_whole_server_is_answered(site: Site) -> None:
    # Proves W1.
    answer = one(site, "*", method="OPTIONS")

    assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS")


def test_the_form_takes_posts_and_says_so(site: Site) -> None:
    # Proves W5.
    assert one(site, "/sign-in", method="OPTIONS").header("allow") == "GET, HEAD, OPTIONS, POST"
    refused = one(site, "/sign-in", "Origin: " + site.server.url.rstrip("/"), method="PUT")
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', '"a, b",W/{tag}', "*"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_client_that_has_a_list_gets_304_for_the_encoding_that_it_has(
    site: Site, form: str, encoding: str
) -> None:
    # Proves W1, O6.
    first = one(site, LIST, f"Accept-Encoding: {encoding}")
    tag = first.header("etag")

    again = one(
        site, LIST, f"Accept-Encoding: {encoding}", "If-None-Match: " + form.format(tag=tag.removeprefix("W/"))
    )

    assert (again.status, again.body) == (304, b"")
    assert again.header("etag") == tag
    assert again.header("vary") == first.header("vary") == "Accept-Encoding"


def test_the_tags_of_two_encodings_are_not_mixed_up(site: Site) -> None:
    # Proves W1: a cache between would hand a compressed body to a client that cannot read it.
    plain, packed = one(site, LIST), one(site, LIST, "Accept-Encoding: gzip")

    assert gzip.decompress(packed.body) == plain.body
    assert one(site, LIST, f"If-None-Match: {packed.header('etag')}").status == 200
    assert one(site, LIST, f"If-None-Match: {plain.header('etag')}", "Accept-Encoding: gzip").status == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip;q=0", None),
        ("identity", None),
        ("*;q=0.1, gzip;q=0", None),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip"),
        ("*", "gzip"),
        ("identity;q=0, *", "gzip"),
    ],
)
def test_a_list_comes_in_an_encoding_that_the_client_accepts(
    site: Site, accepted: str, encoding: str | None
) -> None:
    # Proves W1.
    answer = one(site, LIST, f"Accept-Encoding: {accepted}")

    assert answer.status == 200
    assert answer.headers.get("content-encoding") == ([encoding] if encoding else None)


@pytest.mark.parametrize("accepted", ["*;q=0", "identity;q=0", "gzip;q=0, identity;q=0"])
def test_a_client_that_accepts_no_encoding_is_told_which_there_are(site: Site, accepted: str) -> None:
    # Proves W1.
    answer = one(site, LIST, f"Accept-Encoding: {accepted}")

    assert answer.status == 406
    assert b"gzip" in answer.body


def test_parts_of_an_asset_are_sent(site: Site) -> None:
    # Proves W1.
    whole = one(site, "/page/app.js")
    tag = whole.header("etag")

    part = one(site, "/page/app.js", "Range: bytes=2-11")
    tail = one(site, "/page/app.js", "Range: bytes=-7")
    beyond = one(site, "/page/app.js", "Range: bytes=9999999-")
    same = one(site, "/page/app.js", "Range: bytes=0-3", f"If-Range: {tag}")
    changed = one(site, "/page/app.js", "Range: bytes=0-3", 'If-Range: "other"')

    size = len(whole.body)
    assert whole.header("accept-ranges") == "bytes"
    assert (part.status, part.body, part.header("content-range")) == (206, whole.body[2:12], f"bytes 2-11/{size}")
    assert (tail.status, tail.body) == (206, whole.body[-7:])
    assert (beyond.status, beyond.header("content-range")) == (416, f"bytes */{size}")
    assert (same.status, same.body) == (206, whole.body[:4])
    assert (changed.status, changed.body) == (200, whole.body)


@pytest.mark.parametrize(
    "ranges", ["bytes=a-b", "lines=1-2", "bytes=", "bytes=-", "bytes=1-2-3", "x", "bytes=1-2,x"]
)
@pytest.mark.parametrize("path", ["/page/app.js", "/"])
def test_a_range_that_says_nothing_is_ignored(site: Site, ranges: str, path: str) -> None:
    # Proves W1.
    answer = one(site, path, f"Range: {ranges}")

    assert answer.status == 200
    assert len(answer.body) == int(answer.header("content-length"))


def test_many_overlapping_ranges_cost_no_more_than_the_asset(site: Site) -> None:
    # Proves W6.
    whole = one(site, "/page/app.js")

    answer = one(site, "/page/app.js", "Range: bytes=" + ",".join(["0-"] * 1_000))

    assert len(answer.body) <= len(whole.body)


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
@pytest.mark.parametrize("path", ["/", "/page/app.js"])
def test_a_browser_that_has_an_asset_gets_304(site: Site, form: str, path: str) -> None:
    # Proves W1.
    tag = one(site, path).header("etag")

    answer = one(site, path, "If-None-Match: " + form.format(tag=tag.removeprefix("W/")))

    assert (answer.status, answer.body) == (304, b"")


def test_old_clients_get_an_answer_that_they_can_read(site: Site) -> None:
    # Proves W1: HTTP/1.0 has no chunks, and its connections end after an answer.
    for target in ("/", LIST, "/page/app.js"):
        (answer,) = ask(site.server.url, f"GET {target} HTTP/1.0", "Host: localhost")

        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert len(answer.body) == int(answer.header("content-length"))


def test_requests_that_come_at_once_are_answered_in_their_order(site: Site) -> None:
    # Proves W1.
    host = "Host: localhost"
    answers = ask(
        site.server.url,
        "GET /api/ready HTTP/1.1", host, "",
        "GET /page/style.css HTTP/1.1", host, "",
        "POST /sign-in HTTP/1.1", host, "Content-Length: 0", "",
        f"GET {LIST} HTTP/1.1", host, "",
        "GET /api/nothing HTTP/1.1", host, "Connection: close",
    )  # fmt: skip

    assert [answer.status for answer in answers[1:]] == [200, 204, 200, 404]
    assert answers[0].header("content-type") == "application/json"
    assert answers[1].header("content-type").startswith("text/css")


@pytest.mark.parametrize(
    "lines",
    [
        ["GET /{long} HTTP/1.1", "Host: localhost"],
        ["GET /api/sessions?show_cli={long} HTTP/1.1", "Host: localhost"],
        ["GET /api/sessions?profile={long} HTTP/1.1", "Host: localhost"],
        ["GET /api/sessions/events?since={long} HTTP/1.1", "Host: localhost"],
        ["GET /api/health HTTP/1.1", "Host: {long}"],
        ["GET /api/health HTTP/1.1", "Host: localhost", "Origin: http://{long}"],
        ["GET /api/health HTTP/1.1", "Host: localhost", "Origin: {long}"],
        ["{long} /api/health HTTP/1.1", "Host: localhost"],
        ["GET http://{long}/api/health HTTP/1.1", "Host: localhost"],
    ],
)
def test_an_error_quotes_at_most_100_characters_and_no_python(site: Site, lines: list[str]) -> None:
    # Proves W1.
    long = "a" * 3_000
    sent = [line.replace("{long}", long) for line in lines]

    (answer,) = ask(site.server.url, *sent, "Connection: close")

    assert 400 <= answer.status < 500
    assert b"a" * 101 not in answer.body
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("value", ["%27%22%5C", "%1b%5b31m", "%e2%80%ae", "%ff", "%00"])
def test_an_error_shows_what_was_sent_without_the_marks_of_python(site: Site, value: str) -> None:
    # Proves W1.
    answer = site.get(f"/api/sessions?show_cli={value}")
    reason = str(answer.json["error"])

    assert answer.status == 400
    assert reason.isprintable()
    assert "\\x" not in reason
    assert "\\u" not in reason


def test_a_refused_request_leaves_its_connection_in_order(serve: Callable[..., Site]) -> None:
    # Proves W6: the body of a refused request is not taken for the next one.
    site = serve(GatewaySettings(token="correct-horse-battery"))  # noqa: S106 -- a token of the tests
    smuggled = b"GET /api/sessions HTTP/1.1\r\nHost: evil.example\r\n\r\n"

    answers = ask(
        site.server.url,
        "POST /sign-in HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Length: {len(smuggled)}",
        body=smuggled,
    )

    assert [answer.status for answer in answers] == [401]


def test_a_header_in_several_lines_is_one_list(site: Site) -> None:
    # Proves W1.
    tag = one(site, LIST, "Accept-Encoding: br", "Accept-Encoding: gzip").header("etag")

    again = one(site, LIST, "Accept-Encoding: gzip", 'If-None-Match: "other"', f"If-None-Match: {tag}")

    assert tag.endswith('-gzip"')
    assert again.status == 304


def test_an_asset_is_asked_for_anew_after_an_upgrade(site: Site) -> None:
    # Proves W1.
    assert [one(site, path).header("cache-control") for path in ("/", "/page/app.js")] == ["no-cache"] * 2


def test_an_old_client_reads_events_as_they_come(site: Site) -> None:
    # Proves W1: HTTP/1.0 has no chunks, so the stream is what is sent until the connection ends.
    where = urlsplit(site.server.url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PROCESS_S) as connection:
        connection.sendall(b"GET /api/sessions/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as stream:
            head = [line.lower() for line in iter(stream.readline, b"\r\n")]
            first = stream.readline()

    assert not [line for line in head if line.startswith((b"transfer-encoding", b"content-length"))]
    assert first.startswith(b"retry: ")


def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on(site: Site) -> None:
    # Proves W1.
    where = urlsplit(site.server.url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PROCESS_S) as connection:
        connection.sendall(
            b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 7\r\n"
            b"Connection: close\r\n\r\n"
        )
        with connection.makefile("rb") as stream:
            interim = stream.readline()
            stream.readline()
            connection.sendall(b"token=x")
            final = stream.readline()

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert final.startswith(b"HTTP/1.1 204 ")


def test_a_head_request_that_is_refused_for_its_body_gets_an_answer_without_one(site: Site) -> None:
    """W6"""
    (answer,) = ask(
        site.server.url,
        "HEAD /api/sessions HTTP/1.1",
        "Host: localhost",
        "Content-Length: 100000000000",
        without_bodies=True,
    )

    assert (answer.status, answer.body) == (413, b"")


@pytest.mark.parametrize("closing", ["close", "keep-alive"])
def test_a_client_that_sends_no_more_gets_its_answer_and_then_the_end(site: Site, closing: str) -> None:
    # Proves W1: it closed its sending side alone, as `nc -N` does. The view is not built so far.
    where = urlsplit(site.server.url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PROCESS_S) as client:
        head = f"GET {LIST}&source_filter=x HTTP/1.1\r\nHost: localhost\r\nConnection: {closing}\r\n\r\n"
        client.sendall(head.encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            received = answer.read()

    assert received.startswith(b"HTTP/1.1 200 ")
    assert b'"sessions"' in received


def test_a_client_that_sends_no_more_gets_the_answers_to_all_its_requests(site: Site) -> None:
    # Proves W1.
    where = urlsplit(site.server.url)
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PROCESS_S) as client:
        for path in (LIST, "/", LIST):
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            received = answers.read()

    assert received.count(b"HTTP/1.1 200 ") == 3
