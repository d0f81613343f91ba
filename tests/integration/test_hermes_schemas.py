"""Proves rule X3 for the schemas of forks of hermes-agent: 25, 26 and 31, with the same sessions in each.

Schema 25 is one that was migrated from 22, so that its new columns stand last. Schema 26 is made new. Schema 31
has columns, kinds of messages and tables that nobody here knows.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome

_SCHEMA_22 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, source TEXT NOT NULL, user_id TEXT, session_key TEXT, chat_id TEXT, chat_type TEXT,
  thread_id TEXT, display_name TEXT, origin_json TEXT, expiry_finalized INTEGER DEFAULT 0, model TEXT,
  model_config TEXT, system_prompt TEXT, parent_session_id TEXT REFERENCES sessions(id), started_at REAL NOT NULL,
  ended_at REAL, end_reason TEXT, message_count INTEGER DEFAULT 0, tool_call_count INTEGER DEFAULT 0,
  input_tokens INTEGER DEFAULT 0, output_tokens INTEGER DEFAULT 0, cache_read_tokens INTEGER DEFAULT 0,
  cache_write_tokens INTEGER DEFAULT 0, reasoning_tokens INTEGER DEFAULT 0, cwd TEXT, git_branch TEXT,
  git_repo_root TEXT, billing_provider TEXT, billing_base_url TEXT, billing_mode TEXT, estimated_cost_usd REAL,
  actual_cost_usd REAL, title TEXT, api_call_count INTEGER DEFAULT 0, handoff_state TEXT, profile_name TEXT,
  rewind_count INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES sessions(id), role TEXT NOT NULL,
  content TEXT, tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL NOT NULL, token_count INTEGER,
  platform_message_id TEXT, observed INTEGER DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
  compacted INTEGER NOT NULL DEFAULT 0, api_content TEXT
);
CREATE TABLE gateway_routing (
  scope TEXT NOT NULL DEFAULT '', session_key TEXT NOT NULL, entry_json TEXT NOT NULL, updated_at REAL NOT NULL,
  PRIMARY KEY (scope, session_key)
);
CREATE INDEX idx_messages_session ON messages(session_id, timestamp);
CREATE UNIQUE INDEX idx_sessions_title_unique ON sessions(title) WHERE title IS NOT NULL;
"""

_TO_25 = """
CREATE TABLE system_prompts (hash TEXT PRIMARY KEY, prompt TEXT NOT NULL);
ALTER TABLE sessions ADD COLUMN system_prompt_hash TEXT;
ALTER TABLE sessions ADD COLUMN last_activity_at REAL;
ALTER TABLE sessions ADD COLUMN last_activity_description TEXT;
ALTER TABLE sessions ADD COLUMN last_read_at REAL;
CREATE INDEX idx_sessions_effective_activity ON sessions(COALESCE(last_activity_at, started_at) DESC);
"""

_TO_31 = """
ALTER TABLE sessions ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN mood BLOB;
ALTER TABLE sessions ADD COLUMN last_message_at TEXT DEFAULT 'not a time';
ALTER TABLE sessions ADD COLUMN shown_title TEXT AS (upper(title));
ALTER TABLE messages ADD COLUMN display_kind TEXT;
ALTER TABLE messages ADD COLUMN "user_message_count" INTEGER;
CREATE TABLE "odd table" (x);
CREATE VIEW messages_fts_src AS SELECT id, content FROM messages;
CREATE INDEX idx_messages_shown ON messages(session_id, timestamp) WHERE display_kind IS NULL;
DROP TABLE gateway_routing;
CREATE TABLE gateway_routing (session_key TEXT PRIMARY KEY, entry_json TEXT);
"""

_SCHEMAS = {
    25: (_SCHEMA_22, _TO_25),
    26: (_SCHEMA_22.replace(" model_config", " system_prompt_hash TEXT, last_activity_at REAL, model_config"),),
    31: (_SCHEMA_22, _TO_25, _TO_31),
}

