"""A gateway over a real home and a real cache, asked over a real socket."""

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache.core.policy import Policy
from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_site import Answer, Site
from tests.waiting import until

LIST = "/api/sessions?visible_only=0&show_cli=1"
TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests


@pytest.fixture
def policy() -> Policy:
    """A failed build is tried again at once, and no list grows old."""
    return Policy(ttl=600.0, retry_delay=0.01, retry_delay_max=0.05, stop_timeout=2.0)


def titles(answer: Answer) -> list[object]:
    return [row["title"] for row in answer.rows]


def break_home(home: Path) -> bytes:
    """Truncate the database as a crash would; gives what it held."""
    kept = (home / "state.db").read_bytes()
    os.truncate(home / "state.db", 0)
    (home / "state.db-wal").unlink(missing_ok=True)
    return kept


def test_a_list_comes_with_its_tag_and_with_how_fresh_it_is(site: Site) -> None:
    # Proves W1, O6, R9.
    began_s = time.monotonic()
    answer = site.get(LIST)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["X-Hermes-Cache"] in {"built", "waited"}
    assert answer.headers["X-Hermes-Cache-Reason"] == "miss"
    assert 0 <= int(answer.headers["Age"]) <= time.monotonic() - began_s
    assert abs(float(answer.headers["Server-Time"]) - time.time()) < 60
    assert answer.headers["Server-Timezone"][0] in "+-"
    assert answer.json["sessions"]


def test_a_second_poll_is_a_hit(site: Site) -> None:
    # Proves R2, W1.
    site.get(LIST)

    answer = site.get(LIST)

    assert answer.headers["X-Hermes-Cache"] == "hit"
    assert "X-Hermes-Cache-Reason" not in answer.headers


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_a_client_that_has_the_list_is_told_so(site: Site, form: str) -> None:
    # Proves W1, O6.
    tag = site.get(LIST).headers["ETag"]

    answer = site.get(LIST, If_None_Match=form.format(tag=tag))

    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == tag
    assert "X-Hermes-Cache" in answer.headers


def test_a_client_that_has_another_list_gets_this_one(site: Site) -> None:
    # Proves W1.
    answer = site.get(LIST, If_None_Match='"other"')

    assert answer.status == 200


def test_a_body_is_compressed_for_those_who_can_read_it(site: Site) -> None:
    # Proves W5.
    plain = site.get(LIST)

    packed = site.get(LIST, Accept_Encoding="br, gzip")

    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert site.get(LIST, If_None_Match=packed.headers["ETag"], Accept_Encoding="gzip").status == 304


def test_a_head_request_gets_the_headers_alone(site: Site) -> None:
    # Proves W1.
    answer = site.get(LIST, method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert "ETag" in answer.headers


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/sessions?show_cli=maybe", "show_cli"),
        ("/api/sessions?archived_limit=2001", "archived_limit"),
        ("/api/sessions?profile=..%2F..%2Fetc", "profile"),
        ("/api/sessions?show_cli=1&show_cli=1", "show_cli"),
        ("/api/sessions/events?profile=%00", "profile"),
        ("/api/sessions/events?since=1&since=2", "since"),
        ("/api/explain?show_cli=maybe", "show_cli"),
    ],
)
def test_a_bad_parameter_is_refused_with_its_name(site: Site, path: str, field: str) -> None:
    # Proves W1.
    answer = site.get(path)

    assert answer.status == 400
    assert answer.json["field"] == field
    assert field in str(answer.json["error"])


@pytest.mark.parametrize("path", ["/api/sessions", "/api/sessions/events", "/api/explain"])
def test_parameters_of_a_front_end_are_ignored_and_named(site: Site, path: str) -> None:
    # Proves W1.
    strange = "&".join(f"n{number}=1" for number in range(20))
    long = "a%2C%0D%0A" + "b" * 100

    plain = site.get(path, method="HEAD")
    named = site.get(f"{path}?{long}=1&{strange}&{strange}", method="HEAD")

    assert (plain.status, named.status) == (200, 200)
    assert "X-Hermes-Cache-Ignored" not in plain.headers
    assert named.headers["X-Hermes-Cache-Ignored"].split(", ") == [
        "a%2C%0D%0A" + "b" * 36,
        *(f"n{number}" for number in range(9)),
    ]


def test_a_profile_that_the_home_lacks_is_not_found(site: Site) -> None:
    # Proves W1, X8: nobody's typing error makes the gateway unwell, and none of its paths is told.
    answers = [site.get("/api/sessions?profile=nobody") for _ in range(3)]
    health = site.get("/api/health")

    assert [(each.status, each.json["field"]) for each in answers] == [(404, "profile")] * 3
    assert all("'nobody'" in str(each.json["error"]) for each in answers)
    assert all(str(site.home) not in str(each.json) for each in answers)
    assert (health.status, health.json["healthy"]) == (200, True)


