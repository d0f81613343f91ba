"""Contents of session lists, as builders make them."""

from hermes_cache.payload import content
from hermes_cache.payload.content import Content
from hermes_cache.payload.frozen import Payload
from hermes_cache.sessions.rows import SESSION_LIST


def content_of(payload: Payload) -> Content:
    """Return the content of a frozen list of sessions."""
    return content.content_of(payload, SESSION_LIST)
