"""What a cache is to be like, from the configuration of an application and from the environment. No I/O.

A name is a prefix and a field, such as `HERMES_CACHE_JOURNAL` or, of the policy, `HERMES_CACHE_TTL`. What the
application says counts before the environment. Source: rule W4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Final, Literal, cast

from hermes_cache.core.policy import Policy
from hermes_cache.errors import HermesCacheError, shown
from hermes_cache.integrations.texts import FLAGS, flag_of

_TYPES: Final = {each.name: each.type for each in fields(Policy)}
_OTHERS: Final = ("home", "journal", "executor", "strict", "max_streams")


class SettingError(HermesCacheError, ValueError):
    """A setting has a name or a value that is not known.

    Attributes:
        name: The setting's name.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name} {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What a cache is to be like.

    Attributes:
        policy: Its policy; `strict` in the configuration makes one of `Policy.strict`.
        home: The folder of a Hermes home; None for the usual one.
        journal: The URL of its journal; None for none.
        executor: Where builders run.
        max_streams: The most event streams at once; None for the default.
    """

    policy: Policy = field(default_factory=Policy)
    home: str | None = None
    journal: str | None = None
    executor: Literal["threads", "processes"] = "threads"
    max_streams: int | None = None


def settings_in(
    config: Mapping[str, object], environment: Mapping[str, str], prefix: str = "HERMES_CACHE"
) -> CacheSettings:
    """Return the settings of a cache.

    Args:
        config: That of the application.
        environment: The environment, whose values are texts; a blank one counts as absent.
        prefix: What the names begin with.

    Raises:
        PolicyError: A field of the policy has a value that cannot work.
        SettingError: The application has a setting of the prefix that is not known, or a value is not known.
    """
    given = {name: value for name, value in environment.items() if value.strip()} | dict(config)
    found: dict[str, object] = {}
    for name in (*_TYPES, *_OTHERS):
        if (full_name := f"{prefix}_{name.upper()}") in given:
            found[name] = _read(full_name, name, given[full_name])
    _refuse_unknown(config, prefix)
    executor = found.get("executor") or "threads"
    if executor not in ("threads", "processes"):
        raise SettingError(f"{prefix}_EXECUTOR", f"is {shown(executor)}; it must be threads or processes")
    most = found.get("max_streams")
    if most is not None and not (isinstance(most, int) and most >= 0):
        raise SettingError(f"{prefix}_MAX_STREAMS", f"is {shown(most)}; it must be a whole number, 0 for none")
    make_policy = Policy.strict if found.get("strict") else Policy
    return CacheSettings(
        policy=make_policy(**{name: value for name, value in found.items() if name in _TYPES}),  # type: ignore[arg-type]
        home=cast("str | None", found.get("home")),
        journal=cast("str | None", found.get("journal")),
        executor=executor,
        max_streams=most,
    )


def _read(full_name: str, name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name == "strict":
        flag = flag_of(value)
        if flag is None:
            raise SettingError(full_name, f"is {shown(value)}; it must be {FLAGS}")
        return flag
    wanted = int if name == "max_streams" else _TYPES.get(name)
    if wanted is None:
        return value.strip()
    try:
        return int(value) if wanted is int else float(value)
    except ValueError:
        kind = "a whole number" if wanted is int else "a number"
        raise SettingError(full_name, f"is {shown(value)}; it must be {kind}") from None


def _refuse_unknown(config: Mapping[str, object], prefix: str) -> None:
    known = [f"{prefix}_{name.upper()}" for name in (*_TYPES, *_OTHERS)]
    for name in config:
        if name.startswith(f"{prefix}_") and name not in known:
            near = get_close_matches(name, known, 1)
            raise SettingError(name, f"is not known; did you mean {near[0]}?" if near else "is not known")
