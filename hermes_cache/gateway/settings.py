"""The settings of a gateway: where it listens, which requests it lets in, its bounds."""

from dataclasses import dataclass
from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway.

    Attributes:
        host: The address that it is bound to.
        allowed_hosts: Further `Host` names that it answers to, besides the loopback names and `host`.
        token: The token that requests must show; None if they need none.
        max_streams: The most event streams open at once; each occupies a thread.
        heartbeat_s: After so long without an event a stream sends a sign of life.
        read_timeout_s: How long a request waits for its list.

    Raises:
        ValueError: Other machines can reach `host`, and there is no token.

    Source: rule W5.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None
    max_streams: int = 64
    heartbeat_s: float = 5.0
    read_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise ValueError(
                f"other machines can reach {self.host}; give a token that requests must show, or bind to 127.0.0.1"
            )
