"""What a gateway itself does with what a cache holds: it puts payloads, evicts them, and asks what is held.

Source: rules V2, B7, P4.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from typing import cast

from hermes_cache.cache.life import ALIAS_WAIT_S, Life
from hermes_cache.cache.reads import mark_of
from hermes_cache.cache.running_cache import K, RunningCache
from hermes_cache.core.messages import Evict, Mark
from hermes_cache.errors import BuildError, PayloadError, key_text, shown
from hermes_cache.payload.content import Content, content_of
from hermes_cache.payload.freezing import freeze
from hermes_cache.payload.frozen import Json, P
from hermes_cache.threads.aside import aside


class HoldingCache(RunningCache[K, P]):
    """Lets a gateway hand in and take out payloads. `ListCache` explains the arguments."""

    def mark(self, key: K) -> Mark:
        """Note how things stand for a key, before the gateway itself reads what it will `put`.

        Like a read, it may wait for the journal and for the callables that name the key's scope.

        Raises:
            BuildError: A builder or a callable of the cache marks a key whose scope is not known.
            BuildTimeoutError: The callables did not answer within `Policy.build_timeout`.
            CacheStoppedError: The cache was stopped.
        """
        life = self._living()
        if not (self._membership.is_current() or life.runner.is_inside()):
            self._membership.catch_up()
        return mark_of(life, key, self._identity)

    async def amark(self, key: K) -> Mark:
        """Do what `mark` does without blocking the event loop."""
        return await self._prior.away.run(partial(self.mark, key))

    def put(self, key: K, payload: Mapping[str, Json], *, as_of: Mark) -> bool:
        """Hand in a payload that the gateway itself made.

        Readers that wait are answered with it if their version is not newer than the mark's. Its stamp counts as
        moved: if there are sources, the next read has the key built.

        Args:
            key: The key of the payload.
            payload: What a builder would have returned; a frozen copy of it is kept.
            as_of: What `mark` returned before the payload was read.

        Returns:
            Whether it is held now. False if an event touched the key since the mark, or what is held was read
            later, or it is larger than `Policy.max_bytes`, or the cache was stopped since the mark, or this
            process was forked.

        Raises:
            BuildError: It is no payload (B7).
            CacheStoppedError: The cache was stopped.
            TypeError: `as_of` is no mark.
            ValueError: It is the mark of another key, or of another cache.
        """
        self._check_mark(key, as_of)
        content = self._content_of(key, payload)
        life = self._living()
        return aside.do(partial(life.put, as_of, content)) if as_of.life is life.identity else False

    async def aput(self, key: K, payload: Mapping[str, Json], *, as_of: Mark) -> bool:
        """Do what `put` does without blocking the event loop."""
        return await self._prior.away.run(partial(self.put, key, payload, as_of=as_of))

    def evict(self, key: K) -> bool:
        """Let go of what is held for a key, and return whether anything was.

        Nothing else changes. A build of the key that runs or is queued goes on: it answers the readers that wait,
        and is stored. A reader that waits may still get what was held, if the rules let it have a stale payload.
        """
        life = self._life
        if life is None:
            return False
        target = life.targets.find(key, life.state.settings, ALIAS_WAIT_S) or life.targets.unasked(key)
        return life.ask(Evict((target.key,))) is True

    async def aevict(self, key: K) -> bool:
        """Do what `evict` does without blocking the event loop."""
        return await self._prior.away.run(partial(self.evict, key))

    def clear(self) -> None:
        """Let go of all that is held; as `evict` for each key."""
        life = self._life
        if life is not None:
            life.ask(Evict())

    async def aclear(self) -> None:
        """Do what `clear` does without blocking the event loop."""
        await self._prior.away.run(self.clear)

    def keys(self) -> tuple[K, ...]:
        """Return the keys of all that is held, from memory alone; those first that are evicted first."""
        life = self._life
        # The keys that are held are those that readers gave, with canonical profiles.
        return cast("tuple[K, ...]", life.actor.coldest_first() if life else ())

    def is_building(self, key: K) -> bool:
        """Say from memory alone whether a build of a key runs or is queued."""
        life = self._life
        return life is not None and life.targets.held_key(key, life.state.settings) in life.state.builds

    def _check_mark(self, key: K, mark: object) -> None:
        if not isinstance(mark, Mark):
            raise TypeError(f"as_of is {shown(mark)}; it must be what mark returned")
        self._kind.check(key)
        if mark.cache is not self._identity:
            raise ValueError(f"as_of is {mark!r}, a mark of another cache")
        if key != mark.key and self._held_key(key) != mark.target.key:
            raise ValueError(f"as_of is {mark!r}, a mark of another key; the key is {key_text(key)}")

    def _held_key(self, key: K) -> Hashable:
        life: Life | None = self._life
        return life.targets.held_key(key, life.state.settings) if life else None

    def _content_of(self, key: K, payload: Mapping[str, Json]) -> Content:
        try:
            return content_of(freeze(payload, self._kind.shape), self._kind.shape)
        except PayloadError as refused:
            raise BuildError(key, str(refused)) from refused
