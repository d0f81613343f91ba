"""What is wrong with a policy, and with how many processes serve by it. All of it is pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from re import search
from typing import Final

from hermes_cache.core.policy import Policy
from hermes_cache.doctor.findings import Finding

_CADENCES_PER_TTL: Final = 1.5
"""As of the streaming TTL (H3)."""

_GENEROUS_SHARE: Final = 0.5
"""Of the memory that is there. Entries are counted by their encoded size; as objects they take more."""

_COUNT_VARIABLES: Final = ("WEB_CONCURRENCY", "UVICORN_WORKERS")
_ARGUMENTS_VARIABLE: Final = "GUNICORN_CMD_ARGS"

_wrong: Final = partial(Finding, "policy", "wrong")
_hint: Final = partial(Finding, "policy", "hint")


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a policy is used.

    Attributes:
        workers: How many processes serve.
        has_journal: Whether they share a journal.
        cpus: How many processors there are.
        memory_bytes: How much memory there is.
    """

    workers: int
    has_journal: bool
    cpus: int
    memory_bytes: int


def policy_findings(policy: Policy, deployment: Deployment) -> Iterator[Finding]:
    """Find what is wrong with a policy."""
    cadence = policy.poll_interval
    if cadence is not None and 0 < policy.ttl <= cadence:
        what = (
            f"the ttl, {policy.ttl:g} s, is not longer than poll_interval, {cadence:g} s, so every poll finds its"
        )
        todo = f"take a longer ttl, such as {cadence * _CADENCES_PER_TTL:g} s"
        yield _hint("ttl-under-cadence", f"{what} list aged and has it built again", todo)
    if deployment.workers > 1 and not deployment.has_journal:
        what = f"{deployment.workers} processes serve without a journal, so events in one reach no other"
        todo = "give them all one journal, such as sqlite:////path/to/journal.db, or serve by one process"
        yield _wrong("workers-without-journal", what, todo)
    if policy.max_bytes > deployment.memory_bytes * _GENEROUS_SHARE:
        what = (
            f"max_bytes, {policy.max_bytes:,}, is more than half of the memory, {deployment.memory_bytes:,} bytes"
        )
        yield _wrong("cache-larger-than-memory", what, "take a smaller max_bytes")
    if policy.pool_size > deployment.cpus:
        what = f"pool_size, {policy.pool_size}, is more than the {deployment.cpus} processors"
        todo = f"take at most {deployment.cpus}, or builds slow one another down"
        yield _hint("pool-larger-than-machine", what, todo)
    if policy.stream_lease <= policy.ttl_s(streaming=True):
        what = f"stream_lease, {policy.stream_lease:g} s, is not longer than the streaming ttl"
        todo = "take a longer stream_lease, or a turn that pauses is taken for one that ended"
        yield _hint("lease-under-ttl", what, todo)


def refused_policy(reason: str) -> Finding:
    """Return the finding of a policy that cannot be made."""
    return _wrong("policy-refused", reason, "correct that field")


def workers_in(environment: Mapping[str, str]) -> int:
    """Return how many worker processes the usual servers would start; 1 if nothing says so."""
    counts = [environment.get(name, "") for name in _COUNT_VARIABLES]
    given = search(r"(?:^|\s)(?:-w|--workers)[ =]?(\d+)", environment.get(_ARGUMENTS_VARIABLE, ""))
    counts.append(given[1] if given else "")
    return max([1, *(int(count) for count in counts if count.isdecimal() and count.isascii())])
