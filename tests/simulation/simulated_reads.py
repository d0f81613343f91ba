"""Simulated reads, and the laws that hold for what they are answered with.

A law is a pair: whether it holds, and what to say where it does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from hermes_cache.core.effects import Served
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Entry, Read, Target
from hermes_cache.errors import (
    BuildError,
    BuildTimeoutError,
    CacheBusyError,
    CacheStoppedError,
    HermesCacheError,
    LookupTimeoutError,
)
from hermes_cache.payload.content import Content
from tests.simulation.simulated_world import LISTED, Seen, World

Laws: TypeAlias = Iterator[tuple[bool, str]]

SLACK_S: Final = 1e-6
"""Sums of seconds are rounded."""

_CHECK_WAIT_S: Final = 0.05
_CURRENT: Final = frozenset({"hit", "built", "waited"})


@dataclass(slots=True, eq=False)
class Made:
    """What one run of a builder made, or a gateway itself from its mark on, and when that looked at what.

    Attributes:
        target: What for.
        noted: What there was when it left the queue.
        stamped: What there was when its check began.
        found: What there was when the builder read the source.
        content: The payload.
        from_s: When it left the queue.
    """

    target: Target
    noted: Seen
    stamped: Seen
    found: Seen
    content: Content
    from_s: float = 0.0


@dataclass(slots=True, eq=False)
class Reader:
    """One simulated read.

    Attributes:
        read: As the core got it.
        seen: What there was when it began.
        is_held: Whether anything was held for its key then.
        is_held_valid: Whether that was not outdated.
        builds: How many builds of its key began while it waited for one.
        is_over: Whether it was answered, or left.
    """

    read: Read
    seen: Seen
    is_held: bool
    is_held_valid: bool
    builds: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class InTheWay:
    """What could stand in the way of a payload at one moment.

    Attributes:
        failed: The key's last build failed.
        timed_out: It was abandoned for its length.
        hangs: So many builds hang that none starts.
        crowded: As many readers wait as may.
        queue_full: All slots are taken, and as many builds queue as may.
    """

    failed: bool
    timed_out: bool
    hangs: bool
    crowded: bool
    queue_full: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """Where and when an answer is judged.

    Attributes:
        now_s: When.
        policy: The bounds and spans.
        world: What there is.
        late_s: How late timers may be.
        check: The last check of its scope, of those that came back with something.
        is_failing: Whether a later one failed.
        in_the_way: What could stand in the way.
        stopped: Whether the cache was stopped.
    """

    now_s: float
    policy: Policy
    world: World
    late_s: float
    check: Check | None
    is_failing: bool
    in_the_way: InTheWay
    stopped: bool


def laws_of_answer(reader: Reader, answer: Served | HermesCacheError, made: Made | None, moment: Moment) -> Laws:
    """Return the laws that an answer must keep."""
    yield not reader.is_over, "I4: a reader was answered twice, or after it left"
    yield from _of_time(reader, moment)
    yield isinstance(answer, CacheStoppedError) == moment.stopped, "L1: stopped and told so are not the same"
    if isinstance(answer, HermesCacheError):
        yield from _of_error(reader, answer, moment)
        return
    entry = answer.entry
    yield made is not None and made.content is entry.content, "I13: a payload is not what its build made"
    yield made is not None and made.target == reader.read.target, "I13: a reader got another key's payload"
    if made is None:
        return
    yield from _of_invalidations(reader, answer, made)
    yield from _of_failing(reader, answer, moment)
    if reader.read.request.freshness.insists:
        yield from _of_insisting(reader, answer, made)
    if answer.outcome == "hit":
        yield from _of_hit(reader, entry, made, moment)
    elif answer.outcome in _CURRENT and not reader.read.request.freshness.takes_outdated:
        yield made.noted.moves >= reader.seen.moves, "H2: a build from before a start or stop passed as current"


def _of_time(reader: Reader, moment: Moment) -> Laws:
    read, policy = reader.read, moment.policy
    waited_s = moment.now_s - read.request.began_s - moment.late_s - SLACK_S
    yield (
        waited_s <= min(read.request.timeout_s, policy.build_timeout),
        "I4: a reader was answered after its deadline",
    )
    untouched = moment.world.seen(read.target.reach).invalidations == reader.seen.invalidations
    longest_s = max(policy.owner_wait, policy.follower_wait)
    may_be_too_old = policy.max_stale is not None
    if read.request.freshness is Freshness.DEFAULT and reader.is_held_valid and untouched and not may_be_too_old:
        # It waits for a check, then for a build: two timers, and each may be late.
        yield (
            waited_s <= _CHECK_WAIT_S + longest_s + moment.late_s,
            "R4: a reader with a stale payload waited too long",
        )
    if read.request.freshness is Freshness.ANY and reader.is_held:
        yield waited_s <= 0, "R8: a read that takes anything waited though something is held"


def _of_error(reader: Reader, error: HermesCacheError, moment: Moment) -> Laws:
    """Return the laws of an answer that is an error: it must be true at this moment (I17)."""
    if isinstance(error, CacheStoppedError):
        return
    read, policy, in_the_way = reader.read, moment.policy, moment.in_the_way
    may_be_too_old = policy.max_stale is not None and in_the_way.failed
    yield not reader.is_held_valid or may_be_too_old, "I17: an error though a payload was held that may stand in"
    waited_s = moment.now_s - read.request.began_s + SLACK_S
    match error:
        case LookupTimeoutError():
            yield waited_s >= read.request.timeout_s, "I17: a reader's own bound ended before its time"
        case BuildTimeoutError():
            warranted = in_the_way.timed_out or waited_s >= policy.build_timeout
            yield warranted, "I17: a build is said to have timed out that did not"
        case BuildError():
            yield in_the_way.failed or in_the_way.hangs, "I17: a build is said to have failed that did not"
        case CacheBusyError():
            is_full = in_the_way.crowded if error.what == "max_waiters" else in_the_way.queue_full
            yield is_full, "I17: the cache is said to be busy and is not"
        case _:
            yield False, f"I17: nobody expects {type(error).__name__}"


def _of_invalidations(reader: Reader, served: Served, made: Made) -> Laws:
    takes_outdated = reader.read.request.freshness.takes_outdated
    yield (
        served.outcome != "outdated" or takes_outdated,
        "R8: an outdated payload went to one who asks for more",
    )
    if not takes_outdated:
        fresh = made.noted.invalidations >= reader.seen.invalidations
        yield fresh, "R1: a payload from before an invalidation was served"


def _of_failing(reader: Reader, served: Served, moment: Moment) -> Laws:
    most_s = moment.policy.max_stale
    if most_s is None or served.failure is None or reader.read.request.freshness.takes_outdated:
        return
    age_s = moment.now_s - served.entry.built_at_s - SLACK_S
    yield age_s <= most_s, "R7: a payload that is too old stood in for builds that fail"


def _of_insisting(reader: Reader, served: Served, made: Made) -> Laws:
    yield served.outcome in _CURRENT, "R8: a read that insists on freshness got a stale payload"
    yield made.found.settings >= reader.seen.settings, "R8: a fresh read missed settings from before it"
    if not served.entry.stamp.marker.held:
        yield made.found.commits >= reader.seen.commits, "R8: a fresh read missed a commit from before it"


def _of_hit(reader: Reader, entry: Entry, made: Made, moment: Moment) -> Laws:
    now = moment.world.seen(made.target.reach)
    age_s = moment.now_s - entry.built_at_s
    yield age_s < moment.policy.ttl_s(streaming=entry.stamp.marker.held), "R3: a payload past its TTL was a hit"
    yield made.noted.moves == now.moves, "H2: a hit from before a start or stop"
    changed = made.noted.streams ^ now.streams
    yield changed <= LISTED, "H4: a hit from before a stream expired"
    if made.target.watched:
        yield from _of_checked_hit(reader, entry, made, moment)


def _of_checked_hit(reader: Reader, entry: Entry, made: Made, moment: Moment) -> Laws:
    check, policy, own = moment.check, moment.policy, entry.stamp.check
    yield check is not None or own.is_failed, "S4: a hit though nothing was ever checked"
    # A build reads the sources itself; where its own check failed, it speaks for no later moment.
    age_s = moment.now_s - max(check.began_s if check else own.began_s, own.began_s) - SLACK_S
    trusted_s = 2 * policy.stamp_interval + (check.took_s if check else 0.0)
    at_once = moment.now_s == reader.read.request.began_s and not reader.read.request.freshness.takes_outdated
    yield (
        not at_once or age_s <= trusted_s or moment.is_failing,
        "S4: a hit at once by a check that is too old",
    )
    ttl_s = policy.ttl_s(streaming=entry.stamp.marker.held)
    yield age_s <= max(ttl_s, trusted_s) + moment.late_s, "S4: a hit by a check from before the TTL"
    if check is None:
        return
    newer = check.began_s > own.began_s and check.held == own.held
    yield not newer or check.parts == own.parts, "R4: a hit though a check found its sources moved"
    commits = [value for name, value in check.parts if name == "content" and isinstance(value, int)]
    yield (
        not newer or max(commits, default=0) <= made.found.commits,
        "S4: a hit without a commit that a check found",
    )
