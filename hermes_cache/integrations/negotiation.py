"""What a client has and can read: the headers `If-None-Match` and `Accept-Encoding`. No I/O.

Source: RFC 9110, sections 8.8.3, 12.5.3 and 13.1.2.
"""

from functools import lru_cache
from re import compile as pattern
from typing import Final, Literal, TypeAlias

from hermes_cache.rendering.bodies import Coding, codings

Encoding: TypeAlias = Coding | Literal["identity"]

PATCH_TYPE: Final = "application/vnd.hermes-cache.patch+json"
"""The media type of what changed in a list."""

_TAG: Final = pattern(r'(?:W/)?("[^"]*")')
_QUALITY: Final = pattern(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_SUFFIX: Final = pattern(r"-(gzip|zstd)$")


def has_tag(if_none_match: str | None, tag: str) -> bool:
    """Return whether a client has what a tag names.

    Args:
        if_none_match: The header: a list of tags, weak or strong, or `*`.
        tag: The tag of the answer, in quotes; `W/` before it does not count, as this comparison is weak.
    """
    if not if_none_match:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)


def tag_of(digest: str, encoding: Encoding, *, is_weak: bool = False) -> str:
    """Return the tag of a body in one encoding.

    Each encoding has a tag of its own: a cache between must not hand a compressed body to a client that cannot
    read it. The tag of a compressed body is weak, because another compressor makes other bytes of the same body.

    Args:
        digest: What names the body before it is compressed.
        encoding: How the body is sent.
        is_weak: Whether bodies of one digest may differ.
    """
    tag = f'"{digest}"' if encoding == "identity" else f'"{digest}-{encoding}"'
    return f"W/{tag}" if is_weak or encoding != "identity" else tag


def edition_of(since: str) -> str:
    """Return the edition that a client names: the edition itself, or a tag of it as `tag_of` made it."""
    return _SUFFIX.sub("", since.strip().removeprefix("W/").strip('"'))


@lru_cache(maxsize=64)
def accepted_encodings(accept_encoding: str | None) -> tuple[Encoding, ...]:
    """Return the encodings that a client can read, the one that it likes most first; none if it can read none.

    Args:
        accept_encoding: The header; None if there is none, which asks for a body that is not compressed.
    """
    if accept_encoding is None:
        return ("identity",)
    wanted = _qualities(accept_encoding)
    others = wanted.get("*")
    # A body that is not compressed can be refused, but need not be named. zstd must be: `*` is older than it.
    identity = wanted.get("identity", others)
    gzip = max((wanted[name] for name in ("gzip", "x-gzip") if name in wanted), default=others or 0.0)
    weights: dict[Encoding, float] = {"zstd": wanted.get("zstd", 0.0), "gzip": gzip, "identity": identity or 0.0}
    known: list[Encoding] = [*codings(), "identity"]
    readable = [each for each in known if weights[each] > 0 or (each == "identity" and identity is None)]
    return tuple(sorted(readable, key=lambda each: -weights[each]))


def _qualities(accept_encoding: str) -> dict[str, float]:
    wanted: dict[str, float] = {}
    for each in accept_encoding.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        quality = _QUALITY.fullmatch("".join(parameters)) if parameters else None
        if name and (quality or not parameters):
            wanted[name] = float(quality[1]) if quality else 1.0
    return wanted
