"""Executors: where builders run, on threads of this process or in worker processes.

Source: rules B2, B6, B8.
"""

from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pkgutil import resolve_name
from typing import TypeVar

from hermes_cache.core.state import Target
from hermes_cache.distribution import install_command
from hermes_cache.errors import shown
from hermes_cache.payload.content import Content, content_of
from hermes_cache.payload.freezing import freeze
from hermes_cache.payload.rows import ListShape
from hermes_cache.ports import BuildContext, Builder, EncodingBuilder, Executor
from hermes_cache.surroundings import refuse_frozen
from hermes_cache.threads.callables import check_callable, no_builder, refuse_async_generator
from hermes_cache.threads.coroutines import Coroutines

T = TypeVar("T")


def executors(
    kind: str,
    builder: Builder | str | None,
    slots: int,
    shape: ListShape,
    context: BuildContext | None = None,
) -> Callable[[Coroutines], Executor]:
    """Return what makes an executor of a kind, one for each life of a cache, from what runs its coroutines.

    Args:
        kind: "threads" or "processes".
        builder: The cache's own, or its name as "package.module:function"; None if every read brings one.
        slots: How many builds run side by side.
        shape: How lists lie in the payloads.
        context: What every builder runs inside of; None for nothing.

    Raises:
        TypeError: The builder or the context cannot be called, or cannot be pickled and must be; the builder is an
            asynchronous generator function; or the context is a coroutine function.
        ValueError: There is no such kind, or no builder of that name.
        ImportError: Worker processes are asked for, and the extra that they need is not installed.
        UnsupportedError: They are asked for, and this program is frozen.
    """
    resolved = _resolved(builder) if isinstance(builder, str) else builder
    if resolved is not None and not callable(resolved):
        raise TypeError(f"builder is {shown(builder)}; it must be callable, or named, or None")
    refuse_async_generator(resolved, "builder")
    check_callable(context, "build_context")
    if kind == "threads":
        return partial(ThreadExecutor, resolved, shape, context)
    if kind != "processes":
        raise ValueError(f"executor is {shown(kind)}; it must be 'threads' or 'processes'")
    refuse_frozen()
    try:
        processes = import_module("hermes_cache.builders.process_executor")
    except ModuleNotFoundError as missing:
        text = f"executor='processes' needs {missing.name}; {install_command('processes')}"
        raise ImportError(text) from missing
    return processes.new_executors(builder, resolved, slots, shape, context)  # type: ignore[no-any-return]  # loaded late


class ThreadExecutor:
    """`ports.Executor` in this process, on the calling thread: the builder may be anything that can be called.

    Args:
        builder: The cache's own; None if every read brings one.
        shape: How lists lie in the payloads.
        context: What every builder runs inside of; None for nothing.
        coroutines: Runs those of builders.
    """

    def __init__(
        self, builder: Builder | None, shape: ListShape, context: BuildContext | None, coroutines: Coroutines
    ) -> None:
        self._builder = builder
        self._shape = shape
        self._context = context
        self._coroutines = coroutines

    def start(self) -> None:
        """Do nothing: the threads are the caller's."""

    def check(self, builder: Builder) -> None:
        """Accept every builder."""

    def build(self, build_id: int, target: Target, builder: Builder | None) -> Content:
        """Build a key's content."""
        chosen = builder or self._builder
        if chosen is None:
            raise no_builder()
        do = partial(build_here, chosen, target.key, self._shape, self._coroutines, build_id)
        return within(self._context, target.key, do)

    def give_up(self, build_id: int) -> None:
        """Cancel a build's coroutine; a thread cannot be killed."""
        self._coroutines.cancel(build_id)

    def stop(self) -> None:
        """Cancel the coroutines; what runs on threads ends by itself."""
        self._coroutines.stop()


def build_here(
    builder: Builder, key: Hashable, shape: ListShape, coroutines: Coroutines, build_id: int | None = None
) -> Content:
    """Build a key's content on this thread; a builder's coroutine runs on a loop meanwhile.

    Raises:
        Exception: Whatever the builder raises.
    """
    if isinstance(builder, EncodingBuilder):
        return builder.content(key)
    payload = coroutines.result(builder(key), "the builder", name=build_id)
    return content_of(freeze(payload, shape), shape)


def within(context: BuildContext | None, key: Hashable, build: Callable[[], T]) -> T:
    """Run a part of a key's build inside its context (B2).

    Raises:
        BaseException: Whatever the context raises, or the build, also if the context suppresses that.
    """
    raised: BaseException
    with nullcontext() if context is None else context(key):
        try:
            return build()
        except BaseException as error:
            raised = error
            raise
    raise raised


def _resolved(name: str) -> Builder:
    try:
        builder: Builder = resolve_name(name)
    except (ValueError, ImportError, AttributeError) as failure:
        text = f"builder is {name!r}, which cannot be imported ({failure}); give 'package.module:function'"
        raise ValueError(text) from failure
    return builder
