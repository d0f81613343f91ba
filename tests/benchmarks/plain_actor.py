"""An ordinary pykka actor, whose mailbox runs on its own thread: what every ask would cost without another one."""

from collections.abc import Hashable, Mapping
from typing import Any

import pykka


class PlainActor(pykka.ThreadingActor):
    """Answers a key from a dict.

    Args:
        held: What it answers.
    """

    def __init__(self, held: Mapping[Hashable, object]) -> None:
        super().__init__()
        self._held = held

    def on_receive(self, message: Any) -> Any:
        """Return what is held for a key."""
        return self._held.get(message)
