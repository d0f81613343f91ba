"""What an act costs, counted in steps of the interpreter: no machine and no load changes that."""

import sys
from collections.abc import Callable
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, TypeAlias

from tests.integration.thrown import without_collector

Act: TypeAlias = Callable[[], object]


def steps_of(act: Act) -> int:
    """Count the instructions that are run; a copy of a table of pointers is one."""
    with without_collector():
        return _monitored(act) if sys.version_info >= (3, 12) else _traced(act)


def _traced(act: Act) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def _monitored(act: Act) -> int:
    # A trace function of Python 3.12 is told of no instruction at times.
    count, own = 0, get_ident()

    def note(_code: CodeType, _offset: int) -> None:
        nonlocal count
        # Python tells of the instructions of all threads.
        count += get_ident() == own

    monitoring: Any = getattr(sys, "monitoring")  # noqa: B009 - Python 3.11 has none
    monitoring.use_tool_id(monitoring.PROFILER_ID, "costs")
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, note)
    monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
    try:
        act()
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
    return count
