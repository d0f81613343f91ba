"""Where sessions come from: the homes and stores of agents, which are only read."""

from hermes_cache.stores.claude_code import ClaudeCode
from hermes_cache.stores.session_store import Changes, NotifiedStore, SessionStore

__all__ = ["Changes", "ClaudeCode", "NotifiedStore", "SessionStore"]
