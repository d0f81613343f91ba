"""The socket that a gateway listens on. It can be bound before the parts that serve are imported.

Source: rule W6.
"""

import socket
from typing import Final

BACKLOG: Final = 128
"""How many connections wait in the system until the server accepts them."""

_SOCKET_OPTIONS: Final = (
    # Head and body are two writes. asyncio sets it only for sockets that were made with the number of TCP.
    ("TCP_NODELAY", 1),
    ("SO_KEEPALIVE", 1),
    ("TCP_KEEPIDLE", 20),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
    ("TCP_NOTSENT_LOWAT", 128 * 1024),
)
"""With the others the system finds within 60 s that a peer is gone without a word, whether or not something is
sent, and keeps little of an answer that nobody reads."""


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: The address.
        port: 0 takes a free one.

    Raises:
        OSError: The address cannot be bound.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    # The system hands these on to every connection that it accepts.
    for name, value in _SOCKET_OPTIONS:
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        if hasattr(socket, name):
            bound.setsockopt(level, getattr(socket, name), value)
    return bound
