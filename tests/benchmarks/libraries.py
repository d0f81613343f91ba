"""The caches that a user would take instead, each as its own pages advise for many readers of one key.

Each gives a read that builds at most when it must; where a library has a protection against a stampede, it is on.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Peer:
    """Another cache with one key: how it is read, and how the key is invalidated."""

    read: Read
    invalidate: Callable[[], object]


def dogpile(build: Build, _folder: Path) -> Peer:
    """dogpile.cache in memory: one lock a key; hands out the object itself."""
    region = make_region().configure("dogpile.cache.memory", expiration_time=_TTL_S)
    return Peer(lambda: region.get_or_create(_KEY, build), region.invalidate)


def cachetools_ttl(build: Build, _folder: Path) -> Peer:
    """cachetools with a condition: readers of a key that is being built wait; hands out the object itself."""
    held: Any = cachetools.TTLCache(maxsize=64, ttl=_TTL_S)
    read: Any = cachetools.cached(held, condition=threading.Condition())(build)
    return Peer(read, read.cache_clear)


def theine_memoize(build: Build, _folder: Path) -> Peer:
    """theine's decorator, which lets one caller build; hands out the object itself."""
    # Its types expect a function with parameters.
    decorate: Any = theine.Memoize(64, timedelta(seconds=_TTL_S))
    read = decorate(build)
    read.key(lambda: _KEY)
    return Peer(read, lambda: decorate.cache.delete(_KEY))


def diskcache_barrier(build: Build, folder: Path) -> Peer:
    """diskcache in a folder, built behind its barrier; every read unpickles."""
    held = diskcache.Cache(str(folder / "diskcache"))

    def store() -> object:
        payload = build()
        held.set(_KEY, payload, expire=_TTL_S)
        return payload

    build_alone: Read = diskcache.barrier(held, diskcache.Lock)(lambda: held.get(_KEY) or store())
    return Peer(lambda: held.get(_KEY) or build_alone(), lambda: held.delete(_KEY))


def flask_caching(build: Build, _folder: Path) -> Peer:
    """Flask-Caching's SimpleCache, which pickles; it has no protection against a stampede."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": _TTL_S}
    held: Any = FlaskCache(Flask("benchmark"), config=config).cache

    def store() -> object:
        payload = build()
        held.set(_KEY, payload)
        return payload

    return Peer(lambda: held.get(_KEY) or store(), lambda: held.delete(_KEY))


THREADED: Mapping[str, Callable[[Build, Path], Peer]] = {
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

    def reads_while_invalidated(self, begun: threading.Event, go_on: threading.Event) -> None:
        """Read, invalidate the key while it is being built, and read again."""
        self.runner.run(self._while_invalidated(begun, go_on))

    async def _all(self, count: int) -> None:
        await asyncio.gather(*(self._read() for _ in range(count)))

    async def _each(self, count: int) -> None:
        for _ in range(count):
            await self._read()

    async def _while_invalidated(self, begun: threading.Event, go_on: threading.Event) -> None:
        reading = asyncio.create_task(self._read())
        await asyncio.to_thread(begun.wait)
        await self._cache.delete(_KEY)
        go_on.set()
        await reading
        await self._read()
