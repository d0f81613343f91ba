-- Conversations that go on in another session, and those that only look so; each group has a letter.
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (25);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, model_config TEXT, parent_session_id TEXT, started_at REAL NOT NULL,
  ended_at REAL, end_reason TEXT, message_count INTEGER DEFAULT 0, title TEXT, archived INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT, timestamp REAL NOT NULL
);
CREATE INDEX idx_messages_session ON messages (session_id, timestamp);
INSERT INTO sessions (id, source, parent_session_id, started_at, ended_at, end_reason, message_count, title, model_config) VALUES
  ('a_root', 'cli', NULL, 1790001000, 1790001010, 'compression', 4, 'In the order of times', NULL),
  ('a_tip', 'cli', 'a_root', 1790001010.5, NULL, NULL, 2, NULL, NULL),
  ('b_root', 'cli', NULL, 1790001100, 1790001110.0002, 'compression', 4, 'In one transaction', NULL),
  ('b_tip', 'cli', 'b_root', 1790001110.0001, NULL, NULL, 2, NULL, NULL),
  ('c_root', 'cli', NULL, 1790001200, 1790001210, 'compression', 4, 'Its tip is empty', NULL),
  ('c_tip', 'cli', 'c_root', 1790001210.5, NULL, NULL, 0, NULL, NULL),
  ('d_root', 'desktop', NULL, 1790001300, 1790001310, 'compression', 4, 'Goes on in the terminal', NULL),
  ('d_tip', 'tui', 'd_root', 1790001310.5, NULL, NULL, 2, NULL, NULL),
  ('e_root', 'cli', NULL, 1790001400, 1790001410, 'compression', 4, 'Has two children', NULL),
  ('e_stale', 'cli', 'e_root', 1790001412, 1790001413, 'ws_orphan_reap', 2, NULL, NULL),
  ('e_live', 'cli', 'e_root', 1790001411, NULL, NULL, 2, NULL, NULL),
  ('f_root', 'cli', NULL, 1790001500, 1790001510, 'compression', 4, 'Its live child is a dead end', NULL),
  ('f_live', 'cli', 'f_root', 1790001512, NULL, NULL, 2, NULL, NULL),
  ('f_next', 'cli', 'f_root', 1790001511, 1790001515, 'compression', 2, NULL, NULL),
  ('f_tip', 'cli', 'f_next', 1790001516, NULL, NULL, 2, NULL, NULL),
  ('g_root', 'cli', NULL, 1790001600, 1790001610, 'compression', 4, 'Has a branch', NULL),
  ('g_branch', 'cli', 'g_root', 1790001611, NULL, NULL, 2, 'The branch', '{"_branched_from": "g_root"}'),
  ('h_root', 'cli', NULL, 1790001700, 1790001710, 'compression', 4, 'Was reset', NULL),
  ('h_reset', 'cli', 'h_root', 1790001711, NULL, NULL, 2, 'Begun anew', '{"_reset_from": "h_root"}'),
  ('i_root', 'cli', NULL, 1790001800, 1790001810, 'compression', 4, 'Has a delegate', NULL),
  ('i_delegate', 'subagent', 'i_root', 1790001803, NULL, NULL, 2, 'A task', '{"_delegate_from": "i_root"}'),
  ('i_tip', 'cli', 'i_root', 1790001809.9, NULL, NULL, 2, NULL, NULL),
  ('j_root', 'cli', NULL, 1790001900, 1790001910, 'compression', 4, 'Used a tool that has a session', NULL),
  ('j_tool', 'tool', 'j_root', 1790001911, NULL, NULL, 2, NULL, NULL),
  ('k_root', 'cli', NULL, 1790002000, 1790002010, 'cli_close', 4, 'Closed, then taken up', NULL),
  ('k_tip', 'cli', 'k_root', 1790002020, NULL, NULL, 2, NULL, NULL),
  ('l_root', 'cli', NULL, 1790002100, 1790002110, 'compression', 4, 'First of three', NULL),
  ('l_middle', 'cli', 'l_root', 1790002111, 1790002120, 'compression', 4, 'First of three #2', NULL),
  ('l_tip', 'cli', 'l_middle', 1790002121, NULL, NULL, 0, NULL, NULL),
  ('m_root', 'tui', NULL, 1790002200, 1790002210, 'compression', 4, 'In the TUI', NULL),
  ('m_tip', 'tui', 'm_root', 1790002211, NULL, NULL, 2, 'In the TUI #2', NULL),
  ('n_a', 'cli', 'n_b', 1790002300, 1790002310, 'compression', 2, 'A ring, one', NULL),
  ('n_b', 'cli', 'n_a', 1790002311, 1790002320, 'compression', 2, 'A ring, two', NULL),
  ('o_tip', 'cli', 'o_gone', 1790002411, NULL, NULL, 2, 'Its root is gone', NULL),
  ('q_root', 'cli', NULL, 1790002600, 1790002610, 'compression', 0, NULL, NULL),
  ('q_tip', 'cli', 'q_root', 1790002611, NULL, NULL, 0, NULL, NULL),
  ('r_root', 'cli', NULL, 1790002700, 1790002710, 'compression', 4, 'With a subagent', NULL),
  ('r_tip', 'cli', 'r_root', 1790002711, NULL, NULL, 2, NULL, NULL),
  ('r_child', 'subagent', 'r_root', 1790002705, 1790002708, 'agent_close', 2, 'The task of a subagent', '{"_delegate_from": "r_root"}'),
  ('s_root', 'telegram', NULL, 1790002800, 1790002810, 'compression', 4, NULL, NULL),
  ('s_tip', 'telegram', 's_root', 1790002811, NULL, NULL, 2, NULL, NULL),
  ('t_root', 'webui', NULL, 1790002900, 1790002910, 'compression', 4, 'In the browser', NULL),
  ('t_tip', 'webui', 't_root', 1790002911, NULL, NULL, 2, NULL, NULL);
INSERT INTO sessions (id, source, parent_session_id, started_at, ended_at, end_reason, message_count, title, archived) VALUES
  ('p_root', 'cli', NULL, 1790002500, 1790002510, 'compression', 4, 'Its root is archived', 1),
  ('p_tip', 'cli', 'p_root', 1790002511, NULL, NULL, 2, NULL, 0);
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Question of ' || id, started_at + 1 FROM sessions WHERE message_count > 0;
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'assistant', 'Answer', started_at + 2 FROM sessions WHERE message_count > 0;
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'user', 'Thanks', started_at + 3 FROM sessions WHERE message_count > 2;
INSERT INTO messages (session_id, role, content, timestamp)
  SELECT id, 'assistant', 'You are welcome', started_at + 4 FROM sessions WHERE message_count > 2;
