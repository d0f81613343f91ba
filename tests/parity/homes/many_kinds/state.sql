-- One session of each kind that a front end files somewhere; times are seconds after 1,790,000,000.
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (22);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, source TEXT NOT NULL, user_id TEXT, session_key TEXT, chat_id TEXT, chat_type TEXT, thread_id TEXT,
  display_name TEXT, model TEXT, model_config TEXT, parent_session_id TEXT, started_at REAL NOT NULL, ended_at REAL,
  end_reason TEXT, message_count INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0, output_tokens INTEGER DEFAULT 0,
  cwd TEXT, billing_provider TEXT, estimated_cost_usd REAL, title TEXT, archived INTEGER NOT NULL DEFAULT 0,
  pinned INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT,
  timestamp REAL NOT NULL, active INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX idx_messages_session ON messages (session_id, timestamp);

INSERT INTO sessions (id, source, model, started_at, message_count, title, cwd, billing_provider, input_tokens) VALUES
  ('cli_titled', 'cli', 'm1', 1790000100, 2, 'A talk in the terminal', '/srv/app', 'openai', 12),
  ('cli_untitled', 'cli', 'm1', 1790000110, 4, NULL, '/srv/app', NULL, 0),
  ('cli_low_value', 'cli', 'm1', 1790000120, 1, NULL, NULL, NULL, 0),
  ('cli_empty', 'cli', 'm1', 1790000130, 0, 'Never said a word', NULL, NULL, 0),
  ('cli_liar', 'cli', 'm1', 1790000140, 3, 'Says three, has none', NULL, NULL, 0),
  ('tui_untitled', 'tui', 'm1', 1790000150, 2, NULL, NULL, NULL, 0),
  ('acp_titled', 'acp', 'm1', 1790000160, 2, 'From an editor', NULL, NULL, 0),
  ('tool_run', 'tool', 'm1', 1790000170, 2, NULL, NULL, NULL, 0),
  ('api_call', 'api_server', 'm1', 1790000180, 2, NULL, NULL, NULL, 0),
  ('desktop_talk', 'desktop', 'm1', 1790000190, 2, 'On the desktop', NULL, NULL, 0),
  ('recovered_talk', 'recovered', 'm1', 1790000200, 2, NULL, NULL, NULL, 0),
  ('unknown_talk', 'unknown', 'm1', 1790000210, 2, NULL, NULL, NULL, 0),
  ('signal_talk', 'signal', 'm1', 1790000220, 2, NULL, NULL, NULL, 0),
  ('kanban_card', 'kanban', 'm1', 1790000230, 2, NULL, NULL, NULL, 0),
  ('webhook_call', 'webhook', 'm1', 1790000240, 2, NULL, NULL, NULL, 0),
  ('cron_job1_20260921_130000', 'cron', 'm1', 1790000250, 2, NULL, NULL, NULL, 0),
  ('cron_job_two_20260921_130000', 'cron', 'm1', 1790000260, 2, NULL, NULL, NULL, 0),
  ('cron_empty_20260921_130000', 'cron', 'm1', 1790000270, 0, NULL, NULL, NULL, 0),
  ('webui_in_agent_only', 'webui', 'm1', 1790000280, 2, 'Kept by the agent alone', NULL, NULL, 0),
  ('webui_both', 'webui', 'm1', 1790000290, 4, 'Title in the database', NULL, NULL, 0),
  ('webui_deleted', 'webui', 'm1', 1790000300, 2, 'Deleted in the front end', NULL, NULL, 0),
  ('subagent_run', 'subagent', 'm1', 1790000310, 2, 'Subagent Session', NULL, NULL, 0),
  ('subagent_own', 'subagent', 'm1', 1790000320, 2, 'Looks up the weather', NULL, NULL, 0);
INSERT INTO sessions (id, source, started_at, message_count, title, archived, pinned, hidden) VALUES
  ('cli_archived', 'cli', 1790000400, 2, 'Archived by the agent', 1, 0, 0),
  ('cli_pinned', 'cli', 1790000410, 2, 'Pinned by the agent', 0, 1, 0),
  ('cli_hidden', 'cli', 1790000420, 2, 'Hidden by the agent', 0, 0, 1);
INSERT INTO sessions (id, source, started_at, ended_at, end_reason, message_count, title) VALUES
  ('cli_ended_one_turn', 'cli', 1790000430, 1790000440, 'agent_close', 2, NULL),
  ('cli_ended_two_turns', 'cli', 1790000450, 1790000460, 'agent_close', 4, NULL),
  ('tui_ended', 'tui', 1790000470, 1790000480, 'tui_close', 2, NULL);
INSERT INTO sessions (id, source, session_key, chat_id, chat_type, user_id, display_name, started_at, ended_at, end_reason,
  message_count, title) VALUES
  ('tg_new', 'telegram', 'agent:main:telegram:dm:1', '1', 'dm', '1', 'Ada', 1790000500, NULL, NULL, 2, NULL),
  ('tg_old', 'telegram', 'agent:main:telegram:dm:1', '1', 'dm', '1', 'Ada', 1790000490, 1790000499, 'session_reset', 2,
    'The talk before'),
  ('tg_other', 'telegram', 'agent:main:telegram:dm:2', '2', 'dm', '2', 'Bob', 1790000510, NULL, NULL, 2, NULL),
  ('slack_one', 'slack', NULL, 'C1', 'channel', 'U1', NULL, 1790000520, NULL, NULL, 2, NULL),
  ('slack_two', 'slack', NULL, 'C1', 'channel', 'U1', NULL, 1790000530, NULL, NULL, 2, NULL),
  ('discord_nobody', 'discord', NULL, NULL, NULL, NULL, NULL, 1790000540, NULL, NULL, 2, NULL);
UPDATE sessions SET parent_session_id = 'cli_titled' WHERE id IN ('subagent_run', 'subagent_own');
UPDATE sessions SET model_config = '{"_delegate_from": "cli_titled"}' WHERE id = 'subagent_own';
INSERT INTO sessions (id, source, parent_session_id, model_config, started_at, message_count, title) VALUES
  ('cli_branch', 'cli', 'cli_titled', '{"_branched_from": "cli_titled"}', 1790000550, 2, 'Another way'),
  ('cli_orphan', 'cli', 'gone', NULL, 1790000560, 2, 'Its parent is gone'),
  ('cli_ring_a', 'cli', 'cli_ring_b', NULL, 1790000570, 2, 'Ring a'),
  ('cli_ring_b', 'cli', 'cli_ring_a', NULL, 1790000580, 2, 'Ring b'),
  ('cli_child_of_archived', 'cli', 'web_archived', NULL, 1790000590, 2, 'Child of an archived talk');
INSERT INTO sessions (id, source, started_at, message_count, title) VALUES
  ('imported_cli', 'cli', 1790000600, 2, 'Imported by the front end'),
  ('imported_telegram', 'telegram', 1790000610, 2, 'Imported from a chat');
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question of ' || id, started_at + 1 FROM sessions
  WHERE id NOT IN ('cli_empty', 'cli_liar', 'cron_empty_20260921_130000');
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'assistant', 'Answer', started_at + 2 FROM sessions WHERE message_count >= 2 AND id <> 'cli_liar';
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Thanks', started_at + 3 FROM sessions WHERE message_count >= 4;
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'tool', 'Late output', started_at + 4 FROM sessions WHERE message_count >= 4;
UPDATE sessions SET ended_at = started_at + 3 WHERE id = 'cli_low_value';
UPDATE sessions SET end_reason = 'agent_close' WHERE id = 'cli_low_value';
