"""What a gateway is told at its start: where it listens, whom it lets in, how much it holds open."""

from dataclasses import dataclass
from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is reached from this machine alone."""
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
        allowed_hosts: `Host` names that it answers to, beside the loopback names and `host`.
        token: What a request must show; None for none.
        max_streams: Event streams open at once; each holds a thread.
        heartbeat_s: Silence after which a stream says that it lives.
        read_timeout_s: How long a request waits for its list.

    Raises:
        ValueError: `host` is reached from other machines, and there is no token.

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
                f"{self.host} is reached from other machines; give a token that requests must show, "
                "or bind to 127.0.0.1"
            )
