"""The shell of a simulated cache: runs what the core asks for on a virtual time line, and checks every step.

Checks and builds take their time; builders fail, hang or come back late. A law that is broken raises
`AssertionError` naming the seed.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from math import inf
from random import Random
from typing import Final, assert_never
from zlib import crc32

from hermes_cache.core import versions
from hermes_cache.core.decide import decide
from hermes_cache.core.effects import Abandon, Answer, Deliver, Effect, Release, RunBuild, Served, TakeCheck, Tell
from hermes_cache.core.hits import Hits
from hermes_cache.core.messages import (
    Built,
    Checked,
    CheckFailed,
    Evict,
    Failed,
    Follow,
    Mark,
    Message,
    Put,
    Recency,
    Tick,
    Unfollow,
    Weighed,
)
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import Check, Parts
from hermes_cache.core.state import Build, Read, State, Target
from hermes_cache.core.streams import Streams
from hermes_cache.core.transitions import Transition, fold
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import HermesCacheError
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import Row
from hermes_cache.sessions.rows import freeze, freeze_row
from tests.contents import content_of
from tests.simulation.simulated_followers import FollowerLaws
from tests.simulation.simulated_laws import StepLaws
from tests.simulation.simulated_plan import Faults, TimeLine, draw_faults, draw_policy
from tests.simulation.simulated_reads import InTheWay, Laws, Made, Moment, Reader, laws_of_answer
from tests.simulation.simulated_timing import TimingLaws
from tests.simulation.simulated_world import PROFILES, World, weigh

_HANGS_FOR_S: Final = 9.0
_BUILD_TAKES_S: Final = (0.01, 0.1, 0.3, 1.2)
_CHECK_TAKES_S: Final = (0.001, 0.01, 0.2)
_CHECK_HANGS_FOR_S: Final = (1.5, 6.0, inf)
_FOLDED_EVERY: Final = 8
"""To fold again what happened takes as long as to decide it."""
_NOTHING: Final = Content(b"{}", None)


class Shell:
    """One cache with its sources, on a time line.

    Args:
        seed: The same seed gives the same run.
        most_steps: A run that takes more is a storm: the cache keeps itself busy.

    Attributes:
        now_s: The time.
        line: What is going to happen.
        policy: The bounds and spans of this run.
        faults: How often things go wrong in it.
        world: What moves outside.
        state: What the cache knows.
        seen: What happened how often, by name: outcomes and errors of reads, notices, faults.
        trace: A number that two runs share only if they took the same steps.
    """

    def __init__(self, seed: int, *, most_steps: int) -> None:
        self.now_s = 1_000.0
        self.line = TimeLine(Random(f"order of {seed}"))
        self._chance = Random(f"chance of {seed}")
        self.policy = replace(
            draw_policy(self._chance), max_stale=Random(f"max_stale of {seed}").choice((None, None, 0.5, 3.0))
        )
        self.faults = draw_faults(self._chance)
        self.world = World()
        self.state = self._before = State()
        self.seen: Counter[str] = Counter()
        self.trace = 0
        self._seed = seed
        self._most_steps = most_steps
        self._laws = StepLaws(self.policy, self.world)
        self._timing = TimingLaws(self.policy, self.world, self._laws.made)
        self._following = FollowerLaws(self.world, self._laws.made, self._timing)
        self._hits = Hits(self.policy)
        self._effects: deque[Effect] = deque()
        self._failed: Effect | None = None
        self._readers: list[Reader] = []
        self._pending = 0
        self._running: dict[int, Build] = {}
        self._hanging: set[int] = set()
        self._contents: dict[int, Content] = {}
        self._used: dict[Hashable, int] = {}
        self._read_scopes: set[Hashable] = set()
        self._last_parts: dict[Hashable, Parts] = {}
        self._rows = _rows()

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let something happen later."""
        self.line.add(self.now_s + delay_s, act)

    def let_time_pass(self) -> None:
        """Let the core do what is due: it comes before any message, and before the world moves."""
        if self.now_s >= self.state.wake_at_s:
            self.take(Tick())

    def take(self, message: Message) -> None:
        """Let the core decide on a message, and run what it asks for."""
        self._before = before = self.state
        now_s = self.now_s
        self.world.expire(now_s)
        decision = decide(before, message, now_s, self.policy)
        self.state = after = decision.state
        self._hits.follow(before, after)
        if isinstance(message, Checked):
            self._hits.renew(after, message.target)
        self._demand(self._laws.of_step(before, message, decision, now_s))
        self._demand(self._timing.of_step(before, message, decision, now_s))
        self._demand(self._following.of_step(before, message, decision, now_s))
        for effect in decision.effects:
            self._judge(effect)
        self._effects.extend(decision.effects)
        self._run_effects()
        self._demand(self._of_step(before, decision.transitions))
        self.seen["steps"] += 1
        told = f"{now_s}{type(message).__name__}{after.position}{after.waiting}{len(decision.effects)}"
        self.trace = crc32(told.encode(), self.trace)

    def read(self, read: Read) -> None:
        """Hand in a read; where every read is checked, its check comes first, as on its own thread."""
        target = read.target
        has_check = self.policy.stamp_interval == 0 and target.watched and read.request.freshness.waits
        if has_check and self.state.entry_of(target):
            self._check_at_once(target, self.state.streams)
        self.world.expire(self.now_s)
        entry, seen = self.state.entry_of(target), self.world.seen(target.reach)
        valid = entry is not None and self._laws.made[entry.build_id].noted.invalidations == seen.invalidations
        if entry is not None and len(PROFILES) > versions.MOST_PROFILES:
            # A profile that was forgotten may count as outdated though it was not (V2).
            valid = valid and entry.version >= self.state.version_of(target)
        self._readers.append(Reader(read, seen, entry is not None, valid and read.request.takes_stale))
        self._pending += 1
        self._read_scopes.add(target.scope)
        hit = None if _has_a_wish(read) else self._hits.at(target.key, self.now_s)
        if hit is None:
            self.take(read)
            return
        self.seen["remembered"] += 1
        answer = Answer(read.reader, target.key, hit.served)
        self._judge(answer)
        self._answered(answer)

    def next_read(self) -> int:
        """Return the number that the next reader must have."""
        return len(self._readers)

    def follow(self, follower: Hashable, target: Target) -> None:
        """Let somebody follow a key."""
        if not self.state.stopped:
            self._following.begin(follower, target, self.state)
        self.take(Follow(follower, target))

    def unfollow(self, follower: Hashable, target: Target) -> None:
        """Let somebody follow a key no more."""
        self._following.end(follower, target)
        self.take_maybe_twice(Unfollow(follower, target))

    def calm_down(self) -> None:
        """Let nothing go wrong from now on."""
        late_s, stops = self.faults.late_s, self.faults.stops
        self.faults = Faults(late_s=late_s, stops=stops)

    def demand_calm(self) -> None:
        """Check what followers have, where nothing went wrong or changed for long.

        Raises:
            AssertionError: They lack something.
        """
        if not self.state.stopped:
            self._demand(self._following.of_calm())

    def mark_and_put(self, target: Target, random: Random) -> None:
        """Let the gateway mark a key, read its source, and put what it found."""
        self.world.expire(self.now_s)
        state, noted = self.state, self.world.seen(target.reach)
        mark = Mark(target.key, state.version_of(target), target, state.marker_of(target), self.now_s)
        made = Made(target, noted, noted, noted, _NOTHING, self.now_s)
        takes_s = random.choice((0.0, 0.05, 0.5, 3.0))
        self.after(random.uniform(0.0, takes_s), lambda: self._find(made))
        rows = random.sample(self._rows, random.randrange(4))
        self.after(
            takes_s, lambda: self._put(mark, made, content_of(freeze({"put": mark.at_s, "sessions": rows})))
        )

    def evict(self, keys: tuple[Hashable, ...] | None) -> None:
        """Let the gateway evict what is held for some keys, or for all."""
        self.take(Evict(keys))

    def left(self, read: Read) -> None:
        """Note that a reader waits no more."""
        reader = self._reader(read)
        self._pending -= not reader.is_over
        self.seen["left"] += not reader.is_over
        reader.is_over = True

    def take_maybe_twice(self, message: Message) -> None:
        """Hand in a message, now and then once more: each is safe to handle late, and twice."""
        self.take(message)
        if self._chance.random() < self.faults.repeats:
            self.after(self._chance.uniform(0.0, 0.5), lambda: self.take(message))

    def demand_rest(self) -> None:
        """Check what holds once nothing is left to happen.

        Raises:
            AssertionError: It does not.
        """
        self._demand([(not self._effects, "I4: an effect that failed was never run again")])
        self._demand(self._laws.of_rest(self.state))
        self._demand([] if self.state.stopped else self._timing.of_rest())
        held = {id(entry.content) for entry in self.state.entries.values()}
        self._demand([(self._contents.keys() == held, "P4: a content was let go too early, or never")])

    def _of_step(self, before: State, transitions: Iterable[Transition]) -> Laws:
        state = self.state
        if self.seen["steps"] % _FOLDED_EVERY == 0:
            yield _same(fold(before, transitions), state), "the fold of what happened gives another state"
        if not self._effects:
            yield len(self._running) == state.running() or state.stopped, "I5: a slot in the pool is lost"
            yield self._hanging == state.abandoned, "B6: builds that hang are miscounted"
        yield self._pending == state.waiting, "I4: a reader was forgotten, or is remembered after its answer"
        yield self.seen["steps"] < self._most_steps, "the cache keeps itself busy"

    def _judge(self, effect: Effect) -> None:
        """Check what an effect does by the moment at which it was decided; it may be run later."""
        match effect:
            case Answer():
                self._judge_answer(effect)
            case RunBuild(build=build):
                self._demand(self._of_start(build))
            case Deliver(answer=Served(entry=entry)):
                held = id(entry.content) in self._contents
                self._demand([(held, "R13: a payload was let go before it was delivered")])
            case _:
                pass

    def _run_effects(self) -> None:
        """Run what is asked for, in order; one that fails is run again later, or with the next message."""
        while self._effects:
            effect = self._effects[0]
            if effect is not self._failed and self._chance.random() < self.faults.effects_fail:
                self.seen["effect fails"] += 1
                self._failed = effect
                self.after(self._chance.uniform(0.0, 0.05), self._run_effects)
                return
            self._effects.popleft()
            self._run(effect)

    def _run(self, effect: Effect) -> None:
        match effect:
            case Answer():
                self._answered(effect)
            case Deliver():
                self._delivered(effect)
            case TakeCheck():
                self._check(effect)
            case RunBuild():
                self._build(effect.build)
            case Abandon(build_id=build_id):
                del self._running[build_id]
                self._hanging.add(build_id)
            case Release(content=content):
                self.after(self._chance.choice((0.0, 0.1)), lambda: self._let_go(content))
            case Tell(notice=notice):
                self.seen[type(notice).__name__] += 1
                return
            case _:
                assert_never(effect)
        self.seen[type(effect).__name__] += 1

    def _judge_answer(self, effect: Answer) -> None:
        answer, reader = effect.answer, self._readers[int(str(effect.reader))]
        target = reader.read.target
        check = self._timing.checks.get(target.scope)
        failing, in_the_way = self._timing.is_failing(target.scope, self.now_s), self._in_the_way(target)
        late_s, stopped = self.faults.late_s, self.state.stopped
        moment = Moment(self.now_s, self.policy, self.world, late_s, check, failing, in_the_way, stopped)
        made = self._laws.made.get(answer.entry.build_id) if isinstance(answer, Served) else None
        self._demand(laws_of_answer(reader, answer, made, moment))
        gone = isinstance(answer, Served) and id(answer.entry.content) not in self._contents
        self._demand([(not gone, "R4: a payload was let go while a reader could still get it")])
        reader.is_over = True
        self._pending -= 1

    def _delivered(self, effect: Deliver) -> None:
        answer = effect.answer
        if isinstance(answer, Served):
            self._used.pop(effect.key, None)
            self._used[effect.key] = self.seen["steps"]
        else:
            self.seen["laid over anew" if answer is None else "interrupted"] += 1

    def _answered(self, effect: Answer) -> None:
        answer = effect.answer
        if isinstance(answer, HermesCacheError):
            self.seen[type(answer).__name__] += 1
            return
        if answer.outcome == "hit":
            self._hits.remember(self.state, answer, self.now_s)
        self.seen[answer.outcome] += 1
        self._used.pop(effect.key, None)
        self._used[effect.key] = self.seen["steps"]

    def _in_the_way(self, target: Target) -> InTheWay:
        """Tell what could stand in the way before this step or after it."""
        policy, steps = self.policy, (self._before, self.state)
        failed, timed_out = self._timing.failed(target.key)
        return InTheWay(
            failed=failed,
            timed_out=timed_out,
            hangs=any(len(state.abandoned) >= policy.max_abandoned for state in steps),
            crowded=any(state.waiting >= policy.max_waiters for state in steps),
            queue_full=any(len(state.queue) >= policy.max_queue for state in steps),
        )

    # Checks.

    def _look(self, target: Target, streams: Streams, took_s: float) -> Check:
        seen, listed = self.world.seen(target.reach), self.world.listed
        held = streams.marker(target.reach, listed).held
        parts: Parts = (("content", seen.commits), ("settings", seen.settings))
        verified = self._chance.random() >= self.faults.unreadable
        if not verified:
            parts = self._last_parts.get(target.scope, parts)
        self._last_parts[target.scope] = parts
        return Check(self.now_s, took_s, parts[held:], listed, held, verified)

    def _check(self, effect: TakeCheck) -> None:
        takes_s = self._chance.choice(_CHECK_TAKES_S)
        if self._chance.random() < self.faults.checks_hang:
            takes_s = self._chance.choice(_CHECK_HANGS_FOR_S)
            self.seen["check hangs"] += 1
        check = None
        if self._chance.random() >= self.faults.checks_fail:
            check = self._look(effect.target, effect.streams, takes_s)
        if takes_s < inf:
            self.after(takes_s, lambda: self._checked(effect, check))

    def _checked(self, effect: TakeCheck, check: Check | None) -> None:
        target = effect.target
        read_since = target.scope in self._read_scopes
        self._read_scopes.discard(target.scope)
        if check is None:
            self.seen["check fails"] += 1
            failed = CheckFailed(target, "simulated", read_since=read_since, asked_s=effect.asked_s)
            self.take_maybe_twice(failed)
            return
        self.take_maybe_twice(Checked(target, check, read_since=read_since, asked_s=effect.asked_s))

    def _check_at_once(self, target: Target, streams: Streams) -> Check | None:
        """Take the check of a build, or of a reader for itself."""
        if self._chance.random() < self.faults.checks_fail:
            self.take_maybe_twice(CheckFailed(target, "simulated", by_build=True))
            return None
        check = self._look(target, streams, 0.0)
        self.take_maybe_twice(Checked(target, check, by_build=True))
        return check

    # Builds.

    def _build(self, build: Build) -> None:
        alone = all(other.target.key != build.target.key for other in self._running.values())
        self._demand([(alone, "B1: two builds of one key run")])
        self._running[build.id] = build
        self.after(self._chance.choice((0.0, 0.01)), lambda: self._stamp(build))

    def _of_start(self, build: Build) -> Laws:
        key = build.target.key
        waiting = [self._reader(waiter.read) for waiter in self.state.for_build(build.target).values()]
        for reader in waiting:
            reader.builds += 1
            yield reader.builds <= 2, "B4: a reader waits for a third build"
        brought = str(build.builder).partition(" for ")[2]
        yield build.builder is None or brought == str(key), "R11: a builder that was brought for another key"

    def _stamp(self, build: Build) -> None:
        """Take the build's own check, then call the builder (B3)."""
        stamped = self.world.seen(build.target.reach)
        check = self._check_at_once(build.target, build.streams) or Check.failed(self.now_s)
        from_s = build.began_s or self.now_s
        made = Made(build.target, self._timing.noted[build.id], stamped, stamped, _NOTHING, from_s)
        hangs = self._chance.random() < self.faults.hangs
        takes_s = _HANGS_FOR_S if hangs else self._chance.choice(_BUILD_TAKES_S)
        self.after(self._chance.uniform(0.0, takes_s), lambda: self._find(made))
        self.after(takes_s, lambda: self._return(build, check, made))

    def _find(self, made: Made) -> None:
        """Let a builder read the source, somewhere between its start and its end."""
        made.found = self.world.seen(made.target.reach)

    def _return(self, build: Build, check: Check, made: Made) -> None:
        live = self.state.builds.get(build.target.key)
        is_live = live is not None and live.id == build.id
        self.seen["overtaken"] += (
            is_live and self.world.seen(build.target.reach).invalidations > made.noted.invalidations
        )
        self.seen["late"] += build.id in self._hanging
        self._running.pop(build.id, None)
        self._hanging.discard(build.id)
        if self._chance.random() < self.faults.fails:
            self.take_maybe_twice(Failed(build, OSError(), "simulated"))
            return
        rows = self._chance.sample(self._rows, self._chance.randrange(4))
        made.content = content = content_of(freeze({"build": build.id, "sessions": rows}))
        self._laws.made[build.id] = made
        self._contents[id(content)] = content
        took_s = self.now_s - (build.began_s or self.now_s)
        held_bytes = weigh(self._contents.values())
        self.take_maybe_twice(
            Built(build, content, check, took_s, held_bytes, self._moved(build), self._recency())
        )

    def _put(self, mark: Mark, made: Made, content: Content) -> None:
        made.content = content
        self._laws.made[self.state.last_build + 1] = made
        self._contents[id(content)] = content
        moved = frozenset[str | None]()
        if mark.key in self.state.entries:
            moved = frozenset({None if mark.target.reach == ALL_PROFILES else mark.target.reach})
        self.take(Put(mark, content, weigh(self._contents.values()), moved, self._recency()))
        is_held = any(entry.content is content for entry in self.state.entries.values())
        self.seen["put" if is_held else "not put"] += 1

    def _moved(self, build: Build) -> frozenset[str | None]:
        if build.target.key not in self.state.entries or self._chance.random() < 0.5:
            return frozenset()
        reach = build.target.reach
        return frozenset({self._chance.choice((None, *PROFILES)) if reach == ALL_PROFILES else reach})

    def _let_go(self, content: Content) -> None:
        self._contents.pop(id(content), None)
        self.take(Weighed(weigh(self._contents.values()), self._recency()))

    def _recency(self) -> Recency:
        used = [key for key in self._used if key in self.state.entries]
        # What nobody has read yet goes first.
        return (*[key for key in self.state.entries if key not in self._used], *used)

    def _reader(self, read: Read) -> Reader:
        return self._readers[int(str(read.reader))]

    def _demand(self, laws: Iterable[tuple[bool, str]]) -> None:
        for holds, breach in laws:
            if not holds:
                raise AssertionError(f"{breach} (seed {self._seed}, at {self.now_s:.3f} s)")


def _has_a_wish(read: Read) -> bool:
    """Say whether a read asks for more than the default: it is never answered by a remembered hit."""
    return read.request != Request(read.request.began_s)


def _rows() -> list[Row]:
    """Return rows of several sizes, which payloads share."""
    return [freeze_row({"session_id": str(number), "title": "x" * 40 * number}) for number in range(6)]


def _same(left: State, right: State) -> bool:
    return all(getattr(left, name) == getattr(right, name) for name in State.__slots__)
