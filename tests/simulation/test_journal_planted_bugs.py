"""The tester, tested: each of these bugs, planted where processes share a journal, is found within 500 seeds.

A bug that no schedule finds would mean that a law is missing, not that the actors are right.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import pytest

from hermes_cache.bus.feed import Feed
from hermes_cache.cache.membership import Membership
from hermes_cache.core.events import AppliedEvent, EventId, StreamStarted, StreamStopped
from hermes_cache.journal import agreed as agreed_state
from hermes_cache.journal import relay, replaying, snapshots
from hermes_cache.journal.agreed import AgreedState, Outdating, StreamFacts
from hermes_cache.journal.applied import Applied
from hermes_cache.journal.life import JournalLife
from hermes_cache.journal.link import JournalLink
from hermes_cache.journal.numbers import Numbers
from hermes_cache.journal.relay import Relay
from hermes_cache.journal.replaying import Part, Replay
from hermes_cache.journal.writer import Commit, JournalWriter
from hermes_cache.ports import Journal, Position
from tests.simulation.journal_simulation import JournalSimulation

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]
_Buffered: TypeAlias = tuple[AppliedEvent, Commit]

_SEEDS = 500


def _always(answer: object) -> Callable[..., object]:
    return lambda *_args, **_options: answer


def _gap_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLink, "hear_of_gap", _always(None))


def _damaged_row_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    take = Relay._take
    patch.setattr(Relay, "_take", lambda relay, part: take(relay, replace(part, damaged=None)))


def _own_events_are_applied_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLink, "hear", JournalLink._tell)


def _buffer_is_dropped_at_a_failure(patch: pytest.MonkeyPatch) -> None:
    fail = JournalWriter._fail

    def planted(writer: JournalWriter, failure: Exception) -> None:
        fail(writer, failure)
        writer._buffer.clear()

    patch.setattr(JournalWriter, "_fail", planted)


def _commit_is_told_before_the_append(patch: pytest.MonkeyPatch) -> None:
    append = JournalWriter._append

    def planted(writer: JournalWriter, group: list[_Buffered]) -> bool:
        writer._succeed(group)
        return append(writer, group)

    patch.setattr(JournalWriter, "_append", planted)


def _retry_makes_a_new_id(patch: pytest.MonkeyPatch) -> None:
    fail = JournalWriter._fail

    def renamed(event: AppliedEvent) -> AppliedEvent:
        return replace(event, id=EventId(event.id.incarnation, event.id.number + 1_000))

    def planted(writer: JournalWriter, failure: Exception) -> None:
        fail(writer, failure)
        writer._buffer = deque((renamed(event), commit) for event, commit in writer._buffer)

    patch.setattr(JournalWriter, "_fail", planted)


def _one_too_many_leaves_the_buffer(patch: pytest.MonkeyPatch) -> None:
    succeed = JournalWriter._succeed

    def planted(writer: JournalWriter, group: list[_Buffered]) -> None:
        succeed(writer, group)
        if len(writer._buffer) > len(group):
            writer._buffer.popleft()

    patch.setattr(JournalWriter, "_succeed", planted)


def _failed_append_is_not_tried_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalWriter, "on_wake", _always(None))


def _loss_is_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLink, "_hear_of_loss", _always(None))


def _loss_is_told_here_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLink, "_say", JournalLink._tell)


def _restart_loses_streams(patch: pytest.MonkeyPatch) -> None:
    restart = Applied.restart
    patch.setattr(Applied, "restart", lambda applied, state: restart(applied, replace(state, streams={})))


def _restart_loses_what_was_outdated(patch: pytest.MonkeyPatch) -> None:
    restart = Applied.restart
    patch.setattr(Applied, "restart", lambda applied, state: restart(applied, replace(state, outdated={})))


def _join_forgets_what_is_on_its_way(patch: pytest.MonkeyPatch) -> None:
    join = Relay._join

    def planted(relay: Relay) -> None:
        relay._uncommitted = list
        join(relay)

    patch.setattr(Relay, "_join", planted)


def _join_forgets_what_is_said_meanwhile(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Applied, "prepare_restart", _always(None))


def _join_tells_of_no_stream(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AgreedState, "stream_events", _always([]))


def _join_reads_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(relay, "replay", lambda journal: Replay(journal.end(), AgreedState()))


def _lists_served_before_the_join_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Relay, "miss", _always(None))


def _compaction_keeps_no_snapshot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshots, "fold_snapshot", lambda _body, _events: snapshots.to_bytes(AgreedState()))


def _compaction_forgets_the_earlier_snapshot(patch: pytest.MonkeyPatch) -> None:
    fold = snapshots.fold_snapshot
    patch.setattr(snapshots, "fold_snapshot", lambda _body, events: fold(None, events))


def _stamp_is_taken_after_the_read(patch: pytest.MonkeyPatch) -> None:
    catch_up = Relay._catch_up

    def planted(relay: Relay, until_s: float) -> bool:
        is_over = catch_up(relay, until_s)
        relay.seen = relay._journal.stamp()
        return is_over

    patch.setattr(Relay, "_catch_up", planted)


def _failed_check_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Relay, "_fail", lambda relay, *_failure: relay._succeed(relay._clock()))


def _check_ends_after_the_first_part(patch: pytest.MonkeyPatch) -> None:
    def planted(journal: Journal, position: Position) -> Iterator[Part]:
        yield next(replaying.parts_after(journal, position), Part((), position))

    patch.setattr(relay, "parts_after", planted)


def _check_counts_from_its_end(patch: pytest.MonkeyPatch) -> None:
    succeed = Relay._succeed
    patch.setattr(Relay, "_succeed", lambda relay, _began_s: succeed(relay, relay._clock()))


def _reads_check_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "catch_up", _always(None))


def _listeners_miss_own_events(patch: pytest.MonkeyPatch) -> None:
    hear = JournalLink.hear

    def planted(link: JournalLink, event: AppliedEvent) -> None:
        if event.id.incarnation != link._bus.incarnation:
            hear(link, event)

    patch.setattr(JournalLink, "hear", planted)


def _who_resumes_misses_what_is_on_its_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLife, "uncommitted", _always([]))


def _who_resumes_is_told_of_the_journal_alone(patch: pytest.MonkeyPatch) -> None:
    missed = Feed._missed
    patch.setattr(
        Feed, "_missed", lambda feed, start, profile: missed(feed, replace(start, number=10**9), profile)
    )


def _forgotten_changes_count_as_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Feed, "_forgotten", _always(0))


def _highest_number_stands_for_all(patch: pytest.MonkeyPatch) -> None:
    def planted(numbers: Numbers, number: int) -> bool:
        return bool(numbers.ranges) and number <= numbers.ranges[-1][1]

    patch.setattr(Numbers, "__contains__", planted)


def _start_undoes_a_stop(patch: pytest.MonkeyPatch) -> None:
    after = StreamFacts.after

    def planted(facts: StreamFacts, event: StreamStarted | StreamStopped) -> StreamFacts:
        known = after(facts, event)
        return replace(known, stopped=None) if isinstance(event, StreamStarted) else known

    patch.setattr(StreamFacts, "after", planted)


def _last_to_arrive_stands(patch: pytest.MonkeyPatch) -> None:
    def planted(outdated: dict[str, Outdating], name: str, event: Outdating) -> None:
        outdated[name] = event

    patch.setattr(agreed_state, "_outdate", planted)


def _damaged_position_has_no_mark(patch: pytest.MonkeyPatch) -> None:
    take = Relay._take

    def planted(relay: Relay, part: Part) -> None:
        take(relay, part)
        relay._position = replace(part.position, mark="") if part.damaged else part.position

    patch.setattr(Relay, "_take", planted)


def _lease_never_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournalLife, "_see_to_lease", _always(None))


_PLANTS: tuple[Plant, ...] = (
    _gap_is_passed_over, _damaged_row_is_passed_over, _own_events_are_applied_again,
    _buffer_is_dropped_at_a_failure, _commit_is_told_before_the_append, _retry_makes_a_new_id,
    _one_too_many_leaves_the_buffer, _failed_append_is_not_tried_again, _loss_is_not_told,
    _loss_is_told_here_alone, _restart_loses_streams, _restart_loses_what_was_outdated,
    _join_forgets_what_is_on_its_way, _join_tells_of_no_stream, _join_reads_nothing,
    _lists_served_before_the_join_are_kept, _compaction_keeps_no_snapshot,
    _compaction_forgets_the_earlier_snapshot, _stamp_is_taken_after_the_read, _failed_check_counts,
    _check_ends_after_the_first_part, _reads_check_nothing, _who_resumes_misses_what_is_on_its_way,
    _who_resumes_is_told_of_the_journal_alone, _highest_number_stands_for_all, _start_undoes_a_stop,
    _last_to_arrive_stands, _lease_never_ends,
)  # fmt: skip
_RARE_PLANTS: tuple[Plant, ...] = (
    _join_forgets_what_is_said_meanwhile, _check_counts_from_its_end, _listeners_miss_own_events,
    _forgotten_changes_count_as_known, _damaged_position_has_no_mark,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no record of the thousands of failures that are asked for."""
    caplog.set_level(100, "hermes_cache")


@pytest.mark.parametrize("plant", _PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariants I1, I6 to I8, I10 and I14 see what they are there for."""
    plant(monkeypatch)

    with pytest.raises(AssertionError, match=r"\(seed \d+, at"):
        _run_campaign()


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("plant", _RARE_PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_bug_that_shows_but_rarely_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1, I7, I10, I14"""
    plant(monkeypatch)

    with pytest.raises(AssertionError, match=r"\(seed \d+, at"):
        _run_campaign()


def _run_campaign() -> None:
    for seed in range(_SEEDS):
        JournalSimulation(seed).run()
