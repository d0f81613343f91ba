"""Processes that share a journal, simulated from a seed: no thread, no clock, the real code.

Each step one member does one thing: publishes, reads, checks, writes, dies, comes back, stands still. Wherever
the real code calls its journal, and wherever it has an event applied, others may act in between. After every step
the laws are checked; a breach raises `AssertionError` naming the seed, so that the same run can be had again.
"""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from random import Random
from typing import Final

from hermes_cache.core.events import SessionListChanged, SettingsChanged, StreamStarted, StreamStopped
from hermes_cache.core.policy import Policy
from hermes_cache.errors import JournalError, JournalUnavailableError
from hermes_cache.journal import snapshots
from hermes_cache.journal.member import Bounds
from tests.simulation.journal_laws import MemberLaws, check_lists
from tests.simulation.journal_world import PROFILES, World
from tests.simulation.simulated_client import Client
from tests.simulation.simulated_journal import OUTAGES, TOO_LARGE, CrashedError, Mishaps
from tests.simulation.simulated_member import Member, MemberBounds, new_member

_DEEPEST: Final = 2
"""How many may be in the middle of something while another acts."""

_MOST_NESTED: Final = 1_000
"""Steps in the middle of others, in a run: each may bring more calls, and with them more of its kind."""

_ROOMY: Final = 1_000
"""Changes that wait: more than there are in a run."""

_ROUNDS: Final = 5
"""How often everybody has to look, once all faults are over, until all agree."""

Act = Callable[[Member], None]


