"""The profile of a request, which the program keeps on the thread."""

import threading
from pathlib import Path

from api import config

_tls = threading.local()


def set_request_profile(name: str | None) -> None:
    _tls.profile = name


def get_active_profile_name() -> str:
    return getattr(_tls, "profile", None) or "default"


def get_active_hermes_home() -> Path:
    name = get_active_profile_name()
    home: Path = config.HOME
    return home if name == "default" else home / "profiles" / name
