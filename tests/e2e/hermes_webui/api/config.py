"""State of the process: sessions, turns and settings."""

import threading
from pathlib import Path
from types import SimpleNamespace

LOCK = threading.Lock()
SESSIONS: dict[str, SimpleNamespace] = {}
STREAMS: dict[str, object] = {}
HOME = Path()