def test_an_absent_parameter_follows_the_settings_file(home: Path, serve: Callable[..., Site]) -> None:
    # Proves W1.
    (home / "webui" / "settings.json").write_text('{"show_cli_sessions": false, "show_cron_sessions": true}')
    site = serve()

    by_default = site.get("/api/sessions")
    asked = site.get("/api/sessions?show_cli=0&show_cron=1&visible_only=1&show_claude_code=1")
    otherwise = site.get("/api/sessions?show_cron=0")

    assert titles(by_default) == titles(asked)
    assert titles(by_default) != titles(otherwise)


def test_unknown_paths_and_writing_requests_are_refused_as_json(site: Site) -> None:
    # Proves W5.
    missing, written = site.get("/api/nothing"), site.get("/api/sessions", method="POST")

    assert (missing.status, written.status) == (404, 405)
    assert missing.json["error"]
    assert written.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_request_under_a_strange_host_name_is_refused(site: Site) -> None:
    # Proves W5.
    answer = site.get(LIST, Host="evil.example")

    assert answer.status == 421
    assert "--allow-host evil.example" in str(answer.json["error"])


def test_the_page_loads_nothing_from_elsewhere(site: Site) -> None:
    # Proves W5.
    page, script, style = (site.get(path) for path in ("/", "/page/app.js", "/page/style.css"))

    assert [each.status for each in (page, script, style)] == [200] * 3
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert b"innerHTML" not in script.body


def test_health_is_answered_as_json(site: Site) -> None:
    # Proves L4, W1.
    answer = site.get("/api/health")

    assert answer.status == 200
    assert answer.json


def test_a_view_is_explained_by_the_parameters_that_it_is_read_with(site: Site) -> None:
    # Proves J7, W1.
    nothing = site.get("/api/explain?show_cli=1")
    site.get("/api/sessions?show_cli=1")
    site.get("/api/sessions?show_cli=1")
    site.cache.invalidate("default", reason="session_rename")

    answer = site.get("/api/explain?show_cli=1")

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (nothing.json["condition"], answer.json["condition"]) == ("missing", "outdated")
    assert answer.json["served"] == {"built": 1, "hit": 1}
    assert str(answer.json["story"]).startswith("profile default with show_cli")
    assert "reason session_rename" in str(answer.json["story"])


def test_an_explanation_needs_the_token_too(serve: Callable[..., Site]) -> None:
    # Proves W5.
    site = serve(GatewaySettings(token=TOKEN))

    answers = [site.get("/api/explain"), site.get("/api/explain", Authorization=f"Bearer {TOKEN}")]

    assert [answer.status for answer in answers] == [401, 200]


def test_a_home_that_breaks_leaves_the_last_good_list_with_the_reason(site: Site) -> None:
    # Proves X8.
    good = site.get(LIST)

    kept = break_home(site.home)
    site.cache.invalidate()
    marked = site.get(LIST)
    (site.home / "state.db").write_bytes(kept)
    mended = wait_for(lambda: site.get(LIST), lambda answer: answer.headers["X-Hermes-Cache"] != "outdated")

    assert sorted(map(str, titles(marked))) == sorted(map(str, titles(good)))
    assert marked.headers["X-Hermes-Cache"] == "outdated"
    assert "state.db" in marked.headers["X-Hermes-Cache-Error"]
    assert "X-Hermes-Cache-Error" not in mended.headers


def test_a_broken_home_never_looks_like_an_empty_one(site: Site) -> None:
    # Proves X8, R12.
    break_home(site.home)

    answer = site.get(LIST)

    assert answer.status == 503
    assert "state.db" in str(answer.json["error"])
    assert int(answer.headers["Retry-After"]) >= 1


def wait_for(ask: Callable[[], Answer], fits: Callable[[Answer], bool]) -> Answer:
    """Poll as a front end does, until an answer fits."""
    answers: list[Answer] = []

    def is_there() -> bool:
        answers.append(ask())
        return fits(answers[-1])

    until(is_there, "no answer fitted")
    return answers[-1]


def test_the_whole_cache_is_answered(site: Site) -> None:
    # Proves W1: entries, builds, events, streams and scopes.
    site.get(LIST)
    site.cache.invalidate("default", reason="session_rename")

    answer = site.get("/api/cache")

    told = answer.json
    assert answer.status == 200
    assert {"stats", "entries", "builds", "events", "streams", "scopes", "left_out", "at_s"} < set(told)
    (entry,) = entries_of(told, "entries")
    assert (entry["condition"], entry["failures"]) == ("outdated", 0)
    assert [build["outcome"] for build in entries_of(told, "builds")] == ["stored"]
    assert [event["reason"] for event in entries_of(told, "events")] == ["session_rename"]


def entries_of(told: dict[str, object], name: str) -> list[dict[str, object]]:
    found = told[name]
    assert isinstance(found, list)
    return found
