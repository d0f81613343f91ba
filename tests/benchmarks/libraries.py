"""The caches that a user would take instead, each as its own pages advise for many readers of one key.

Each gives a read that builds at most when it must; where a library has a protection against a stampede, it is on.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import cachetools
import cashews
import diskcache
import theine
from dogpile.cache import make_region
from flask import Flask
from flask_caching import Cache as FlaskCache

Build = Callable[[], Mapping[str, object]]
Read = Callable[[], object]

_TTL_S = 3_600
_KEY = "sessions"


def dogpile(build: Build, _folder: Path) -> Read:
    """dogpile.cache in memory: one lock a key; hands out the object itself."""
    region = make_region().configure("dogpile.cache.memory", expiration_time=_TTL_S)
    return lambda: region.get_or_create(_KEY, build)


def cachetools_ttl(build: Build, _folder: Path) -> Read:
    """cachetools with a condition: readers of a key that is being built wait; hands out the object itself."""
    held: Any = cachetools.TTLCache(maxsize=64, ttl=_TTL_S)
    read: Read = cachetools.cached(held, condition=threading.Condition())(build)
    return read


def theine_memoize(build: Build, _folder: Path) -> Read:
    """theine's decorator, which lets one caller build; hands out the object itself."""
    # Its types expect a function with parameters.
    decorate: Any = theine.Memoize(64, timedelta(seconds=_TTL_S))
    memoized = decorate(build)
    memoized.key(lambda: _KEY)
    read: Read = memoized
    return read


def diskcache_barrier(build: Build, folder: Path) -> Read:
    """diskcache in a folder, built behind its barrier; every read unpickles."""
    held = diskcache.Cache(str(folder / "diskcache"))
    build_alone: Build = diskcache.barrier(held, diskcache.Lock)(lambda: held.get(_KEY) or _stored(held, build))

    def read() -> object:
        found = held.get(_KEY)
        return build_alone() if found is None else found

    return read


def flask_caching(build: Build, _folder: Path) -> Read:
    """Flask-Caching's SimpleCache, which pickles; it has no protection against a stampede."""
    held: Any = FlaskCache(
        Flask("benchmark"), config={"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": _TTL_S}
    )

    def read() -> object:
        found = held.cache.get(_KEY)
        if found is None:
            found = build()
            held.cache.set(_KEY, found)
        return found

    return read


THREADED: Mapping[str, Callable[[Build, Path], Read]] = {
    "dogpile.cache": dogpile,
    "cachetools": cachetools_ttl,
    "theine": theine_memoize,
    "diskcache": diskcache_barrier,
    "Flask-Caching": flask_caching,
}


class Cashews:
    """cashews in memory, on an event loop: `lock=True` lets one caller build; hands out the object itself."""

    def __init__(self, build: Callable[[], Mapping[str, object]]) -> None:
        self._cache = cashews.Cache()
        self._cache.setup("mem://")
        self.runner = asyncio.Runner()

        async def build_elsewhere() -> object:
            return await asyncio.to_thread(build)

        decorate: Any = self._cache(ttl=_TTL_S, key=_KEY, lock=True)
        self._read = decorate(build_elsewhere)

    def reads(self, count: int) -> None:
        """Read so many times at once."""
        self.runner.run(self._all(count))

    def reads_in_a_row(self, count: int) -> None:
        """Read so many times, one after the other."""
        self.runner.run(self._each(count))

    async def _all(self, count: int) -> None:
        await asyncio.gather(*(self._read() for _ in range(count)))

    async def _each(self, count: int) -> None:
        for _ in range(count):
            await self._read()


def _stored(held: Any, build: Build) -> object:
    payload = build()
    held.set(_KEY, payload, expire=_TTL_S)
    return payload
