"""Runs builders on the thread that asks for the payload.

Source: rules B2, B6.
"""

from collections.abc import Hashable

from hermes_cache.callables import settle
from hermes_cache.core.state import Target
from hermes_cache.payload.content import Content, content_of
from hermes_cache.payload.freezing import freeze
from hermes_cache.ports import Builder, EncodingBuilder


class ThreadExecutor:
    """`ports.Executor` in this process: simple, and the builder may be anything that can be called.

    Args:
        builder: The cache's own; None where every read brings one.
    """

    def __init__(self, builder: Builder | None) -> None:
        self._builder = builder

    def start(self) -> None:
        """Do nothing: the threads are the caller's."""

    def check(self, builder: Builder) -> None:
        """Accept every builder."""

    def build(self, _build_id: int, target: Target, builder: Builder | None) -> Content:
        """Build a key's content."""
        chosen = builder or self._builder
        if chosen is None:
            raise TypeError("there is no builder; give one to SessionListCache, or to the read")
        return build_here(chosen, target.key)

    def give_up(self, _build_id: int) -> None:
        """Leave a build alone: a thread cannot be killed."""

    def stop(self) -> None:
        """Do nothing: what runs ends by itself."""


def build_here(builder: Builder, key: Hashable) -> Content:
    """Build a key's content on this thread.

    Raises:
        Exception: Whatever the builder raises.
    """
    if isinstance(builder, EncodingBuilder):
        return builder.content(key)
    return content_of(freeze(settle(builder(key), "the builder")))
