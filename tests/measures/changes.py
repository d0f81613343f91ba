"""Which modules a change touches, estimated the same way for every tree.

For each of ten changes there is a *specimen*: something of that kind which every measured tree has. A module
counts if its code names the specimen, because it had to be written or changed for it. A module that names it only
in a docstring or a comment does not count, nor do tests and documents. A word is a name, or a whole string of the
source in single quotes. It is an estimate: a module that passes a value on without its name is not found, and a
module that names the specimen for another reason is.
"""

import re
from typing import Final

from tests.measures.code import Module, words_of

SPECIMENS: Final = {
    "a key field": r"'?show_kanban'?",
    "an event kind": r"StreamStopped|'?stream_stopped'?",
    "a journal backend": r"(?i).*(postgres|psycopg).*",
    "a freshness": r"'any'|Freshness\.ANY",
    "a metric": r"'?dropped_notices'?",
    "a row field": r"'?pinned'?",
    "a command": r"'?sample[_-]home'?",
    "a policy field": r"'?retry_delay_max'?",
    "the eviction rule": r"(?i)_?(evict.*|recency)",
    "a second kind of list": r"SessionListKey|LiveSession|'sessions'|'session_id'|'is_streaming'",
}
"""For each change a pattern that a word has to match as a whole."""


def touched(modules: list[Module]) -> dict[str, list[str]]:
    """Return the names of the modules that each change touches."""
    words = {module.name: words_of(module) for module in modules}
    return {
        change: [name for name, its in words.items() if any(re.fullmatch(pattern, word) for word in its)]
        for change, pattern in SPECIMENS.items()
    }