class JournalSimulation:
    """Members, a journal and an operator, driven by a seed.

    Args:
        seed: The same seed gives the same run.
        steps: How often somebody does something.
    """

    def __init__(self, seed: int, *, steps: int = 160) -> None:
        self.world = World(seed)
        self._seed = seed
        self._steps = steps
        self._users = Random(f"users of {seed}")
        self._order = Random(f"order of {seed}")
        self._faults = Random(f"faults of {seed}")
        self._names = Random(f"names of {seed}")
        self._buses = self._names.choice((("sessions",), ("sessions", "orders")))
        self._depth = 0
        self._nested = 0
        self._causes = 0
        self._undone: set[str] = set()
        self._draw()
        self._members: list[Member] = []
        self._laws: dict[str, MemberLaws] = {}
        self._dead = 0
        sharp = self._bounds.waiting == _ROOMY
        self._clients = [
            Client(self.world, self._users, self._names.choice(self._buses), profile, sharp=sharp)
            for profile in (None, None, "work")
        ]

    def run(self) -> Counter[str]:
        """Run, let all faults end, and give what happened how often.

        Raises:
            AssertionError: A law is broken.
        """
        for _ in range(self._users.choice((2, 2, 3, 4))):
            self._begin()
        self.world.interrupt_with(self._interrupt)
        for _ in range(self._steps):
            self._step()
            self._judge()
        self.world.interrupt_with(lambda: None)
        self._come_to_rest()
        return self.world.seen

    @property
    def trace(self) -> int:
        """A number that two runs share only if they took the same steps."""
        return self.world.trace

    def _draw(self) -> None:
        pick = self._faults.choice
        self._policy = Policy(
            journal_wait=0.0, journal_interval=pick((0.0, 0.0, 0.05)), journal_lease=pick((0.05, 10.0))
        )
        self._mishaps = Mishaps(
            fails=pick((0.0, 0.01, 0.05)),
            cut=pick((0.0, 0.1, 0.3)),
            unanswered=pick((0.0, 0.0, 0.2)),
            dies=pick((0.0, 0.05)),
        )
        self._interrupts = pick((0.0, 0.1, 0.3))
        self._refused = pick((0.0, 0.02, 0.3))
        self._most_events = pick((1, 5, 20))
        remembered, waiting = pick((2, 8, 1024)), pick((2, 4, _ROOMY, _ROOMY))
        buffered, buffered_streams, group = pick((1, 4, 10_000)), pick((2, 8, 20_000)), pick((1, 3, 500))
        of_journal = Bounds(
            buffered=buffered,
            buffered_streams=buffered_streams,
            group=group,
            part=pick((1, 3, 1_000)),
            missed_by_subscriber=pick((2, 10_000)),
        )
        self._bounds = MemberBounds(remembered=remembered, waiting=waiting, journal=of_journal)
        self._ways: list[Act] = []
        for way, least in ((self._publish, 6), (self._go_on, 8), (self._read, 6), (self._check, 3)):
            self._ways += [way] * pick((least, 2 * least))
        self._ways += [self._write] * pick((2, 8)) + [self._act_as_client] * pick((3, 12)) + [self._insist]
        self._ways += [self._wait_long] * pick((0, 1))
        self._focus(pick(("crowd", "refusals", "faults", "faults")))
        self._ways += [self._back_up] * 2 + [self._revive] * 2 + [self._plug] * pick((2, 6))

    def _focus(self, what: str) -> None:
        """Have a run see much of one thing: many at once, events that are refused, or an operator's doings."""
        pick = self._faults.choice
        if what == "crowd":
            self._interrupts = 0.5
            self._ways += [self._act_as_client] * 20 + [self._die]
            return
        if what == "refusals":
            self._refused = 0.5
            self._bounds = replace(self._bounds, journal=replace(self._bounds.journal, group=1))
            self._mishaps = replace(self._mishaps, fails=0.1, cut=0.3)
            self._ways += [self._write] * 20
            return
        for fault in (self._die, self._pause, self._cut_off, self._compact):
            self._ways += [fault] * pick((0, 1, 2))
        for fault in (self._damage, self._replace, self._restore):
            self._ways += [fault] * pick((0, 0, 1, 4))

    def _begin(self) -> None:
        self.world.note("began")
        bus_name = self._names.choice(self._buses)
        member = new_member(self.world, self._policy, self._faults, self._mishaps, self._bounds, bus_name=bus_name)
        self._members.append(member)
        self._laws[member.name] = MemberLaws(self.world, member)
        self._do(self._check, member)

    def _step(self) -> None:
        """Let one member do one thing."""
        self.world.now_s += self._order.choice((0.0, 0.001, 0.01, 0.06))
        awake = [member for member in self._members if member.paused_until_s <= self.world.now_s]
        if awake:
            self._do(self._order.choice(self._ways), self._order.choice(awake))
        for member in self._members:
            self._laws[member.name].of_step()

    def _do(self, act: Act, member: Member) -> None:
        try:
            act(member)
        except CrashedError:
            self._bury(member)
        except Exception:  # noqa: BLE001 - whatever escapes the real code is a breach
            self.world.broken.append(traceback.format_exc())

    def _interrupt(self) -> None:
        if self._nested < _MOST_NESTED and self._depth < _DEEPEST and self._order.random() < self._interrupts:
            self._nested += 1
            self._depth += 1
            self.world.now_s += self._order.choice((0.0, 0.0, 0.03))
            try:
                self._step()
            finally:
                self._depth -= 1

    def _judge(self) -> None:
        # Where a process cannot tell two files apart, no law says what it must know.
        if self.world.broken and not self.world.twins:
            raise AssertionError(f"{self.world.broken[0]} (seed {self._seed}, at {self.world.moment})")

    # What users do.

    def _publish(self, member: Member) -> None:
        users, world = self._users, self.world
        profile = users.choice((None, *PROFILES, *PROFILES, *PROFILES))
        stream = f"{users.choice(PROFILES)} turn {users.randrange(5)}"
        match users.randrange(14):
            case 0:
                event = member.make(SettingsChanged)
            case 1 | 2 | 3:
                event = member.make(StreamStarted, stream_id=stream, profile=stream.partition(" ")[0])
            case 4 | 5:
                event = member.make(StreamStopped, stream_id=stream)
            case _:
                reason = TOO_LARGE if users.random() < self._refused else "renamed"
                event = member.make(SessionListChanged, profile=profile, reason=reason)
        publishing = member.publish(event)
        world.note(type(event).__name__)
        member.go_on(publishing)
        if users.random() < 0.5:
            while publishing in member.publishing:
                member.go_on(publishing)

    def _go_on(self, member: Member) -> None:
        if member.publishing:
            member.go_on(self._order.choice(member.publishing))

    def _read(self, member: Member) -> None:
        world = self.world
        began_s, file = world.now_s, world.file
        interval_s = self._policy.journal_interval
        if "check" in member.busy:
            # On another thread than the one that checks: it waits, unless it is told that it need not.
            known = member.membership.is_current() and member.state.read_failure is None
            if known and file.placed_s <= began_s - interval_s:
                check_lists(world, member, file, began_s - interval_s, "a look")
            return
        world.tick()
        member.catch_up()
        if member.state.read_failure is not None or not member.joined:
            world.note("read without the journal")
        elif world.file is file and file.placed_s <= began_s - interval_s:
            world.note("read")
            check_lists(world, member, file, began_s - interval_s, "a read")
            self._demand_tickets(member, began_s - interval_s)
        for profile in PROFILES:
            member.serve(profile)

    def _demand_tickets(self, member: Member, until_s: float) -> None:
        file = self.world.file
        own = set(self.world.of_bus(member.bus.name, file.history))
        for mark, at_s in zip(file.history, file.since, strict=True):
            if at_s <= until_s and mark not in self.world.damaged and mark in own:
                told = f"J8: the ticket {mark} is not answered at {member.name} after a check"
                self.world.demand(member.state.has(self.world.events[mark].id), told)

    def _insist(self, member: Member) -> None:
        if "check" in member.busy or not member.joined:
            return
        began_s = self.world.now_s
        with member.at_work("check"):
            try:
                member.life.insist(self._policy.journal_lease, inf, bounded=False)
            except JournalUnavailableError:
                self.world.note("refused")
                silent_s = self.world.now_s - member.state.checked_s
                self.world.demand(silent_s > self._policy.journal_lease, "J5: refused within the lease")
                return
        since_s = began_s - member.state.checked_s
        self.world.demand(since_s <= self._policy.journal_lease, "I8: served though the journal is away for long")

    def _act_as_client(self, member: Member) -> None:
        del member
        self._users.choice(self._clients).act(self._members)

    # What processes do by themselves.

    def _check(self, member: Member) -> None:
        if "check" not in member.busy:
            member.check()

    def _write(self, member: Member) -> None:
        if "writer" not in member.busy:
            member.write()

    # What goes wrong, and what an operator does.

    def _wait_long(self, member: Member) -> None:
        del member
        self.world.now_s += self._faults.choice((0.3, 1.0, 12.0))

    def _die(self, member: Member) -> None:
        if not member.busy and len(self._members) > 1:
            self.world.note("died")
            self._bury(member)

    def _bury(self, member: Member) -> None:
        self._members.remove(member)
        self._dead += 1

    def _revive(self, member: Member) -> None:
        del member
        if self._dead:
            self._dead -= 1
            self._begin()

    def _pause(self, member: Member) -> None:
        if not member.busy:
            self.world.note("stood still")
            member.paused_until_s = self.world.now_s + self._faults.choice((0.1, 0.5))

    def _cut_off(self, member: Member) -> None:
        self.world.note("cut off")
        member.journal.outage = self._faults.choice(OUTAGES)

    def _plug(self, member: Member) -> None:
        member.journal.outage = None

    def _compact(self, member: Member) -> None:
        try:
            dropped = member.journal.compact(snapshots.fold_snapshot, before_s=0.0, max_events=self._most_events)
        except (JournalError, RuntimeError):
            return
        if dropped:
            self._cause("compacted")

    def _damage(self, member: Member) -> None:
        del member
        self.world.damage(self._faults)
        self._cause("damaged")

    def _replace(self, member: Member) -> None:
        del member
        self.world.replace()
        self._cause("replaced")

    def _restore(self, member: Member) -> None:
        del member
        if self.world.backup is not None:
            self._note_undone()
            self.world.restore()
            self._cause("restored")

    def _note_undone(self) -> None:
        """Note what a restore undoes before its publishers read it back: nobody can tell that it is missed."""
        history = self.world.file.history
        for member in self._members:
            position = member.position
            if any(mark.startswith(member.marks) for mark in history[position.seq if position else 0 :]):
                # It may have been what told the others of all that was undone before.
                self._undone |= member.put

    def _back_up(self, member: Member) -> None:
        del member
        if self.world.backup is None or self._faults.random() < 0.3:
            self.world.backup = self.world.file.copied()

    def _cause(self, happened: str) -> None:
        self.world.note(happened)
        self._causes += 1

    # The end.

    def _come_to_rest(self) -> None:
        """Let all faults end; everybody then agrees soon, and tells no more."""
        for member in self._members:
            member.journal.outage = None
            member.journal._mishaps = Mishaps()
            while member.publishing:
                member.go_on(member.publishing[0])
        for _ in range(_ROUNDS):
            self.world.now_s += 1.1
            for member in self._members:
                self._do(self._write, member)
                self._do(self._check, member)
                self._laws[member.name].of_step()
                self._judge()
        for member in self._members:
            self._demand_rest(member)
        for client in self._clients:
            client.take_all()
        self._judge()

    def _demand_rest(self, member: Member) -> None:
        world, file = self.world, self.world.file
        world.demand(not member.state.buffer, f"I10: {member.name} has events that it did not write")
        position = member.position
        told = f"I10: {member.name} is at {position}, and the journal ends at {file.store.end}"
        world.demand(position is not None and position.seq == file.store.end.seq, told)
        check_lists(world, member, file, world.now_s, "the last look")
        # A gap is told again where the join failed that it led to: others went on speaking meanwhile.
        causes = self._causes + world.seen["call failed"] + world.seen["cut off"] + 1
        said = f"I10: {member.name} told of {member.gaps} gaps for {causes} causes"
        world.demand(member.gaps <= causes, said)
        for each in self._members:
            marks = [*(each.put - self._undone)]
            for profile in PROFILES:
                held, last = member.held(profile), world.last_said(member.bus.name, profile, marks)
                lost = f"J5: {member.name} serves {profile} as of {held}; {each.name} said more at {last}"
                world.demand(held is None or held >= last, lost)
