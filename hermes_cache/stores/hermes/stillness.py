"""Whether files stand still: whether a write from now on is sure to change their stamps.

Two writes within one tick of a file system's clock can leave the same times, and the same size. So a stamp says
something about later writes only if its newest time is older than a tick. A time says nothing where it lies in the
future or comes from another machine's clock: there a file stands still once this process has seen it unchanged for
a tick of its own clock. Source: rule S2.
"""

from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from threading import RLock
from time import monotonic, monotonic_ns, time_ns
from typing import Final, NamedTuple

from hermes_cache.file_systems import MOUNTS, is_of_a_network
from hermes_cache.stores.hermes.file_stamps import FileStamp
from hermes_cache.threads.forks import after_fork_in_child

_TICK_NS: Final = 50_000_000
"""The kernel's clock ticks every 1 to 10 ms."""

_COARSE_TICK_NS: Final = 2_500_000_000
"""Some file systems keep whole seconds, or every other one."""

_SECOND_NS: Final = 1_000_000_000

_MAX_SEEN: Final = 4_096
"""Ten files each of as many profiles as one machine is likely to have."""

_MOUNTS_STAND_S: Final = 60.0
"""How long an answer about a device counts."""


class Moment(NamedTuple):
    """A moment on both clocks."""

    wall_ns: int
    monotonic_ns: int


class Stillness:
    """Knows which files stand still. Any thread may call.

    Args:
        mounts: The table of what is mounted where; without one, no file system counts as one of a network.
    """

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._mounts = mounts
        after_fork_in_child(self._start_anew)
        self._start_anew()

    @staticmethod
    def now() -> Moment:
        """Return this moment."""
        return Moment(time_ns(), monotonic_ns())

    def still_in_s(self, path: Path, stamp: Hashable, before: Moment, *, tick_ns: int = _TICK_NS) -> float:
        """Say when a write to a file is sure to change a stamp that was just taken of it.

        Args:
            before: A moment before the stamp was taken: this thread may have been held up since.
            tick_ns: For how long the file must have been still, at least.

        Returns:
            0 if every write from now on is. Else in how many seconds at the earliest, if nobody writes meanwhile.
        """
        since_ns = self._seen_since_ns(path, stamp)
        if not isinstance(stamp, FileStamp):
            return 0.0
        newest_ns = max(stamp.mtime_ns, stamp.ctime_ns)
        is_coarse = not (stamp.mtime_ns % _SECOND_NS or stamp.ctime_ns % _SECOND_NS)
        tick_ns = max(tick_ns, _COARSE_TICK_NS) if is_coarse else tick_ns
        by_sight_ns = tick_ns - (before.monotonic_ns - since_ns)
        by_time_ns = tick_ns - (before.wall_ns - newest_ns)
        is_remote = by_time_ns < 0 <= by_sight_ns and self.is_remote(path, stamp.device)
        left_ns = by_sight_ns if is_remote else min(by_sight_ns, by_time_ns)
        return 0.0 if left_ns < 0 else (left_ns + 1) / _SECOND_NS

    def is_remote(self, path: Path, device: int) -> bool:
        """Say whether a file is on a network file system; it is remembered of the file's device for a minute."""
        now_s = monotonic()
        known = self._networks.get(device)
        if known is None or now_s > known[1]:
            if len(self._networks) >= _MAX_SEEN:
                self._networks.clear()
            known = self._networks[device] = (is_of_a_network(path, self._mounts), now_s + _MOUNTS_STAND_S)
        return known[0]

    def _seen_since_ns(self, path: Path, stamp: Hashable) -> int:
        name = str(path)
        with self._lock:
            known = self._seen.get(name)
            if known is None or known[0] != stamp:
                known = (stamp, monotonic_ns())
            self._seen[name] = known
            self._seen.move_to_end(name)
            if len(self._seen) > _MAX_SEEN:
                self._seen.popitem(last=False)
        return known[1]

    def _start_anew(self) -> None:
        # A signal handler or a finalizer may look while its own thread does. Texts compare without Python code.
        self._lock = RLock()
        self._seen: OrderedDict[str, tuple[Hashable, int]] = OrderedDict()
        self._networks: dict[int, tuple[bool, float]] = {}
