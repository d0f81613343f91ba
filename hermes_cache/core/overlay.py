"""The overlay: what is live, laid over cached rows at read time.

Pure: the rows that it is given stay as they are. Source: rules O1 to O5.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveSession:
    """What the gateway knows of a session that is live now. Times in epoch seconds.

    Attributes:
        active_stream_id: The turn that produces tokens, or None.
        pending_user_message: A message that waits for its turn, or None.
        pending_started_at: Since when it waits.
        updated_at: The last change.
        last_message_at: The last message.
    """

    active_stream_id: str | None = None
    pending_user_message: object = None
    pending_started_at: float | None = None
    updated_at: float | None = None
    last_message_at: float | None = None
