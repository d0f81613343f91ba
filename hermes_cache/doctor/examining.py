"""An examination: all findings of what a gateway is made of, in one list."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_cache.core.policy import Policy
from hermes_cache.doctor.environment import environment_findings, read_environment
from hermes_cache.doctor.findings import GRAVITIES, SUBJECTS, Finding
from hermes_cache.doctor.home import home_findings, unreadable
from hermes_cache.doctor.policy import Deployment, policy_findings
from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes import HermesHome


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is examined.

    Attributes:
        home: The root home, or the folder of a profile.
        journal: The URL of the journal; None without one.
        policy: The policy of the cache.
        workers: How many processes serve.
        environment: The environment variables.
    """

    home: Path
    journal: str | None
    policy: Policy
    workers: int = 1
    environment: Mapping[str, str]


def examine(examined: Examined, *, thoroughly: bool) -> Sequence[Finding]:
    """Return all findings, by subject; within one, what is wrong comes first.

    Args:
        examined: What is examined.
        thoroughly: Read databases, sidecars and events, too. A gateway finds what is wrong with these by itself.
    """
    found = [*_findings(examined, thoroughly=thoroughly)]
    return sorted(found, key=lambda each: (SUBJECTS.index(each.subject), GRAVITIES.index(each.gravity)))


def _findings(examined: Examined, *, thoroughly: bool) -> Iterator[Finding]:
    yield from environment_findings(read_environment(examined.environment))
    root: Path | None = None
    try:
        locations = HermesHome(examined.home).locations
    except SourceError as error:
        yield unreadable("home-missing", error)
    else:
        root = locations.home("default")
        yield from home_findings(locations, thoroughly=thoroughly)
    if examined.journal is not None:
        # Imported only for those who have one, because of SQLAlchemy.
        from hermes_cache.doctor.journal import journal_findings  # noqa: PLC0415

        yield from journal_findings(
            examined.journal,
            home=root,
            policy=examined.policy,
            now_s=time.time(),
            thoroughly=thoroughly,
        )
    deployment = Deployment(
        workers=examined.workers,
        has_journal=examined.journal is not None,
        cpus=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
    )
    yield from policy_findings(examined.policy, deployment)


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**63  # Not known, so that nothing is too much.
