"""Lists of chat sessions: their key, their cache, and what is live laid over their rows."""
