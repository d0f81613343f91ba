"""hermes-webui's session lists, kept by hermes_cache. README.md says where this file goes and what calls it."""

import time
from contextlib import ExitStack
from typing import Any

from api import config, models, profiles, routes

from hermes_cache import LiveSession, Policy, SessionListCache, SessionListKey


def acting_for(key: SessionListKey) -> ExitStack:
    """Set the profile of this thread, where the program looks for it, until the stack is closed."""
    stack = ExitStack()
    stack.callback(profiles.set_request_profile, getattr(profiles._tls, "profile", None))
    profiles.set_request_profile(key.profile)
    return stack


def stamp(key: SessionListKey) -> Any:
    """Return the program's own stamp. An empty log, which any reader of the database leaves, counts as none."""
    with acting_for(key):
        parts = routes._session_list_cache_source_stamp(dict(key.extra)["webui"])
    return (parts[0], (0, 0), *parts[2:]) if parts[1:2] and parts[1][1:] == (0,) else parts


def live_sessions() -> dict[str, LiveSession]:
    with config.LOCK:
        return {session_id: LiveSession.of(session) for session_id, session in config.SESSIONS.items()}


cache = SessionListCache(
    sources=stamp,
    build_context=acting_for,
    live_sessions=live_sessions,
    active_stream_ids=lambda: routes._active_stream_ids(),
    settings_version=lambda: routes._session_list_cache_path_stamp(routes.SETTINGS_FILE),
    policy=Policy.strict(poll_interval=30.0),  # the front end's, while a turn runs
)


def publish(reason: str, profile: str | None, session_id: str | None) -> None:
    models.clear_cli_sessions_cache()
    cache.invalidate(profile, reason, session_id)


def answer(handler: Any, key: tuple[Any, ...], builder: Any) -> None:
    def build(_own_key: SessionListKey) -> dict[str, Any]:
        body = routes._session_list_payload_to_response(builder())
        return {name: body[name] for name in body if name not in now}

    own_key = SessionListKey(key[0], all_profiles=key[1], extra=(("webui", key),))
    now = {"server_time": time.time(), "server_tz": time.strftime("%z")}
    for _ in range(3):
        found = cache.render(own_key, builder=build, envelope=now)
        if found.lookup.overtaken_by is None:
            break
    gzip = {"Content-Encoding": "gzip"} if "gzip" in handler.headers.get("Accept-Encoding", "") else {}
    routes.t(handler, found.encoded("gzip") if gzip else found.body, 200, "application/json; charset=utf-8", gzip)
