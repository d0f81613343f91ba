"""The connections of a topic: a blinker signal whose bookkeeping neither threads, signals nor finalizers disturb.

blinker keeps each connection in three tables, which it changes one after another. Whoever comes in between, be it
another thread, a signal handler or the end of a weak receiver, finds them in disagreement, and a receiver that was
disconnected from its one sender stays in the first. Here there is one table, and each connection comes and goes by
one operation of a dict, which nothing divides. So there is no lock. Source: rule E4.
"""

import weakref
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from numbers import Number
from types import MethodType
from typing import Any, TypeAlias, TypeVar, cast

from blinker import ANY, Signal

Receiver: TypeAlias = Callable[..., Any]
"""Called as `receiver(sender, event=...)`; Any, since a receiver takes the event of its topic alone."""

_R = TypeVar("_R", bound=Receiver)

_Key: TypeAlias = tuple[Hashable, Hashable]
"""The identity of the receiver, and that of the sender."""


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """One receiver of one sender, or of all.

    Attributes:
        receiver: Itself, if it is held strongly.
        reference: Returns one that is held weakly; None once it is gone.
        sender: Keeps the reference whose callback ends the connection; None if it is a plain value, or all.
    """

    receiver: Receiver | None
    reference: Callable[[], Receiver | None]
    sender: object


class Connections(Signal):
    """A blinker signal that tells receivers in the order in which they were connected.

    Its `receivers` are empty exactly if nobody is connected: a weak receiver goes with its last holder, and a
    connection to one sender goes with that sender.
    """

    def connect(self, receiver: _R, sender: object = ANY, weak: bool = True) -> _R:  # noqa: FBT001, FBT002 - blinker's
        """Have a receiver called for a sender, or for all; of two calls for the same, the later holds.

        Raises:
            TypeError: The sender could be mistaken for another one, as it is no plain value and has no weak
                references; or the receiver is to be held weakly and cannot be.
        """
        key = _identity(receiver), _sender_key(sender)
        watched = self._watched(sender, key)
        if weak:
            self._table[key] = _Connection(None, self._reference(receiver, key), watched)
        else:
            self._table[key] = _Connection(receiver, _gone, watched)
        return receiver

    def disconnect(self, receiver: Receiver, sender: object = ANY) -> None:
        """Call a receiver no more for a sender; without one, for none at all. It may not be connected."""
        identity, table = _identity(receiver), self._table
        if sender is not ANY:
            table.pop((identity, _sender_key(sender)), None)
            return
        for key in list(table):
            if key[0] == identity:
                table.pop(key, None)

    def has_receivers_for(self, sender: object) -> bool:
        """Say whether anybody would be called."""
        return any(True for _ in self.receivers_for(sender))

    def receivers_for(self, sender: object) -> Generator[Receiver, None, None]:
        """Return each receiver of a sender once, but for those that are disconnected meanwhile."""
        table, only = self._table, _sender_key(sender)
        # Neither `list(table.items())` nor `table.copy()`: on Python 3.11 the garbage collector may run in the
        # middle of both, and end a connection. It does not while a list of keys is made.
        keys = list(table)
        for key, connection in zip(keys, list(map(table.get, keys)), strict=True):
            if key[1] is not ANY and (key[1] != only or (key[0], ANY) in table):
                continue
            if connection is not None and table.get(key) is connection:
                receiver = connection.receiver
                if receiver is None:
                    receiver = connection.reference()
                if receiver is not None:
                    yield receiver

    @property
    def _table(self) -> dict[_Key, _Connection]:
        return cast("dict[_Key, _Connection]", self.receivers)

    def _watched(self, sender: object, key: _Key) -> object:
        if sender is ANY or _is_value(sender):
            return None
        try:
            return self._reference(sender, key)
        except TypeError:
            raise TypeError(
                f"{sender!r} cannot be a sender to connect to: without weak references to its kind, another "
                "object may be taken for it later; give None, a string, a number, or an instance of a class"
            ) from None

    def _reference(self, thing: Any, key: _Key) -> Callable[[], Any]:
        table = self._table

        def forget(_reference: object) -> None:
            # Before the memory of what is gone is used again: so the key is no other's yet.
            table.pop(key, None)

        return weakref.WeakMethod(thing, forget) if type(thing) is MethodType else weakref.ref(thing, forget)


def _gone() -> None:
    """Refer to nothing."""


def _identity(thing: object) -> Hashable:
    """Tell things apart while they live; a bound method is made anew at each look."""
    return (id(thing.__self__), id(thing.__func__)) if type(thing) is MethodType else id(thing)


def _sender_key(sender: object) -> Hashable:
    # In a tuple, so that no number is taken for an object.
    return sender if sender is ANY or _is_value(sender) else (_identity(sender),)


def _is_value(sender: object) -> bool:
    # By its type: a proxy passes itself off for what it stands for, and may raise if that is away.
    return sender is None or issubclass(type(sender), str) or issubclass(type(sender), Number)
