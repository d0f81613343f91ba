"""A plugin for the tests of hermes-webui itself: the functions of its old cache, which only they still call.

They read through the adapter's cache and name the old steps to the diagnostics of a request.
"""

from collections.abc import Callable, Mapping
from typing import Any


def pytest_collection_finish() -> None:
    """Replace them once the program was imported by its own tests, which set its environment first."""
    from api import routes, session_lists  # noqa: PLC0415 - see above

    from hermes_cache import SessionListKey  # noqa: PLC0415 - as the program does

    cache = session_lists.cache

    def get(*, key: tuple[Any, ...], builder: Callable[[], Mapping[str, Any]], diag: Any = None) -> object:
        stage = str if diag is None else diag.stage
        own_key = SessionListKey(key[0], all_profiles=key[1], extra=(("is_body", False), ("webui", key)))
        stage("session_list_cache_lookup")
        if cache.is_building(own_key):
            stage("session_list_cache_wait")
        for attempt in range(3):
            # One piece: the rows stay exactly as they were built.
            found = cache.lookup(own_key, builder=lambda _own_key: {"built": builder()})
            if attempt == 0 and found.outcome == "built":
                stage("session_list_cache_rebuild_owner")
            if found.overtaken_by is None:
                break
            stage("session_list_cache_invalidated_during_rebuild")
        stage(f"session_list_cache_{'hit' if found.outcome == 'hit' else 'stored'}")
        return found.payload["built"]

    routes._get_cached_session_list_payload = get
    routes._session_list_cache_clear = cache.invalidate
