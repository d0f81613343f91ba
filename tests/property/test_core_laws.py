"""Laws of the core: what happened folds to what is, time passes before a message, and messages may come twice."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.core.decide import decide
from hermes_cache.core.events import AppliedEvent, EventId, StreamStarted, StreamStopped
from hermes_cache.core.messages import Checked, Leave, Message, Publish, Stop, Tick, Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Read, State, Target
from hermes_cache.core.streams import Streams
from hermes_cache.core.transitions import fold
from hermes_cache.core.versions import ALL_PROFILES
from tests.simulation.core_script import CoreScript, content, target_of

_POLICY = Policy(ttl=0.5, pool_size=1, max_queue=2, max_entries=2, build_timeout=2.0, stream_lease=3.0)
_TARGETS = [target_of("work", watched=True), target_of("work", show_cron=True, watched=True), target_of("home")]
_FRESHNESS = {"read": Freshness.DEFAULT, "fresh": Freshness.FRESH, "any": Freshness.ANY}
_MOMENTS = st.sampled_from((0.0, 0.01, 0.06, 0.4))
_STEPS = st.lists(
    st.tuples(
        _MOMENTS,
        st.sampled_from(("read", "fresh", "any", "finish", "fail", "check", "event", "start", "stop")),
        st.sampled_from(_TARGETS),
        st.integers(0, 3),
    ),
    max_size=30,
)


class _Watched(CoreScript):
    """A core whose every step is folded again, in one and in two parts."""

    def take(self, message: Message) -> tuple[object, ...]:  # type: ignore[override]  # effects are not looked at here
        decision = decide(self.state, message, self.now_s, self.policy)
        happened = decision.transitions
        half = len(happened) // 2
        in_two = fold(fold(self.state, happened[:half]), happened[half:])
        assert _told(fold(self.state, happened)) == _told(in_two) == _told(decision.state)
        ticked = decide(self.state, Tick(), self.now_s, self.policy)
        after = decide(ticked.state, message, self.now_s, self.policy)
        assert _told(after.state) == _told(decision.state)
        return super().take(message)


def _told(state: State) -> tuple[object, ...]:
    """Return the state as a value: waiters by reader, contents by build."""
    return (
        state.position, state.versions, state.settings, state.streams, state.held_bytes, state.builds, state.queue,
        state.abandoned, state.last_build, state.waiting, state.wake_at_s, state.stopped,
        {key: entry.build_id for key, entry in state.entries.items()},
        [(w.read.reader, w.read.target.key, w.awaits, w.until_s) for w in state.all_waiters()],
        {key: (failure.count, failure.retry_at_s) for key, failure in state.failures.items()},
        {name: (scope.check, scope.due_s, scope.pause_until_s) for name, scope in state.scopes.items()},
    )  # fmt: skip


def _step(script: CoreScript, what: str, number: int, here: Target) -> Message | None:
    match what:
        case "read" | "fresh" | "any":
            return script.read(here, _FRESHNESS[what])
        case "check":
            return script.check(here, (("content", number),))
        case "event":
            script.invalidate(None if number == 0 else here.reach)
        case "start":
            script.start_stream(f"turn {number}", here.reach)
        case "stop":
            script.stop_stream(f"turn {number}")
        case _:
            return _end_build(script, what, number, here)
    return None


def _end_build(script: CoreScript, what: str, number: int, here: Target) -> Message | None:
    for build in script.state.builds.values():
        if build.began_s is not None and what == "finish":
            return script.finish(build, content(n=number), moved=(here.reach,))
        if build.began_s is not None:
            return script.fail(build)
    return None


@given(_STEPS)
def test_what_happened_folds_to_what_is_and_time_passes_before_a_message(
    steps: list[tuple[float, str, Target, int]],
) -> None:
    """Fold in two steps = once; a decision's transitions folded = its state; a late timer shows nobody a past."""
    script = _Watched(_POLICY)

    for span_s, what, target, number in steps:
        script.now_s += span_s
        _step(script, what, number, target)

    assert script.state.waiting == len(list(script.state.all_waiters()))


