"""Chooses where builders run.

Source: rules B2, B8.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pkgutil import resolve_name

from hermes_cache.builders.thread_executor import ThreadExecutor
from hermes_cache.callables import refuse_coroutine
from hermes_cache.ports import Builder, Executor


def executors(kind: str, builder: Builder | str | None, slots: int) -> Callable[[], Executor]:
    """Return what makes an executor of a kind, one for each life of a cache.

    Args:
        kind: "threads" or "processes".
        builder: The cache's own, or its name as "package.module:function"; None where every read brings one.
        slots: How many builds run side by side.

    Raises:
        TypeError: The builder cannot be called, is a coroutine function, or cannot be pickled and must be.
        ValueError: There is no such kind, or no builder of that name.
        ImportError: Worker processes are asked for, and the extra that they need is not installed.
    """
    resolved = _resolved(builder) if isinstance(builder, str) else builder
    if resolved is not None and not callable(resolved):
        raise TypeError(f"builder is {builder!r}; it must be callable, or named, or None")
    refuse_coroutine(resolved, "builder")
    if kind == "threads":
        return partial(ThreadExecutor, resolved)
    if kind != "processes":
        raise ValueError(f"executor is {kind!r}; it must be 'threads' or 'processes'")
    try:
        processes = import_module("hermes_cache.builders.process_executor")
    except ModuleNotFoundError as missing:
        told = f"executor='processes' needs {missing.name}; pip install 'hermes_cache[processes]'"
        raise ImportError(told) from missing
    spec = None if builder is None else processes.pickled(builder)
    return partial(processes.ProcessExecutor, spec, slots, scoped=processes.is_scoped(resolved))


def _resolved(name: str) -> Builder:
    try:
        builder: Builder = resolve_name(name)
    except (ValueError, ImportError, AttributeError) as failure:
        told = f"builder is {name!r}, which cannot be imported ({failure}); give 'package.module:function'"
        raise ValueError(told) from failure
    return builder
