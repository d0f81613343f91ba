-- What no program should write, and some do. Columns have no constraints, so that anything can stand in them.
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (30);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, source TEXT, user_id TEXT, session_key TEXT, chat_id TEXT, chat_type TEXT, thread_id TEXT,
  display_name TEXT, model TEXT, model_config TEXT, parent_session_id TEXT, started_at REAL, ended_at REAL, end_reason TEXT,
  message_count INTEGER DEFAULT 2, tool_call_count INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0,
  output_tokens INTEGER DEFAULT 0, cache_read_tokens INTEGER DEFAULT 0, cache_write_tokens INTEGER DEFAULT 0,
  cwd TEXT, billing_provider TEXT, estimated_cost_usd REAL, actual_cost_usd REAL, title TEXT, archived INTEGER, pinned INTEGER,
  hidden INTEGER, last_activity_at REAL
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, role TEXT, content TEXT, timestamp REAL, active INTEGER,
  display_kind TEXT
);
CREATE INDEX idx_messages_session ON messages (session_id, timestamp);

-- Times.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('time_future', 'cli', 4102444800, 'In the year 2100'),
  ('time_far', 'cli', 5e246, 'After the end of time'),
  ('time_infinite', 'cli', 9e999, 'At no end'),
  ('time_negative', 'cli', -86400, 'Before 1970'),
  ('time_zero', 'cli', 0, 'In 1970'),
  ('time_null', 'cli', NULL, 'At no time'),
  ('time_ms', 'cli', 1790000100000, 'In milliseconds');
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question', 1790000100 + rowid FROM sessions WHERE id LIKE 'time_%';
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('message_future', 'cli', 1790000200, 'Its message comes from 2100'),
  ('message_far', 'cli', 1790000210, 'Its message comes after the end of time'),
  ('message_negative', 'cli', 1790000220, 'Its message is older than 1970'),
  ('message_null', 'cli', 1790000230, 'Its message has no time'),
  ('message_ms', 'cli', 1790000260, 'Its message has a time in milliseconds');
INSERT INTO messages (session_id, role, content, timestamp) VALUES
  ('message_future', 'user', 'Question', 4102444800), ('message_far', 'user', 'Question', 5e246),
  ('message_negative', 'user', 'Question', -86400), ('message_null', 'user', 'Question', NULL),
  ('message_ms', 'user', 'Question', 1790000261000);

-- Rows of one moment.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('same_c', 'cli', 1790000300, 'Same c'), ('same_a', 'tui', 1790000300, 'Same a'), ('same_b', 'cli', 1790000300, 'Same b'),
  ('same_e', 'telegram', 1790000300, NULL), ('same_d', 'subagent', 1790000300, 'Same d'), ('same_B', 'cli', 1790000300, 'Same B');
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question of ' || id, 1790000301 FROM sessions WHERE id LIKE 'same_%';

-- Titles.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('title_long', 'cli', 1790000400, 'Long ' || replace(hex(zeroblob(400)), '00', 'word ')),
  ('title_bidi', 'cli', 1790000402, 'Safe ' || char(8238) || 'gnp.exe' || char(8236)),
  ('title_zero_width', 'cli', 1790000404, 'Zero' || char(8203) || 'width' || char(65279)),
  ('title_only_zero_width', 'cli', 1790000406, char(8203)),
  ('title_nul', 'cli', 1790000408, 'Before' || char(0) || 'after'),
  ('title_lines', 'cli', 1790000410, 'Two' || char(10) || 'lines' || char(13) || char(9) || 'and a tab'),
  ('title_padded', 'cli', 1790000412, '   Padded   '),
  ('title_blank', 'cli', 1790000414, '   '),
  ('title_empty', 'cli', 1790000416, ''),
  ('title_untitled', 'cli', 1790000418, 'Untitled'),
  ('title_generic', 'tui', 1790000420, 'TUI Session'),
  ('title_number', 'cli', 1790000422, 42),
  ('title_html', 'cli', 1790000426, '<img src=x onerror=alert(1)> & "quoted"'),
  ('title_emoji', 'cli', 1790000428, char(128105, 8205, 128187) || ' e' || char(769)),
  ('title_escape', 'cli', 1790000430, char(27) || '[31mRed' || char(27) || '[0m');
-- Ids.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('id with spaces', 'cli', 1790000500, 'Spaces'), (' id_padded ', 'cli', 1790000502, 'Padded'),
  ('id/../slash', 'cli', 1790000504, 'Slash'), ('id"quote''s', 'cli', 1790000506, 'Quotes'),
  ('id_' || char(233), 'cli', 1790000508, 'Accent'), ('id_' || char(128512), 'cli', 1790000510, 'Emoji'),
  ('__proto__', 'cli', 1790000512, 'Prototype'), ('ID_CASE', 'cli', 1790000514, 'Upper'), ('id_case', 'cli', 1790000516, 'Lower'),
  (replace(hex(zeroblob(200)), '00', 'id'), 'cli', 1790000518, 'Long'), (7, 'cli', 1790000520, 'Number'),
  ('', 'cli', 1790000522, 'Empty'), (NULL, 'cli', 1790000524, 'Null'), ('id' || char(10) || 'line', 'cli', 1790000526, 'Line'),
  ('cron__20260921_130000', 'cron', 1790000528, NULL), ('cron_20260921_130000', 'cron', 1790000530, NULL),
  ('cron_x_20261399_996199', 'cron', 1790000532, NULL), ('cron_named_cli', 'cli', 1790000534, NULL);
