"""A builder with a gate: the test decides when a build ends, and how."""

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Condition

from hermes_cache.sessions.keys import SessionListKey


def numbered_payload(key: SessionListKey, call: int) -> Mapping[str, object]:
    """Return an empty list with the number of the call of the builder that made it."""
    return {"sessions": [], "profile": key.profile_name, "call": call}


class GatedBuilder:
    """A `hermes_cache.ports.Builder` whose calls are counted, and then wait at a gate.

    The gate is closed at first. Any thread may call.

    Args:
        payload: Makes the payload of a call from the key and the number of the call for that key, from 1.
        is_open: Whether the gate is open from the start.
        patience_s: A call that waits longer raises an error, so that a forgotten gate hangs no test.
    """

    def __init__(
        self,
        payload: Callable[[SessionListKey, int], Mapping[str, object]] = numbered_payload,
        *,
        is_open: bool = False,
        patience_s: float = 30.0,
    ) -> None:
        self._payload = payload
        self._is_open = is_open
        self._patience_s = patience_s
        self._moved = Condition()
        self._permits = 0
        self._error: BaseException | None = None
        self._calls: Counter[SessionListKey] = Counter()
        self._waiting = 0

    def __call__(self, key: SessionListKey, /) -> Mapping[str, object]:
        """Count, wait at the gate, then return the payload or raise the error of `fail_with`.

        Raises:
            TimeoutError: The gate stayed closed for `patience_s`.
        """
        with self._moved:
            self._calls[key] += 1
            call = self._calls[key]
            self._pass_the_gate(key)
            error = self._error
        if error is not None:
            raise error
        return self._payload(key, call)

    @property
    def waiting(self) -> int:
        """How many calls wait at the gate now."""
        with self._moved:
            return self._waiting

    def calls(self, key: SessionListKey | None = None) -> int:
        """Return how many calls began, for a key or in all."""
        with self._moved:
            return self._count(key)

    def open(self) -> None:
        """Let every call through, until `close`."""
        with self._moved:
            self._is_open = True
            self._moved.notify_all()

    def close(self) -> None:
        """Stop calls that come from now on."""
        with self._moved:
            self._is_open = False
            self._permits = 0

    def let_through(self, calls: int = 1) -> None:
        """Let so many calls through, those that wait and those that come."""
        with self._moved:
            self._permits += calls
            self._moved.notify_all()

    def fail_with(self, error: BaseException | None) -> None:
        """Make each call raise an error after the gate; None ends that."""
        with self._moved:
            self._error = error

    def wait_for_calls(self, calls: int, key: SessionListKey | None = None, *, timeout_s: float = 30.0) -> None:
        """Wait until so many calls began, for a key or in all.

        Raises:
            TimeoutError: Fewer calls began in time.
        """
        with self._moved:
            if not self._moved.wait_for(lambda: self._count(key) >= calls, timeout_s):
                raise TimeoutError(f"{self._count(key)} of {calls} calls began within {timeout_s:g} s")

    def _count(self, key: SessionListKey | None) -> int:
        return self._calls.total() if key is None else self._calls[key]

    def _pass_the_gate(self, key: SessionListKey) -> None:
        self._waiting += 1
        self._moved.notify_all()
        let_through = self._moved.wait_for(lambda: self._is_open or self._permits > 0, self._patience_s)
        self._waiting -= 1
        if not let_through:
            raise TimeoutError(f"the gate stayed closed for {self._patience_s:g} s; call open() to build {key}")
        if not self._is_open:
            self._permits -= 1
