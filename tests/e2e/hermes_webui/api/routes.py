"""The seam of the program's routes: the names and shapes that the adapter uses, before a small list of our own."""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import ParseResult, parse_qs

from api import config, models, profiles

SETTINGS_FILE = Path()
builds = 0


class _Diagnostics:
    def stage(self, name: str) -> None:
        del name


def _session_list_cache_path_stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _session_list_cache_source_stamp(key: tuple[Any, ...]) -> tuple[object, ...]:
    file = profiles.get_active_hermes_home() / "state.db"
    log = file.with_name("state.db-wal")
    return _session_list_cache_path_stamp(file), _session_list_cache_path_stamp(log), len(key)


def _active_stream_ids() -> set[str]:
    return set(config.STREAMS)


def _build_session_list_cache_payload(
    *, active_profile: str, all_profiles: bool, diag: _Diagnostics
) -> dict[str, Any]:
    global builds  # noqa: PLW0603 - the test asks how many there were
    builds += 1
    diag.stage("all_sessions")
    rows = models.get_cli_sessions()
    return {"sessions": rows, "active_profile": active_profile, "all_profiles": all_profiles, "settings": {}}


def _session_list_payload_to_response(payload: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for row in payload["sessions"]:
        now = dict(row)
        if live := config.SESSIONS.get(row["session_id"]):
            now["active_stream_id"] = live.active_stream_id
            now["has_pending_user_message"] = bool(live.pending_user_message)
        rows.append({**now, "is_streaming": now.get("active_stream_id") in config.STREAMS})
    rows.sort(key=lambda row: (row["is_streaming"], row["created_at"]), reverse=True)
    kept = {name: payload[name] for name in ("active_profile", "all_profiles")}
    return {"sessions": rows, **kept, "server_time": time.time(), "server_tz": time.strftime("%z")}


def _get_cached_session_list_payload(
    *, key: tuple[Any, ...], builder: Callable[[], dict[str, Any]], diag: _Diagnostics
) -> dict[str, Any]:
    del key, diag
    return builder()


def t(
    handler: BaseHTTPRequestHandler,
    payload: bytes,
    status: int = 200,
    content_type: str = "text/plain",
    extra_headers: dict[str, str] | None = None,
) -> object:
    handler.send_response(status)
    headers = {"Content-Type": content_type, "Content-Length": str(len(payload)), "Cache-Control": "no-store"}
    for name, value in {**headers, **(extra_headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    return handler.wfile.write(payload)


def j(handler: BaseHTTPRequestHandler, payload: object, *, pretty: bool = True) -> object:
    return t(handler, json.dumps(payload, indent=2 if pretty else None).encode(), content_type="application/json")


def handle_get(handler: BaseHTTPRequestHandler, parsed: ParseResult) -> object:
    if parsed.path == "/api/sessions":
        diag = _Diagnostics()
        try:
            active_profile = profiles.get_active_profile_name()
            all_profiles = "all_profiles" in parse_qs(parsed.query)
            key = (active_profile, all_profiles)
            payload = _get_cached_session_list_payload(
                key=key,
                builder=lambda: _build_session_list_cache_payload(
                    active_profile=active_profile,
                    all_profiles=all_profiles,
                    diag=diag,
                ),
                diag=diag,
            )
            diag.stage("response_write")
            return j(handler, _session_list_payload_to_response(payload), pretty=False)
        finally:
            diag.stage("end")
    return False
