"""The settings of a gateway: where it listens, which requests it lets in, its bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from re import compile as pattern
from typing import Final

from hermes_cache.gateway.origins import Origin, host_name, is_loopback
from hermes_cache.gateway.tokens import checked_token

_PREFIX: Final = pattern(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


def reached_by_others(host: str, origins: Sequence[str]) -> str | None:
    """Return by what other machines can reach a gateway; None if only this machine can.

    Args:
        host: The address that it is bound to.
        origins: Where browsers see it, at a proxy or a tunnel.
    """
    if not is_loopback(host):
        return host or "every address of this machine"
    seen = filter(None, map(Origin.parse, origins))
    return next((str(origin) for origin in seen if not is_loopback(origin.host)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway.

    Attributes:
        host: The address that it is bound to.
        allowed_hosts: Further `Host` names that it answers to, besides the loopback names, `host` and the address
            at which a connection arrives.
        origins: Where browsers see it if that is elsewhere, such as `https://box.example` of a proxy.
        root_path: The prefix of its paths at a proxy, such as `/hermes`; empty if there is none.
        token: The token that requests must show, of at least 16 visible ASCII characters; None if they need none.
        max_streams: The most event streams open at once.
        heartbeat_s: After so long without an event a stream sends a sign of life.
        read_timeout_s: How long a request waits for its list.
        access_log: Whether each request is logged, and not only refusals.

    Raises:
        ValueError: A setting is malformed, or other machines can reach the gateway and there is no token.

    Source: rule W5.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    root_path: str = ""
    token: str | None = None
    max_streams: int = 1_000
    heartbeat_s: float = 15.0
    read_timeout_s: float = 30.0
    access_log: bool = False

    def __post_init__(self) -> None:
        for name in self.allowed_hosts:
            if host_name(name) is None or (":" in name and not name.endswith("]")):
                raise ValueError(f"{name} is not a host name; give a name alone, such as box.example")
        for origin in self.origins:
            if Origin.parse(origin) is None:
                raise ValueError(
                    f"{origin} is not an origin; give scheme, name and port, as in https://box.example"
                )
        if not _PREFIX.fullmatch(self.root_path):
            raise ValueError(f"{self.root_path} is not a prefix of paths; give one such as /hermes")
        if self.token is not None:
            checked_token(self.token)
        elif reached := reached_by_others(self.host, self.origins):
            raise ValueError(
                f"other machines can reach {reached}; give a token that requests must show, or bind to 127.0.0.1"
            )
