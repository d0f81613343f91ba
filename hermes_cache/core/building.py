"""Building: one live build a key, what it answers, and what becomes of its payload.

A build that an event overtook answers the readers that came before the event, is not stored, and is queued again
for those that came after. So no reader waits for more than the build that runs when it comes, and one more.
Source: rules R1, R5, R7, R11, B1 to B7, H2.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from hermes_cache.core import duty
from hermes_cache.core.answering import (
    answer_failed,
    answer_instead,
    deliver,
    failure_error,
    reason_of_failure,
    standing_failure,
)
from hermes_cache.core.effects import Abandon, RunBuild, Served
from hermes_cache.core.freshness import has_moved_since, refresh_for
from hermes_cache.core.messages import Built, Failed
from hermes_cache.core.record import PastBuild, PastOutcome
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import Stamp
from hermes_cache.core.state import Build, Entry, Failure, Reason, Refresh, Target, Waiter
from hermes_cache.core.storing import forget, store, why_not_stored
from hermes_cache.core.transitions import Begun, Ended, Measured, Queued, Returned, WaitedOn
from hermes_cache.core.turn import Turn
from hermes_cache.errors import BuildError, CacheBusyError, HermesCacheError, ProfileNotFoundError

_LONGEST_WHY: Final = 300
"""A builder's error may quote all that it read."""


class Wanted(NamedTuple):
    """A build that is wanted; as in `Build`."""

    target: Target
    reason: Reason
    refresh: Refresh | None = None
    builder: object = None
    trace: object = None


def request_build(
    turn: Turn,
    target: Target,
    reason: Reason,
    *,
    refresh: Refresh | None = None,
    request: Request,
) -> HermesCacheError | None:
    """Queue a build of a key that has none for a read, and start what there is room for.

    Args:
        turn: The turn that decides it.
        target: What to build.
        reason: Why it is built.
        refresh: Why it replaces what may still be served, so that its cost counts (B9); None if it does not.
        request: The read that asks for it, with its builder and its trace.

    Returns:
        None, or why it is refused: too many queue, or too many hang.
    """
    state, policy = turn.state, turn.policy
    if too_many_hang(turn):
        return hanging_error(turn, target)
    if state.running() >= policy.pool_size and len(state.queue) >= policy.max_queue:
        return CacheBusyError("max_queue", policy.max_queue)
    queue_builds(turn, [Wanted(target, reason, refresh, request.builder, request.trace)])
    return None


def too_many_hang(turn: Turn) -> bool:
    """Say whether so many builds hang that none may start (B6)."""
    return len(turn.state.abandoned) >= turn.policy.max_abandoned


def hanging_error(turn: Turn, target: Target) -> BuildError:
    """Return the error for a key that may not be built, as too many builds hang; a new one for every reader."""
    count = len(turn.state.abandoned)
    return BuildError(target.key, f"{count} builds hang, Policy.max_abandoned; none starts until one of them ends")


def queue_builds(turn: Turn, wanted: Iterable[Wanted]) -> None:
    """Queue builds of keys that have none, all at once, and start what there is room for; without `max_queue`."""
    first_id = turn.state.last_build + 1
    builds = tuple([Build(number, *each) for number, each in enumerate(wanted, first_id)])
    if not builds:
        return
    turn.record(Queued(builds))
    duty.join(turn, [build for build in builds if build.refresh is not None])
    start_builds(turn)


def start_builds(turn: Turn) -> None:
    """Start queued builds while there is room, those first that readers wait for (B5)."""
    while turn.state.queue and turn.state.running() < turn.policy.pool_size:
        state = turn.state
        oldest = state.builds[next(iter(state.queue.values()))]
        if too_many_hang(turn):
            _refuse(turn, oldest)
            continue
        awaited = (state.builds[key] for key in state.queue.values() if key in state.waiters)
        _start(turn, next(awaited, oldest) if state.waiters else oldest)