@given(_STEPS, st.integers(0, 100))
def test_a_message_that_comes_twice_changes_nothing_the_second_time(
    steps: list[tuple[float, str, Target, int]], held_bytes: int
) -> None:
    """Each message but a read and an event is safe to handle twice (I3)."""
    script = CoreScript(_POLICY)

    for span_s, what, target, number in steps:
        script.now_s += span_s
        message = _step(script, what, number, target)
        if isinstance(message, Read):
            script.take(Leave(message))
            message = Leave(message) if number == 0 else None
        _check_idle(script, [message, Tick(), Weighed(held_bytes)])

    script.take(Stop())
    _check_idle(script, [Stop()])


def _check_idle(script: CoreScript, messages: Iterable[Message | None]) -> None:
    for message in messages:
        if message is None:
            continue
        if isinstance(message, Weighed):
            script.take(message)
        script.take(Tick())
        before, answers = _told(script.state), dict(script.answers)
        script.take(message)
        if not isinstance(message, Checked):
            assert _told(script.state) == before
        assert script.answers == answers


@given(st.permutations(["start a", "start b", "stop a", "start c", "stop d"]))
def test_every_order_of_starts_and_stops_gives_the_same_active_streams(order: list[str]) -> None:
    """H4, J1: a stop is final whatever order it comes in."""
    streams = Streams()

    for position, said in enumerate(order, start=1):
        what, name = said.split()
        if what == "start":
            streams = streams.start(name, "work", position=position, until_s=10.0)
        else:
            streams = streams.stop(name, position=position, until_s=10.0)

    assert streams.all_ids() == {"b", "c"}


_SAID = st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from([None, "work", "home"]))


@given(st.lists(_SAID, max_size=12), st.floats(0.0, 20.0))
def test_a_marker_names_the_streams_of_its_reach_alone(
    said: list[tuple[bool, str, str | None]], now_s: float
) -> None:
    """H1, H5: as a walk over all of them would."""
    streams = Streams()

    for position, (starts, name, profile) in enumerate(said, start=1):
        if starts:
            streams = streams.start(name, profile, position=position, until_s=5.0 + position)
        else:
            streams = streams.stop(name, position=position, until_s=10.0)
    streams = streams.without_expired(now_s)

    for reach in ("work", "home", "other", ALL_PROFILES):
        touching = {name for name, each in streams.active.items() if each.profile in (None, reach) or not reach}
        assert streams.marker(reach).stream_ids == tuple(sorted(touching))


@given(st.permutations(range(4)))
def test_every_order_of_arrival_gives_the_same_active_streams_and_outdates_the_same(order: list[int]) -> None:
    """J1, V1"""
    said: list[tuple[AppliedEvent, str | None]] = [
        (StreamStarted(id=EventId("x", 1), at_s=0.0, stream_id="a", profile="work"), "work"),
        (StreamStopped(id=EventId("x", 2), at_s=0.0, stream_id="a"), None),
        (StreamStarted(id=EventId("y", 1), at_s=0.0, stream_id="b", profile="home"), "home"),
        (StreamStopped(id=EventId("y", 2), at_s=0.0, stream_id="c"), None),
    ]
    script = CoreScript()

    for number in order:
        event, profile = said[number]
        script.take(Publish(event, profile))

    assert script.state.streams.all_ids() == {"b"}
    assert script.state.position == 4


@given(st.lists(st.tuples(st.floats(0.0, 9.0), st.integers(0, 3)), max_size=8))
def test_the_check_that_began_last_is_kept_in_every_order(checks: list[tuple[float, int]]) -> None:
    """B3: checks are ordered by when they began."""
    script = CoreScript()
    here = _TARGETS[0]

    for began_s, value in checks:
        script.take(Checked(here, Check(began_s, parts=(("content", value),))))

    kept = script.state.check_of(here)
    assert (kept.began_s if kept else None) == max((began_s for began_s, _ in checks), default=None)
