"""Proves rule X12 for a Hermes home: what leaves the process holds no secret, unless the setting says so."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.stores.hermes.joining import JoinedSession, Parent
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.session_rows import make_row
from hermes_cache.stores.hermes.state_db import SessionRecord

_TOKEN = "ghp_TestFakeCredential1234567890ab"  # noqa: S105 - made up
_MASKED = "ghp_Te...90ab"
_KEY = SessionListKey(show_cli=True, show_cron=True, include_archived=True)


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    sample = make_sample_home(tmp_path / "home", sessions=40, profiles=())
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute(
            "UPDATE sessions SET title = 'use ' || ? || ' for ' || id, cwd = '/w/token=abc123/x'", (_TOKEN,)
        )
    return sample


def test_no_field_of_a_row_that_holds_free_text_shows_a_secret() -> None:
    """X12"""
    agent = SessionRecord("s", "cli", title=f"a {_TOKEN}", cwd="https://u:hunter2@host/x")
    routing = {"url": f"https://host/?key={_TOKEN}", "tried": [_TOKEN, 3]}
    web = IndexRecord("s", f"b {_TOKEN}", gateway_routing=routing, worktree_path="/w/secret=hunter2/x")
    joined = JoinedSession("s", "default", "cli", agent, web, parent_id="p")
    joined = joined._replace(parent=Parent("p", f"c {_TOKEN}", "cli", "p", "p"))

    masked, plain = make_row(joined), make_row(joined._replace(redacts=False))

    assert _TOKEN not in json.dumps(masked)
    assert "hunter2" not in json.dumps(masked)
    titles = [masked[name] for name in ("title", "display_title", "_state_db_title", "parent_title")]
    assert titles == [f"b {_MASKED}", f"b {_MASKED}", f"a {_MASKED}", f"c {_MASKED}"]
    assert (masked["workspace"], masked["worktree_path"]) == ("https://u:***@host/x", "/w/secret=***/x")
    assert json.dumps(plain).count(_TOKEN) == 6


def test_bodies_hold_no_secret_and_a_change_of_the_setting_remakes_all_rows(sample: SampleHome) -> None:
    """X12, V3"""
    home, settings = HermesHome(sample.path), sample.path / "webui" / "settings.json"
    policy = Policy(stamp_interval=0.0, owner_wait=60.0, follower_wait=60.0)
    with SessionListCache(home.builder, sources=home.sources, policy=policy, bus=Bus()) as cache:
        bodies = [cache.render(_KEY)]
        for text in ('{"api_redact_enabled": false}', "{}", '{"api_redact_enabled": 0}', "{broken"):
            settings.write_text(text)
            bodies.append(cache.render(_KEY, freshness="fresh"))

    shown = [(_TOKEN in body.body.decode(), _MASKED in body.body.decode()) for body in bodies]
    assert shown == [(False, True), (True, False), (False, True), (True, False), (False, True)]
    assert [body.etag == bodies[0].etag for body in bodies] == [True, False, True, False, True]
    assert b"abc123" not in bodies[0].body