def built(turn: Turn, message: Built) -> None:
    """Take in a payload: store it unless overtaken, answer whom it may answer, build again for the rest (B4)."""
    build = _live(turn, message.build)
    if build is None:
        _discard_late(turn, message)
        return
    entry = _entry_of(turn, message)
    why_not = why_not_stored(turn, entry)
    _end(turn, build, "discarded" if why_not else "stored", why_not, build_s=message.took_s)
    if why_not:
        turn.record(Measured(message.held_bytes))
        turn.discard(entry.content, build.target)
    else:
        store(turn, entry, message)
    deliver(turn, build.target, Served(entry, "built", build.reason, build.overtaken_by))
    is_behind = why_not is None and _is_behind(turn, build, entry)
    moved = _answer_waiters(turn, build, entry, is_behind=is_behind)
    _build_again(turn, build, wanted=moved or is_behind)
    start_builds(turn)


def failed(turn: Turn, message: Failed) -> None:
    """Take in a failure: answer all readers that wait for that build (R7)."""
    build = _live(turn, message.build)
    if build is None:
        turn.record(Returned(message.build.target.key, message.build.id))
        return
    _fail(turn, build, message.why, message.cause)


def abandon_overdue(turn: Turn) -> None:
    """Give up the builds that run longer than `build_timeout` (B6)."""
    timeout_s = turn.policy.build_timeout
    for build in list(turn.state.builds.values()):
        if build.began_s is not None and build.began_s + timeout_s <= turn.now_s:
            turn.do(Abandon(build.id))
            _fail(turn, build, f"its builder did not return within {timeout_s:g} s, Policy.build_timeout")


def _refuse(turn: Turn, queued: Build) -> None:
    _end(turn, queued, "failed", str(hanging_error(turn, queued.target)))
    waiting = _builds_waiters(turn, queued)
    turn.dismiss(waiting)
    for waiter in waiting:
        answer_instead(turn, waiter, hanging_error(turn, queued.target))
    deliver(turn, queued.target, hanging_error(turn, queued.target))


def _start(turn: Turn, queued: Build) -> None:
    state = turn.state
    version = state.version_of(queued.target)
    build = replace(queued, began_s=turn.now_s, version=version, streams=state.streams)
    turn.record(Begun(build, turn.now_s + turn.policy.build_timeout))
    if build.refresh is not None:
        duty.begin(turn, build)
    entry = state.entry_of(build.target)
    turn.do(RunBuild(build, state.settings, entry.content if entry else None))


def _live(turn: Turn, begun: Build) -> Build | None:
    """Return a build with what overtook it since; None if it was abandoned."""
    live = turn.state.builds.get(begun.target.key)
    return live if live is not None and live.id == begun.id else None


def _end(
    turn: Turn,
    build: Build,
    outcome: PastOutcome,
    why: str | None,
    *,
    build_s: float = 0.0,
    failure: Failure | None = None,
) -> None:
    took_s = 0.0 if build.began_s is None else turn.now_s - build.began_s
    waiting = _builds_waiters(turn, build)
    past = PastBuild(
        build.id,
        build.reason,
        build.began_s,
        took_s,
        outcome,
        why and why[:_LONGEST_WHY],
        build.overtaken_by,
        waited=len(waiting),
        sent_on=sum([not _answers(build, waiter) for waiter in waiting]),
    )
    turn.record(Ended(build.target.key, past, build_s, failure))
    if build.refresh is not None:
        duty.leave(turn, build)


def _discard_late(turn: Turn, message: Built) -> None:
    turn.record(Returned(message.build.target.key, message.build.id))
    if message.build.id not in turn.state.kept:
        turn.discard(message.content, message.build.target)


def _entry_of(turn: Turn, message: Built) -> Entry:
    build, check = message.build, message.check
    last = turn.state.check_of(build.target) if check.is_failed else check
    marker = build.streams.marker(build.target.reach, last.listed if last else ())
    return Entry(
        build.target,
        message.content,
        build.version,
        Stamp(marker, check),
        turn.now_s,
        message.took_s,
        build.id,
        turn.now_s if build.began_s is None else build.began_s,
    )


def _answers(build: Build, waiter: Waiter) -> bool:
    before = build.began_s is not None and build.began_s < waiter.request.began_s
    return build.version >= waiter.version and not (waiter.request.freshness.insists and before)


def _is_behind(turn: Turn, build: Build, entry: Entry) -> bool:
    """Say whether a commit came during a refresh by age, or for a stop, and is to be built at once (R3, B9)."""
    if build.refresh not in (Refresh.AGE, Refresh.STOP) or not has_moved_since(turn.state, build.target, entry):
        return False
    return not duty.is_held_back(turn, build.target, Refresh.SOURCE)


