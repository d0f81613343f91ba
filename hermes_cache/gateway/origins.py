"""The names that a gateway is known by: what `Host` and `Origin` headers say. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from re import IGNORECASE
from re import compile as pattern
from typing import Final, Self

_HOST: Final = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_HOST_HEADER: Final = pattern(_HOST, IGNORECASE)
_ORIGIN: Final = pattern(rf"(?P<scheme>https?)://{_HOST}/?", IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page comes from, as browsers see it: two pages belong together if all three parts are equal.

    Attributes:
        host: A name or an address in small letters, without brackets and without a dot at its end.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the origin that a text names; None if it names none, as `null` does."""
        found = _ORIGIN.fullmatch(text)
        if found is None:
            return None
        scheme = found["scheme"].lower()
        return cls(scheme, plain_name(found["host"]), int(found["port"] or _PORTS[scheme]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def plain_name(host: str) -> str:
    """Return a name or an address in the one form that is compared.

    Args:
        host: As it stands in a header or in a setting; an address may be in brackets.
    """
    name = host.lower().strip("[]").rstrip(".")
    try:
        return ip_address(name).compressed
    except ValueError:
        return name


@lru_cache(maxsize=64)
def host_name(text: str) -> str | None:
    """Return the name or address in a `Host` header, in the form of `Origin.host`; None if there is none."""
    found = _HOST_HEADER.fullmatch(text)
    return plain_name(found["host"]) if found else None


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host name or address."""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def addresses_for_browsers(url: str, origins: Sequence[str], root_path: str) -> tuple[str, ...]:
    """Return the addresses at which a person finds a gateway.

    Args:
        url: Where it listens.
        origins: Where browsers see it, at a proxy or a tunnel.
        root_path: The prefix of its paths. All addresses have it: a browser sends the cookie below it alone.
    """
    # No browser opens the address that stands for all addresses, but the gateway answers at loopback too.
    here = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return tuple(f"{each.rstrip('/')}{root_path}/" for each in (here, *origins))
