"""The order in which held keys are evicted: by their last use, but keys that are used again and again go last.

Somebody may ask for many views once each, more than are held. If only the last use counted, these would push out
the views that everybody polls. So a key that was used twice within a window, and is still in use, is evicted after
all others. Source: rules P4, W6.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from heapq import merge
from itertools import dropwhile, takewhile
from math import inf
from operator import itemgetter


class UseOrder:
    """Held keys, those first that are evicted first.

    Args:
        window_s: A use within so many seconds of the one before makes a key a repeated one. 0: only the last use
            of a key counts.

    Attributes:
        now_s: The time of the last use, or later; the caller moves it.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.now_s = -inf
        self._once: OrderedDict[Hashable, float] = OrderedDict()
        self._again: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, key: Hashable) -> None:
        """Take in a key that is held from now on; until it is used it goes first."""
        if key not in self:
            self._once[key] = -inf
            self._once.move_to_end(key, last=False)

    def use(self, key: Hashable, at_s: float, times: int = 1) -> None:
        """Note that a held key was used, so many times; a key that is not held is passed over.

        Args:
            at_s: The moment, not before those of earlier calls.
        """
        last_s = self._again.get(key, self._once.get(key))
        if last_s is None:
            return
        self.now_s = max(self.now_s, at_s)
        is_again = self._window_s > 0 and (times > 1 or at_s - last_s <= self._window_s)
        known, other = (self._again, self._once) if is_again else (self._once, self._again)
        # Taken out last: whatever fails in between, no held key is missing here.
        known[key] = at_s
        known.move_to_end(key)
        other.pop(key, None)

    def drop(self, key: Hashable) -> None:
        """Forget a key that is not held any more."""
        self._once.pop(key, None)
        self._again.pop(key, None)

    def copy(self) -> "UseOrder":
        """Return another one that says the same; from any thread, also while this one changes.

        A key that is used at this very moment may be missing there.
        """
        made = UseOrder(self._window_s)
        while True:
            # An iterator says if its dict changed meanwhile, which is rare; `OrderedDict.copy` does not.
            with suppress(RuntimeError, KeyError):
                made._once, made._again = (
                    OrderedDict(list(self._once.items())),
                    OrderedDict(list(self._again.items())),
                )
                made.now_s = self.now_s
                return made

    def __contains__(self, key: Hashable) -> bool:
        return key in self._once or key in self._again

    def __iter__(self) -> Iterator[Hashable]:
        """Name the keys, those first that are evicted first."""
        ended = takewhile(self._has_ended, self._again.items())
        yield from _keys(merge(self._once.items(), ended, key=itemgetter(1)))
        yield from _keys(dropwhile(self._has_ended, self._again.items()))

    def __reversed__(self) -> Iterator[Hashable]:
        """Name the keys, those first that are evicted last."""
        backwards = partial(reversed, self._again.items())
        yield from _keys(takewhile(self._is_in_use, backwards()))
        ended = dropwhile(self._is_in_use, backwards())
        yield from _keys(merge(reversed(self._once.items()), ended, key=itemgetter(1), reverse=True))

    def _is_in_use(self, used: tuple[Hashable, float]) -> bool:
        return used[1] >= self.now_s - self._window_s

    def _has_ended(self, used: tuple[Hashable, float]) -> bool:
        return not self._is_in_use(used)


def _keys(used: Iterable[tuple[Hashable, float]]) -> Iterator[Hashable]:
    return (key for key, _ in used)