def _answer_waiters(turn: Turn, build: Build, entry: Entry, *, is_behind: bool) -> bool:
    """Answer the readers that the payload may answer; say whether one got it as stale, as a stream moved.

    If the payload is behind a commit, the readers that wait because of that commit go on waiting.
    """
    moves = build.streams.moves.of(build.target.reach)
    waiting = [waiter for waiter in _builds_waiters(turn, build) if _answers(build, waiter)]
    if is_behind:
        waiting = [waiter for waiter in waiting if not _waits_for_commit(waiter, entry)]
    too_old = [waiter for waiter in waiting if waiter.moves > moves]
    turn.dismiss([waiter for waiter in waiting if waiter.moves <= moves or waiter.request.takes_stale])
    for waiter in waiting:
        if waiter.moves <= moves:
            overtaken_by = build.overtaken_by or waiter.overtaken_by
            turn.answer(waiter.read, Served(entry, waiter.outcome, waiter.reason, overtaken_by))
        elif waiter.request.takes_stale:
            turn.answer(waiter.read, Served(entry, "stale", "source", waiter.overtaken_by))
    return bool(too_old)


def _waits_for_commit(waiter: Waiter, entry: Entry) -> bool:
    began_after = waiter.request.began_s > entry.stamp.check.began_s
    return began_after and waiter.reason == "source" and waiter.request.takes_stale


def _builds_waiters(turn: Turn, build: Build) -> list[Waiter]:
    return list(turn.state.for_build(build.target).values())


def _build_again(turn: Turn, build: Build, *, wanted: bool = False) -> None:
    """Queue the next build for the readers that this one could not answer; the queue's bound does not hold here.

    Args:
        turn: The turn that decides it.
        build: The build that ended.
        wanted: Build again even if no reader waits.
    """
    left = _builds_waiters(turn, build)
    if not left and not wanted:
        return
    new = [waiter for waiter in left if waiter.overtaken_by is None]
    if new and build.overtaken_by:
        turn.record(WaitedOn(tuple(replace(waiter, overtaken_by=build.overtaken_by) for waiter in new)))
    builders = [waiter.request.builder for waiter in left if waiter.request.builder is not None]
    builder = builders[-1] if builders else build.builder
    # The newest reader knows best what the key means: an event may have changed settings.
    target, trace = (left[-1].read.target, left[-1].request.trace) if left else (build.target, build.trace)
    reason: Reason = "event" if build.overtaken_by else "source"
    held = turn.state.entry_of(target)
    is_servable = held is not None and held.version >= turn.state.version_of(target)
    insists = any(not waiter.request.takes_stale for waiter in left)
    refresh = refresh_for(turn.state, target, reason) if is_servable and not insists else None
    queue_builds(turn, [Wanted(target, reason, refresh, builder, trace)])


def _fail(turn: Turn, build: Build, why: str, cause: BaseException | None = None) -> None:
    target = build.target
    before = turn.state.failures.get(target.key)
    count = before.count + 1 if before else 1
    retry_at_s = turn.now_s + turn.policy.retry_delay_s(count)
    seen = turn.state.check_of(target)
    failure = Failure(count, turn.now_s, retry_at_s, build.version, seen, why, cause)
    _end(turn, build, "abandoned" if cause is None else "failed", reason_of_failure(failure), failure=failure)
    if isinstance(cause, ProfileNotFoundError):
        forget(turn, target.key)
    _answer_those_failed(turn, build, failure)
    deliver(turn, target, failure_error(target, failure, turn.now_s))
    _build_again(turn, build)
    start_builds(turn)


def _answer_those_failed(turn: Turn, build: Build, failure: Failure) -> None:
    """Answer the readers that waited for it; those that it could not answer wait on if a new one may start."""
    waiting = _builds_waiters(turn, build)
    forbidden = standing_failure(turn, build.target) is not None
    answered = [waiter for waiter in waiting if forbidden or _answers(build, waiter)]
    turn.dismiss(answered)
    for waiter in answered:
        answer_failed(turn, waiter, failure)
