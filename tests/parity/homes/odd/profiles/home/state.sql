CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, parent_session_id TEXT, started_at REAL NOT NULL, ended_at REAL, end_reason TEXT, message_count INTEGER DEFAULT 0, title TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT, timestamp REAL NOT NULL);
CREATE INDEX idx_messages_session ON messages (session_id, timestamp);
INSERT INTO sessions VALUES
  ('twice', 'cli', 'm1', NULL, 1790001000, NULL, NULL, 2, 'The same id at home');
INSERT INTO messages (session_id, role, content, timestamp) SELECT id, 'user', 'Question', started_at + 1 FROM sessions;
