"""A whole cache simulated from a seed number: no thread, no clock, the real core.

Readers, publishers, streams, a source that moves, checks and builders that take their time, fail, hang or come
back late: all of it lies on one virtual time line. After every step the invariants are checked; a breach raises
`AssertionError` naming the seed, so that the same run can be had again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from hermes_cache.core.content import content_of
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Abandon, Answer, Effect, RunBuild, Served, TakeCheck
from hermes_cache.core.events import EventId, SessionListChanged, SettingsChanged, StreamStarted, StreamStopped
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.messages import Built, Checked, Failed, Message, Publish, Tick
from hermes_cache.core.payload import freeze
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Build, Freshness, Read, State, Target
from hermes_cache.core.streams import Streams
from hermes_cache.core.transitions import fold
from hermes_cache.core.versions import ALL_PROFILES, reach_of
from hermes_cache.errors import HermesCacheError

_PROFILES = ("default", "work", "home")
_SLACK_S = 1e-6
_HANGS_FOR_S = 9.0


@dataclass(slots=True, eq=False)
class Reader:
    """One simulated read, and what it may be answered with.

    Attributes:
        read: As the core got it.
        invalidations: How many had touched its key when it began (R1).
        commits: How many its sources had seen then.
        answer: What it got; None while it waits.
        builds: How many builds of its key began while it waited.
    """

    read: Read
    invalidations: int
    commits: int
    answer: Served | HermesCacheError | None = None
    builds: int = 0


@dataclass(slots=True)
class Counts:
    """What a run has seen, so that a test can say that it saw enough."""

    steps: int = 0
    reads: int = 0
    builds: int = 0
    overtaken: int = 0
    hung: int = 0
    failed: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


class Simulation:
    """One cache, its users and its sources, driven by a seed."""

    def __init__(self, seed: int, *, steps: int = 300) -> None:
        self.seed = seed
        self.counts = Counts()
        self._random = Random(seed)  # noqa: S311 - a schedule, no secret
        self._policy = self._draw_policy()
        self._state = State()
        self._now_s = 1_000.0
        self._fails = self._random.choice((0.0, 0.02, 0.3))
        self._hangs = self._random.choice((0.0, 0.02, 0.3))
        self._line: list[tuple[float, float, int, Callable[[], None]]] = []
        self._order = 0
        self._events = 0
        self._commits = dict.fromkeys(_PROFILES, 0)
        self._invalidations = dict.fromkeys((*_PROFILES, ALL_PROFILES), 0)
        self._readers: list[Reader] = []
        self._running: dict[int, Build] = {}
        self._targets = [self._target(profile, flag) for profile in _PROFILES for flag in (False, True)]
        self._targets.append(self._target("default", flag=False, all_profiles=True))
        for _ in range(steps):
            self._at(self._random.uniform(0, steps / 10), self._random.choice(self._acts()))

    def run(self) -> Counts:
        """Run until nothing is left to happen, then see that everybody was answered.

        Raises:
            AssertionError: An invariant is broken.
        """
        while self._line or self._state.waiting:
            wake_at_s = self._state.wake_at_s
            if self._line and self._line[0][0] <= wake_at_s:
                at_s, _, _, act = heappop(self._line)
                self._now_s = max(self._now_s, at_s)
                act()
            else:
                self._now_s = max(self._now_s, wake_at_s)
                self._take(Tick())
        self._demand(all(reader.answer is not None for reader in self._readers), "a reader was never answered")
        return self.counts

    def _draw_policy(self) -> Policy:
        pick = self._random.choice
        return Policy(
            ttl=pick((0.0, 0.5, 2.5)),
            pool_size=pick((1, 2, 4)),
            max_queue=pick((1, 3, 256)),
            max_waiters=pick((2, 10_000, 10_000)),
            max_entries=pick((1, 3, 64)),
            max_abandoned=pick((1, 8)),
            max_build_duty=pick((0.2, 0.5, 1.0)),
            build_timeout=pick((2.0, 5.0)),
            stamp_interval=pick((0.0, 0.05)),
            stream_lease=pick((3.0, 900.0)),
        )

    def _target(self, profile: str, flag: bool, *, all_profiles: bool = False) -> Target:  # noqa: FBT001 - a view
        key = SessionListKey(profile, all_profiles=all_profiles, show_cron=flag)
        reach = reach_of(key)
        return Target(key, (reach,), reach, watched=True)

    def _acts(self) -> list[Callable[[], None]]:
        return [*[self._read] * 8, *[self._invalidate] * 2, *[self._commit] * 3, self._stream, self._settings]

    def _at(self, delay_s: float, act: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._line, (self._now_s + delay_s, self._random.random(), self._order, act))

    def _take(self, message: Message) -> None:
        before = self._state
        decision = decide(before, message, self._now_s, self._policy)
        self._state = decision.state
        self._demand(_same(fold(before, decision.transitions), decision.state), "the fold gives another state")
        for effect in decision.effects:
            self._run(effect)
        self.counts.steps += 1
        self._check_bounds()

    def _run(self, effect: Effect) -> None:
        match effect:
            case Answer(reader=Reader() as reader, answer=answer):
                self._answered(reader, answer)
            case TakeCheck():
                self._check(effect.target, effect.streams, by_build=False)
            case RunBuild():
                self._build(effect)
            case Abandon():
                self._running.pop(effect.build_id)
            case _:
                return

    # What users do.

    def _read(self) -> None:
        target = self._random.choice(self._targets)
        freshness: Freshness = self._random.choices(("default", "fresh", "any"), (8, 2, 1))[0]
        timeout_s = self._random.choices((0.0, 0.3, float("inf")), (1, 2, 9))[0]
        reader = Reader(
            Read(None, target, self._now_s), self._invalidations[target.reach], self._committed(target.reach)
        )
        strict = freshness == "fresh"
        reader.read = Read(reader, target, self._now_s, freshness, strict, timeout_s)
        self._readers.append(reader)
        self.counts.reads += 1
        self._take(reader.read)

    def _invalidate(self) -> None:
        profile = self._random.choice((None, *_PROFILES))
        event = SessionListChanged(id=self._event_id(), at_s=self._now_s, profile=profile)
        self._touch(profile)
        self._take(Publish(event, profile))

    def _settings(self) -> None:
        self._touch(None)
        self._take(Publish(SettingsChanged(id=self._event_id(), at_s=self._now_s), None))

    def _touch(self, profile: str | None) -> None:
        touched = self._invalidations if profile is None else (profile, ALL_PROFILES)
        for reach in touched:
            self._invalidations[reach] += 1

    def _commit(self) -> None:
        self._commits[self._random.choice(_PROFILES)] += 1

    def _stream(self) -> None:
        name = f"stream-{self._random.randrange(20)}"
        profile = self._random.choice((None, *_PROFILES))
        if self._random.random() < 0.5:  # noqa: PLR2004 - as often a start as a stop
            self._take(
                Publish(StreamStarted(id=self._event_id(), at_s=0.0, stream_id=name, profile=profile), profile)
            )
            return
        self._take(Publish(StreamStopped(id=self._event_id(), at_s=0.0, stream_id=name), None))

    def _event_id(self) -> EventId:
        self._events += 1
        return EventId("simulated", self._events)

    # What the world does.

    def _check(self, target: Target, streams: Streams, *, by_build: bool) -> None:
        check = self._look(target, streams)
        delay_s = self._random.choice((0.001, 0.01, 0.2))
        self._at(delay_s, lambda: self._take(Checked(target, check, by_build, self._random.random() < 0.5)))  # noqa: PLR2004

    def _look(self, target: Target, streams: Streams) -> Check:
        held = streams.marker(target.reach).held
        parts = () if held else (("content", self._committed(target.reach)),)
        return Check(self._now_s, 0.0, parts, frozenset(), held, verified=self._random.random() < 0.9)  # noqa: PLR2004

    def _build(self, effect: RunBuild) -> None:
        build = effect.build
        live = [other for other in self._running.values() if other.target.key == build.target.key]
        self._demand(not live, "two builds of one key run at once")
        self._running[build.id] = build
        self.counts.builds += 1
        for reader in self._waiting(build.target):
            reader.builds += 1
            self._demand(reader.builds <= 2, "a reader waits for a third build")  # noqa: PLR2004 - B4
        started = self._invalidations[build.target.reach]
        check = self._look(build.target, build.streams)
        self._take_later(0.0, build, lambda: self._take(Checked(build.target, check, by_build=True)))
        payload = {"invalidations": started, "commits": self._committed(build.target.reach), "sessions": []}
        hangs = self._random.random() < self._hangs
        takes_s = _HANGS_FOR_S if hangs else self._random.choice((0.01, 0.1, 0.3, 1.2))
        self._at(takes_s, lambda: self._end_build(build, check, payload))

    def _take_later(self, delay_s: float, build: Build, act: Callable[[], None]) -> None:
        if build.id in self._running:
            self._at(delay_s, act)

    def _end_build(self, build: Build, check: Check, payload: dict[str, object]) -> None:
        self.counts.hung += build.id not in self._running
        live = self._state.builds.get(build.target.key)
        self.counts.overtaken += live is not None and live.id == build.id and live.overtaken_by is not None
        self._running.pop(build.id, None)
        if self._random.random() < self._fails:
            self.counts.failed += 1
            self._take(Failed(build, OSError("simulated")))
            return
        began_s = build.began_s or self._now_s
        self._take(Built(build, content_of(freeze(payload)), check, self._now_s - began_s, 0))

    def _committed(self, reach: str) -> int:
        return sum(self._commits.values()) if reach == ALL_PROFILES else self._commits[reach]

    # What must hold.

    def _answered(self, reader: Reader, answer: Served | HermesCacheError) -> None:
        self._demand(reader.answer is None, "a reader was answered twice")
        reader.answer = answer
        read = reader.read
        late_s = self._now_s - read.began_s - min(read.timeout_s, self._policy.build_timeout)
        self._demand(late_s <= _SLACK_S, f"a reader was answered {late_s} s after its deadline")
        if isinstance(answer, HermesCacheError):
            name = type(answer).__name__
        else:
            name = answer.outcome
            self._judge(reader, answer)
        self.counts.outcomes[name] = self.counts.outcomes.get(name, 0) + 1

    def _judge(self, reader: Reader, served: Served) -> None:
        payload = served.entry.content.decoded()
        self._demand(served.entry.target.key == reader.read.target.key, "a reader got another key's payload")
        if served.outcome == "outdated":
            self._demand(
                reader.read.freshness == "any", "an outdated payload went to a read that did not ask for it"
            )
            return
        if reader.read.freshness != "any":
            fresh = _int(payload["invalidations"]) >= reader.invalidations
            self._demand(fresh, "R1 is broken: a payload from before an invalidation")
        if reader.read.freshness == "fresh":
            self._demand(served.outcome in ("hit", "built", "waited"), "a fresh read got a stale payload")
            seen = served.entry.stamp.marker.held or _int(payload["commits"]) >= reader.commits
            self._demand(seen, "a fresh read missed a commit from before it")

    def _check_bounds(self) -> None:
        state, policy = self._state, self._policy
        live = len(self._running)
        self._demand(live <= policy.pool_size, "more builds run than the pool has places")
        self._demand(live == state.running(), "a place in the pool is lost")
        self._demand(len(state.entries) <= policy.max_entries, "more entries are held than allowed")
        self._demand(state.waiting <= policy.max_waiters, "more readers wait than allowed")
        self._demand(state.waiting == sum(map(len, state.waiters.values())), "waiters are miscounted")
        self._demand(len(state.queue) <= policy.max_queue + policy.pool_size, "more builds queue than allowed")
        self._demand(len(state.abandoned) <= policy.max_abandoned + policy.pool_size, "too many builds hang")

    def _waiting(self, target: Target) -> list[Reader]:
        waiters = self._state.waiters.get(target.key, ())
        waiting = [waiter.read.reader for waiter in waiters if waiter.awaits == "build"]
        return [reader for reader in waiting if isinstance(reader, Reader)]

    def _demand(self, holds: bool, breach: str) -> None:  # noqa: FBT001 - the condition itself
        if not holds:
            raise AssertionError(f"{breach} (seed {self.seed}, at {self._now_s:.3f} s)")


def _same(left: State, right: State) -> bool:
    return all(getattr(left, name) == getattr(right, name) for name in State.__slots__)


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no int")
    return value