-- Sources.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('source_null', NULL, 1790000600, 'Null'), ('source_empty', '', 1790000602, 'Empty'), ('source_blank', '  ', 1790000604, 'Blank'),
  ('source_upper', 'CLI', 1790000606, 'Upper'), ('source_padded', ' cli ', 1790000608, 'Padded'),
  ('source_telegram', 'Telegram', 1790000610, NULL), ('source_plugin', 'irc', 1790000612, NULL),
  ('source_unknown', 'UNKNOWN', 1790000616, NULL),
  ('source_codex', 'codex', 1790000620, 'From another agent'),
  ('source_webui_upper', 'WebUI', 1790000622, 'Own, in capitals'), ('source_local', 'local', 1790000624, NULL),
  ('source_oneshot', 'oneshot', 1790000626, NULL), ('source_whatsapp', 'whatsapp', 1790000628, NULL),
  ('source_email', 'email', 1790000630, 'A letter'), ('source_fork', 'fork', 1790000632, 'Forked');
-- Counts, flags, other values.
INSERT INTO sessions (id, source, started_at, title, message_count, input_tokens, estimated_cost_usd, archived, pinned, model, cwd) VALUES
  ('count_negative', 'cli', 1790000700, 'Negative', -3, -5, -1.5, NULL, NULL, NULL, NULL),
  ('count_text', 'cli', 1790000702, 'Text', 'many', 'few', 'cheap', 'no', 'yes', 5, 7),
  ('count_null', 'cli', 1790000704, 'Null', NULL, NULL, NULL, NULL, NULL, '', ''),
  ('count_huge', 'cli', 1790000706, 'Huge', 9223372036854775807, 9223372036854775807, 1e300, 0, 0, 'm' || char(0), '/srv/' || char(10)),
  ('count_lies', 'cli', 1790000708, 'Says 40, has 1', 40, 0, 0, 0, 0, 'm1', '/srv/app'),
  ('count_more', 'cli', 1790000710, 'Says 1, has 3', 1, 0, 0, 0, 0, 'm1', 'https://u:pass123word@host/app');
-- Messages.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('roles_tool', 'cli', 1790000800, 'Tools alone'), ('roles_system', 'cli', 1790000802, 'The system alone'),
  ('roles_null', 'cli', 1790000804, 'No role'),
  ('hidden_first', 'tui', 1790000808, NULL), ('inactive_all', 'tui', 1790000810, NULL), ('content_null', 'tui', 1790000812, NULL),
  ('content_parts', 'tui', 1790000814, NULL), ('content_blank', 'tui', 1790000816, NULL);
INSERT INTO messages (session_id, role, content, timestamp, active, display_kind) VALUES
  ('roles_tool', 'tool', 'Output', 1790000801, 1, NULL), ('roles_system', 'system', 'Be nice', 1790000803, 1, NULL),
  ('roles_null', NULL, 'Who said this?', 1790000805, 1, NULL),
  ('hidden_first', 'user', 'Hidden', 1790000809, 1, 'hidden'), ('hidden_first', 'user', 'Shown', 1790000809.5, 1, NULL),
  ('inactive_all', 'user', 'Taken back', 1790000811, 0, NULL), ('content_null', 'user', NULL, 1790000813, 1, NULL),
  ('content_parts', 'user', '[{"type": "text", "text": "In parts"}]', 1790000815, NULL, NULL),
  ('content_blank', 'user', '  ' || char(10), 1790000817, 1, NULL), ('count_more', 'user', 'One', 1790000711, 1, NULL),
  ('count_more', 'user', 'Two', 1790000712, 1, NULL);
-- Lineage.
INSERT INTO sessions (id, source, parent_session_id, started_at, ended_at, end_reason, title) VALUES
  ('self_parent', 'cli', 'self_parent', 1790000900, 1790000901, 'compression', 'Its own parent'),
  ('ended_before', 'cli', NULL, 1790000910, 1790000100, 'agent_close', 'Ended before it began'),
  ('parent_empty', 'cli', '', 1790000912, NULL, NULL, 'Its parent is empty'),
  ('chain_ring_a', 'cli', 'chain_ring_b', 1790000914, 1790000915, 'compression', 'Chain ring a'),
  ('chain_ring_b', 'cli', 'chain_ring_a', 1790000916, 1790000917, 'compression', 'Chain ring b'),
  ('reason_odd', 'cli', NULL, 1790000918, NULL, 'COMPRESSION', 'Ended loudly'),
  ('reason_odd_child', 'cli', 'reason_odd', 1790000920, NULL, NULL, 'Child of what ended loudly');
-- Sessions that others have too.
INSERT INTO sessions (id, source, started_at, title) VALUES
  ('twice', 'cli', 1790001000, 'In two profiles'), ('twice_web', 'webui', 1790001002, 'Of another profile, says the front end'),
  ('sidecar_of_work', 'cli', 1790001004, 'Imported under another profile'), ('web_list', 'webui', 1790001006, 'Named in the database');
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question of ' || id, started_at + 1 FROM sessions
  WHERE id LIKE 'title_%' OR id LIKE 'source_%' OR started_at BETWEEN 1790000500 AND 1790000599
  OR started_at BETWEEN 1790000700 AND 1790000799 OR started_at BETWEEN 1790000900 AND 1790001999;