# The child of a compressed session is written before its parent's end is stamped, in one transaction.
_CONTENT = """
INSERT INTO sessions
  (id, source, model, started_at, ended_at, end_reason, message_count, title, cwd, archived) VALUES
  ('root', 'cli', 'm1', 1790000000, 1790000050.5, 'compression', 4, 'A long talk', '/srv/app', 0),
  ('put_away', 'cli', 'm1', 1790000100, NULL, NULL, 2, 'Put away', NULL, 1),
  ('untitled', 'tui', 'm1', 1790000200, NULL, NULL, 2, NULL, NULL, 0),
  ('run', 'cron', 'm1', 1790000300, NULL, NULL, 2, NULL, NULL, 0),
  ('chat', 'telegram', 'm1', 1790000400, NULL, NULL, 2, NULL, NULL, 0);
INSERT INTO sessions (id, source, parent_session_id, model_config, started_at, message_count) VALUES
  ('tip', 'cli', 'root', '{}', 1790000050.25, 2),
  ('task', 'subagent', 'untitled', '{"_delegate_from": "untitled"}', 1790000210, 2),
  ('other_way', 'tui', 'untitled', '{"_branched_from": "untitled"}', 1790000220, 2);
UPDATE sessions SET session_key = 'agent:main:telegram:dm:1', chat_id = '1' WHERE id = 'chat';
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question of ' || id, started_at + 1 FROM sessions;
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'assistant', 'Answer', started_at + 2 FROM sessions;
"""

_KEY = SessionListKey(
    show_cli=True, show_cron=True, show_previous_messaging=True, include_archived=True, visible_only=True
)


def _make(home: Path, version: int) -> Path:
    home.mkdir()
    with closing(sqlite3.connect(home / "state.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for script in (*_SCHEMAS[version], _CONTENT):
            connection.executescript(script)
        connection.execute("INSERT INTO schema_version VALUES (?)", (version,))
    return home


def _rows(home: Path) -> list[dict[str, Any]]:
    sessions: Any = HermesHome(home).builder(_KEY)["sessions"]
    return [dict(row) for row in sessions]


@pytest.mark.parametrize("version", _SCHEMAS)
def test_the_sessions_of_a_fork_are_read_rightly(tmp_path: Path, version: int) -> None:
    """X3"""
    rows = _rows(_make(tmp_path / "home", version))

    assert [row["session_id"] for row in rows] == [
        "chat", "run", "other_way", "task", "untitled", "put_away", "tip",
    ]  # fmt: skip
    by_id = {row["session_id"]: row for row in rows}
    tip, untitled = by_id["tip"], by_id["untitled"]
    assert (tip["title"], tip["_compression_segment_count"], tip["created_at"]) == (
        "A long talk",
        2,
        1_790_000_000.0,
    )
    assert (untitled["title"], untitled["display_title"]) == ("Tui Session", "Question of untitled")
    assert (untitled["last_message_at"], untitled["user_message_count"]) == (1_790_000_202.0, 1)
    assert [by_id[sid]["archived"] for sid in ("put_away", "tip")] == [True, False]
    assert by_id["task"]["relationship_type"] == by_id["other_way"]["relationship_type"] == "child_session"


def test_all_schemas_give_the_same_rows(tmp_path: Path) -> None:
    """X3"""
    first, *others = [_rows(_make(tmp_path / str(version), version)) for version in _SCHEMAS]

    assert others == [first, first]


def test_what_only_a_newer_schema_says_counts(tmp_path: Path) -> None:
    """X3, X7, X13: flags, and messages that are not shown."""
    home = _make(tmp_path / "home", 31)
    with closing(sqlite3.connect(home / "state.db")) as connection, connection:
        connection.execute("UPDATE sessions SET pinned = 1, hidden = 1 WHERE id = 'untitled'")
        connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp, display_kind) "
            "VALUES ('untitled', 'user', 'Scaffolding', 1790000200.5, 'hidden')"
        )

    row = next(each for each in _rows(home) if each["session_id"] == "untitled")

    assert (row["pinned"], row["default_hidden"], row["display_title"]) == (True, True, "Question of untitled")


def test_a_heartbeat_is_no_news_in_any_schema_that_has_one(tmp_path: Path) -> None:
    """X6"""
    for version in _SCHEMAS:
        home = _make(tmp_path / str(version), version)
        reader = HermesHome(home)
        before = reader.builder.refresh("default")
        with closing(sqlite3.connect(home / "state.db")) as connection, connection:
            connection.execute("UPDATE sessions SET last_activity_at = 1790009999 WHERE id = 'untitled'")

        assert reader.builder.refresh("default") is before
