"""Events on the running cache: what they outdate, who hears of them, and in which order (V, K3, E, J8)."""

import gc
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    EventError,
    JournalUnavailableError,
    Lookup,
    Policy,
    SessionListCache,
    SessionListChanged,
    SessionListKey,
    SourceChanged,
    default_bus,
)
from hermes_cache.bus.topic import Topic
from hermes_cache.cache import list_cache
from hermes_cache.core import versions
from hermes_cache.core.messages import Tick
from hermes_cache.core.notices import (
    BuildDiscarded,
    BuildFailed,
    BuildFinished,
    BuildStarted,
    EntryEvicted,
    EntryInvalidated,
    EntryStored,
    Notice,
)
from hermes_cache.ports import IsRootProfile
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.integration.heard import scopes_in
from tests.waiting import WAIT_S, until

_KEY = SessionListKey()
_WORK = SessionListKey("work")
_EVERY = SessionListKey("home", all_profiles=True)
_POLICY = Policy(ttl=3_600.0, streaming_ttl=3_600.0, max_build_duty=1.0, owner_wait=WAIT_S)
_MONITORED = (
    "build_started",
    "build_finished",
    "build_failed",
    "build_discarded",
    "entry_stored",
    "entry_invalidated",
    "entry_evicted",
)


@contextmanager
def _running(
    builder: Callable[[SessionListKey], Mapping[str, object]] | None = None,
    *,
    bus: Bus | None = None,
    policy: Policy = _POLICY,
    sources: VersionedSources | None = None,
    clock: ManualClock | None = None,
    is_root_profile: IsRootProfile | None = None,
) -> Iterator[SessionListCache]:
    cache = SessionListCache(
        builder or GatedBuilder(is_open=True),
        bus=bus or Bus(),
        policy=policy,
        sources=sources,
        clock=clock,
        is_root_profile=is_root_profile,
    )
    with cache:
        yield cache


def _told(looked: Lookup) -> str:
    return f"{looked.outcome} {looked.reason or ''}".strip()


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (None, ["built event"] * 3),
        ("", ["built event"] * 3),
        ("  ", ["built event"] * 3),
        ("work", ["hit", "built event", "built event"]),
        (" work ", ["hit", "built event", "built event"]),
        ("default", ["built event", "hit", "built event"]),
        ("home", ["hit", "hit", "built event"]),
    ],
)
def test_a_changed_list_outdates_its_profile_and_all_profiles_views_alone(
    profile: str | None, told: list[str]
) -> None:
    """V1, K3, K4"""
    bus = Bus()
    with _running(bus=bus) as cache:
        for key in (_KEY, _WORK, _EVERY):
            cache.get(key)

        bus.session_list_changed.send(profile=profile)

        assert [_told(cache.lookup(key)) for key in (_KEY, _WORK, _EVERY)] == told


def test_changed_settings_outdate_everything_and_move_the_settings_version() -> None:
    """V1, V3"""
    bus = Bus()
    with _running(bus=bus, sources=VersionedSources()) as cache:
        before = cache.lookup(_WORK)

        bus.settings_changed.send()
        after = cache.lookup(_WORK)

        assert _told(after) == "built event"
        assert (before.stamp["settings_version"], after.stamp["settings_version"]) == ((0, None), (1, None))
        assert after.version > before.version


def test_a_version_is_the_position_of_the_last_event_that_touched_the_key() -> None:
    """V2"""
    bus = Bus()
    with _running(bus=bus) as cache:
        bus.session_list_changed.send(profile="work")
        bus.stream_started.send(stream_id="a")
        bus.session_list_changed.send(profile="home")

        versions = [cache.lookup(key).version for key in (_KEY, _WORK, _EVERY)]

        assert versions == [0, 1, 3]


def test_past_their_bound_only_profiles_that_are_not_known_are_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    """V2"""
    monkeypatch.setattr(versions, "MOST_PROFILES", 3)
    with _running() as cache:
        cache.invalidate("work")
        cache.get(_WORK)

        for name in ("a", "b", "work is forgotten"):
            cache.invalidate(name)
        within = cache.lookup(_WORK)
        cache.invalidate("a is forgotten")
        beyond = cache.lookup(_WORK)

        assert (_told(within), _told(beyond), beyond.version) == ("hit", "built event", 2)


def test_an_event_from_before_the_start_is_known_after_it() -> None:
    """V2, E5"""
    bus = Bus()
    cache = SessionListCache(GatedBuilder(is_open=True), bus=bus, policy=_POLICY)
    bus.session_list_changed.send(profile="work")
    bus.stream_started.send(stream_id="a")

    with cache:
        looked = cache.lookup(_WORK)

        assert looked.version == 1
        assert cache.stats().streams == 1


def test_a_root_profile_that_was_renamed_is_the_default_for_keys_and_events() -> None:
    """K3, K4"""
    builder = GatedBuilder(is_open=True)
    with _running(builder, is_root_profile=lambda name: name == "renamed") as cache:
        payload = cache.get(_KEY)
        alias = SessionListKey("renamed")

        assert cache.get(alias) is payload
        cache.invalidate("renamed")
        assert cache.lookup(_KEY).reason == "event"
        cache.invalidate()
        cache.get(alias)
        assert (builder.calls(_KEY), builder.calls(alias)) == (3, 0)


def test_what_a_name_means_is_asked_once_and_again_after_settings_changed() -> None:
    """K3"""
    asked: list[str] = []
    roots = {"renamed"}

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return name in roots

    bus, alias = Bus(), SessionListKey("renamed")
    with _running(bus=bus, is_root_profile=is_root_profile) as cache:
        cache.get(alias)
        cache.get(alias.with_profile("renamed"))
        cache.get(SessionListKey("renamed", show_cron=True))
        cache.invalidate("renamed")
        once = list(asked)

        roots.clear()
        bus.settings_changed.send()
        own = cache.lookup(alias)

        assert once == ["renamed"]
        assert asked == ["renamed", "renamed"]
        assert own.payload["profile"] == "renamed"


def test_an_event_that_a_builder_publishes_touches_its_own_profile_alone() -> None:
    """V1, K3: where aliases are asked for, too."""
    bus = Bus()

    def build(key: SessionListKey) -> Mapping[str, object]:
        if key == _WORK:
            bus.session_list_changed.send(None, profile="home")
        return {"sessions": []}

    with _running(build, bus=bus, is_root_profile=lambda _name: False) as cache:
        cache.get(SessionListKey("other"))
        cache.get(_WORK)

        assert cache.lookup(SessionListKey("other")).outcome == "hit"


def test_an_alias_callable_that_publishes_does_not_wait_for_itself() -> None:
    """K3, L5: whose event it is cannot be asked from there, so it is everybody's."""
    bus, told = Bus(), list[object]()

    def is_root_profile(_name: str) -> bool:
        if not told:
            told.append(bus.session_list_changed.send(None, profile="home"))
        return False

    with _running(bus=bus, is_root_profile=is_root_profile) as cache:
        cache.get(_KEY)
        cache.get(_WORK)

        assert told
        assert cache.lookup(_KEY).outcome != "hit"


def test_a_failure_to_say_what_a_name_means_counts_as_no(caplog: pytest.LogCaptureFixture) -> None:
    """K3"""

    def is_root_profile(name: str) -> bool:
        raise OSError(name)

    with _running(is_root_profile=is_root_profile) as cache:
        assert cache.get(_WORK)["profile"] == "work"
        cache.invalidate("work")
        assert cache.lookup(_WORK).reason == "event"
    logged = [record for record in caplog.records if record.message == "hermes_cache.callable_failed"]
    assert [record.levelno for record in logged] == [logging.WARNING]


def test_an_answer_from_before_settings_changed_is_not_used_for_a_key() -> None:
    """K3"""
    bus, answers = Bus(), [False, True]

    def is_root_profile(_name: str) -> bool:
        if len(answers) == 2:
            bus.settings_changed.send()
        return answers.pop()

    with _running(bus=bus, is_root_profile=is_root_profile) as cache:
        payload = cache.get(_WORK)

        assert payload["profile"] == "work"
        assert cache.get(_WORK) is payload
        assert answers == []


def test_an_answer_from_before_settings_changed_is_not_used_for_an_event() -> None:
    """K3, E7"""
    bus, answers = Bus(), [False, True]

    def is_root_profile(_name: str) -> bool:
        if len(answers) == 2:
            bus.settings_changed.send()
        return answers.pop()

    with _running(bus=bus, is_root_profile=is_root_profile) as cache:
        cache.get(_KEY)
        subscription = cache.subscribe()
        bus.session_list_changed.send(profile="work")

        assert cache.lookup(_KEY).version == 1
        assert cache.lookup(_WORK).version == 2
        assert scopes_in(subscription) == [(None, None), ("work", None)]


def test_a_bad_argument_reaches_no_cache() -> None:
    """E3"""
    bus = Bus()
    with _running(bus=bus) as cache:
        cache.get(_KEY)

        with pytest.raises(EventError, match="profile"):
            bus.session_list_changed.send(profile=5)
        with pytest.raises(EventError, match="stream_id"):
            bus.stream_started.send()

        assert cache.stats().events == 0
        assert cache.lookup(_KEY).outcome == "hit"


def test_the_process_wide_bus_is_that_of_a_cache_that_is_given_none() -> None:
    """E2"""
    with SessionListCache(GatedBuilder(is_open=True), policy=_POLICY) as cache:
        cache.get(_KEY)

        default_bus.session_list_changed.send("anybody", reason="rename")

        assert cache.lookup(_KEY).reason == "event"


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("session_list_changed", {"profile": "default"}),
        ("settings_changed", {}),
        ("stream_started", {"stream_id": "b"}),
        ("stream_stopped", {"stream_id": "a"}),
    ],
)
def test_a_receiver_that_reads_sees_the_list_without_what_the_event_outdated(
    topic: str, fields: dict[str, str]
) -> None:
    """E5, L5"""
    bus = Bus()
    seen: list[object] = []
    with _running(bus=bus) as first, _running(bus=bus) as second:
        bus.stream_started.send(stream_id="a")
        published = getattr(bus, topic)
        published.connect(lambda _sender, **_: seen.extend(cache.get(_KEY)["call"] for cache in (first, second)))
        first.get(_KEY)
        second.get(_KEY)

        published.send(**fields)

        assert seen == [2, 2]


def test_a_receiver_that_raises_keeps_no_event_from_a_cache() -> None:
    """E4, E5"""
    bus = Bus()

    def break_down(_sender: object, **_: object) -> None:
        raise OSError("receiver")

    bus.session_list_changed.connect(break_down)
    with _running(bus=bus) as cache:
        cache.get(_KEY)
        bus.session_list_changed.send()

        assert cache.lookup(_KEY).reason == "event"


def test_two_caches_on_one_bus_both_apply_and_one_goes_on_without_the_other() -> None:
    """E5"""
    bus = Bus()
    with _running(bus=bus) as first:
        with _running(bus=bus) as second:
            first.get(_KEY)
            second.get(_KEY)
            second.invalidate()
            both = [_told(cache.lookup(_KEY)) for cache in (first, second)]
        bus.session_list_changed.send()

        assert both == ["built event"] * 2
        assert (first.stats().events, second.stats().events) == (2, 1)
        assert _told(first.lookup(_KEY)) == "built event"


def test_a_cache_hears_nothing_of_another_bus() -> None:
    """E2"""
    with _running() as first, _running() as second:
        second.get(_KEY)
        first.invalidate()

        assert second.lookup(_KEY).outcome == "hit"


class _Monitor:
    """Hears all that is told to monitors."""

    def __init__(self, bus: Bus) -> None:
        self.heard: list[tuple[str, Notice]] = []
        self.threads: set[str] = set()
        for name in _MONITORED:
            self._listen(name, getattr(bus, name))

    def _listen(self, name: str, topic: Topic) -> None:
        def hear(_sender: object, *, event: Notice) -> None:
            self.threads.add(threading.current_thread().name)
            self.heard.append((name, event))

        topic.connect(hear)

    def named(self) -> list[str]:
        return [name for name, _ in self.heard]


def test_monitors_hear_of_every_build_and_entry_in_order_on_the_notifiers_thread() -> None:
    """E6"""
    bus = Bus()
    monitor, builder = _Monitor(bus), GatedBuilder(is_open=True)
    with _running(builder, bus=bus, policy=Policy(ttl=3_600.0, max_entries=1)) as cache:
        cache.get(_KEY)
        cache.get(_WORK)
        ticket = cache.invalidate("work")
        builder.fail_with(OSError("broken"))
        with pytest.raises(BuildError):
            cache.get(_WORK)

    built = ["build_started", "build_finished", "entry_stored"]
    expected = [*built, *built, "entry_evicted", "entry_invalidated", "build_started", "build_failed"]
    assert monitor.named() == expected
    assert monitor.threads == {"hermes_cache.notifier"}
    assert [event for _, event in monitor.heard][3:8] == [
        BuildStarted(_WORK, 2, "miss"),
        _any_finish(monitor.heard[4][1], _WORK, 2),
        EntryStored(_WORK, 0, len(b'{"profile":"work","call":1}')),
        EntryEvicted(_KEY, "entries"),
        EntryInvalidated(_WORK, ticket.event_id),
    ]
    assert monitor.heard[-1][1] == BuildFailed(_WORK, 3, "OSError: broken")


def _any_finish(notice: Notice, key: SessionListKey, build_id: int) -> Notice:
    assert isinstance(notice, BuildFinished)
    return BuildFinished(key, build_id, notice.took_s)


def test_monitors_hear_of_a_build_that_an_event_overtook() -> None:
    """E6, B4"""
    bus, clock = Bus(), ManualClock()
    monitor, builder = _Monitor(bus), GatedBuilder()
    with _running(builder, bus=bus, clock=clock) as cache:
        reader = threading.Thread(target=cache.get, args=(_KEY,))
        reader.start()
        builder.wait_for_calls(1)
        ticket = cache.invalidate()
        builder.open()
        reader.join(WAIT_S)

    assert monitor.named() == ["build_started", "build_finished", "build_discarded"]
    assert monitor.heard[-1][1] == BuildDiscarded(_KEY, 1, ticket.event_id)


def test_a_monitor_that_hangs_delays_nobody_and_the_oldest_notices_go_counted() -> None:
    """E6"""
    bus, goes_on, hangs = Bus(), threading.Event(), threading.Event()

    @bus.build_started.connect
    def hang(_sender: object, **_: object) -> None:
        hangs.set()
        goes_on.wait(WAIT_S)

    with _running(bus=bus) as cache:
        cache.get(_KEY)
        assert hangs.wait(WAIT_S)
        for _ in range(400):
            cache.invalidate()
            cache.get(_KEY)
        sent = 3 + 400 * 4
        # The last of them are sent while their reader already has its answer.
        until(lambda: cache.stats().dropped_notices == sent - 1 - 1_024)
        goes_on.set()

        assert cache.stats().dropped_notices == sent - 1 - 1_024


def test_a_monitor_may_read_the_cache() -> None:
    """E6, L5"""
    bus = Bus()
    seen: list[object] = []
    heard = threading.Event()
    with _running(bus=bus) as cache:

        @bus.entry_stored.connect
        def read(_sender: object, *, event: EntryStored) -> None:
            assert isinstance(event.key, SessionListKey)
            seen.append(cache.get(event.key)["call"])
            heard.set()

        cache.get(_KEY)

        assert heard.wait(WAIT_S)
        assert seen == [1]


def test_a_subscriber_hears_of_its_profile_with_aliases_resolved() -> None:
    """E7"""
    bus = Bus()
    with _running(bus=bus, is_root_profile=lambda name: name == "renamed") as cache:
        by_alias, work, every = cache.subscribe("renamed"), cache.subscribe("work"), cache.subscribe(" ")

        bus.session_list_changed.send(profile="renamed", session_id="s")
        bus.session_list_changed.send(profile="work")
        bus.settings_changed.send()

        assert scopes_in(by_alias) == [("default", "s"), (None, None)]
        assert scopes_in(work) == [("work", None), (None, None)]
        assert scopes_in(every) == [("default", "s"), ("work", None), (None, None)]


def test_a_subscriber_whose_alias_is_slow_hears_of_no_other_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """E7, K3"""
    monkeypatch.setattr(list_cache, "ALIAS_WAIT_S", 0.05)
    bus, goes_on = Bus(), threading.Event()

    def is_root_profile(name: str) -> bool:
        return name == "work" and not goes_on.wait(5.0)

    with _running(bus=bus, is_root_profile=is_root_profile) as cache:
        subscription = cache.subscribe("work")
        goes_on.set()
        for name in ("home", "work"):
            # A read waits until it is known what a name means; an event does not for one whose answer was slow.
            cache.get(SessionListKey(name))
        bus.session_list_changed.send(None, profile="home", session_id="of home")
        bus.session_list_changed.send(None, profile="work", session_id="of work")

        assert scopes_in(subscription) == [("work", "of work")]


def test_a_slow_subscriber_loses_no_meaning() -> None:
    """E7"""
    with _running(policy=Policy(subscription_size=2)) as cache:
        same_session = cache.subscribe("work")
        for _ in range(3):
            cache.invalidate("work", session_id="s")
        same_profile, every = cache.subscribe("work"), cache.subscribe()
        for number in range(3):
            cache.invalidate("work", session_id=str(number))
        assert scopes_in(same_profile) == [("work", None)]
        for profile in ("home", "away"):
            cache.invalidate(profile)

        assert scopes_in(same_session) == [("work", None), ("work", "2")]
        assert scopes_in(every) == [(None, None)]


def test_a_subscriber_that_resumes_gets_what_it_missed_merged() -> None:
    """E8"""
    with _running() as cache:
        with cache.subscribe("work") as subscription:
            cache.invalidate("work", session_id="1")
            last = subscription.get(timeout=0)
        cache.invalidate("work", session_id="2")
        cache.invalidate("home")
        cache.invalidate("work", session_id="3")

        assert last is not None
        resumed = cache.subscribe("work", since=last.version)
        assert scopes_in(resumed) == [("work", None)]
        assert scopes_in(cache.subscribe("home", since=last.version)) == [("home", None)]
        assert scopes_in(cache.subscribe("work", since=resumed.version)) == []


def test_a_restart_closes_subscriptions_and_knows_what_to_tell_those_who_resume() -> None:
    """E8, L1"""
    with _running() as cache:
        subscription = cache.subscribe()
        cache.invalidate("work")
        change = subscription.get(timeout=0)
        cache.invalidate("home")
        cache.stop()
        cache.start()

        assert subscription.closed
        assert change is not None
        assert scopes_in(cache.subscribe(since=change.version)) == [("home", None)]


@pytest.mark.parametrize("since", ["", "nonsense", "other:1"])
def test_a_version_that_nobody_knows_means_refresh_everything(since: str) -> None:
    """E8"""
    with _running() as cache:
        assert scopes_in(cache.subscribe("work", since=since)) == [(None, None)]


def test_a_version_of_a_cache_that_is_gone_is_unknown_to_every_later_one() -> None:
    """E8"""
    bus = Bus()
    names: set[str] = set()

    for _ in range(20):
        cache = SessionListCache(GatedBuilder(is_open=True), bus=bus)
        names.add(cache.subscribe().version.rpartition(":")[0])
        cache.stop()
        del cache
        gc.collect()

    assert len(names) == 20


class _Rows:
    """A builder of rows, and the sources that move with them."""

    def __init__(self) -> None:
        self.sources = VersionedSources()
        self.titles: dict[str, str] = {"default": "first"}
        self._moves = 0

    def set(self, title: str, profile: str = "default") -> None:
        self._moves += 1
        self.titles[profile] = title
        self.sources.set_part(self._moves, profile=profile)

    def __call__(self, key: SessionListKey) -> Mapping[str, object]:
        profiles = list(self.titles) if key.all_profiles else [key.profile_name]
        return {"sessions": [{"title": self.titles.get(name), "profile": name} for name in profiles]}


class _Heard:
    """What the bus tells of moved sources, as it comes."""

    def __init__(self, bus: Bus) -> None:
        self.events: list[SourceChanged] = []
        self._came = threading.Condition()
        bus.source_changed.connect(self._hear)

    def _hear(self, _sender: object, *, event: SourceChanged) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()

    def profiles(self, count: int) -> list[str | None]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= count, WAIT_S), f"{self.events} of {count}"
            return [event.profile for event in self.events]


def test_a_build_whose_rows_differ_tells_that_its_source_changed_and_moves_no_version() -> None:
    """E9"""
    bus, rows, clock = Bus(), _Rows(), ManualClock()
    heard = _Heard(bus)
    with _running(rows, bus=bus, sources=rows.sources, clock=clock) as cache:
        before = cache.lookup(_KEY)
        rows.set("second")
        clock.advance(10.0)
        after = cache.lookup(_KEY)

        assert heard.profiles(1) == ["default"]
        assert _told(after) == "built source"
        assert after.version == before.version
        assert cache.stats().events == 0


def test_subscribers_hear_of_moved_rows() -> None:
    """E9, E7"""
    rows, clock = _Rows(), ManualClock()
    with _running(rows, sources=rows.sources, clock=clock) as cache:
        subscription = cache.subscribe("default")
        cache.get(_KEY)
        rows.set("second")
        clock.advance(10.0)
        cache.get(_KEY)

        change = subscription.get(timeout=WAIT_S)

        assert change is not None
        assert (change.reason, change.profile) == ("source_changed", "default")


def test_a_build_with_the_rows_of_before_and_a_first_build_tell_nothing() -> None:
    """E9"""
    bus, rows, clock = Bus(), _Rows(), ManualClock()
    heard = _Heard(bus)
    with _running(rows, bus=bus, sources=rows.sources, clock=clock) as cache:
        cache.get(_KEY)
        rows.set("first")
        clock.advance(10.0)

        assert _told(cache.lookup(_KEY)) == "built source"

    assert heard.events == []


def test_moved_rows_are_announced_at_once_then_every_two_seconds_and_the_last_is_never_lost() -> None:
    """E9"""
    bus, rows, clock = Bus(), _Rows(), ManualClock()
    heard = _Heard(bus)
    with _running(rows, bus=bus, sources=rows.sources, clock=clock) as cache:
        cache.get(_KEY)
        for number in range(5):
            rows.set(f"title {number}")
            clock.advance(0.25)
            cache.get(_KEY)
        at_once = heard.profiles(1)
        clock.advance(0.7)
        cache._living().ask(Tick())
        early = list(heard.events)
        clock.advance(0.4)
        cache._living().ask(Tick())
        last = heard.profiles(2)
        clock.advance(60.0)
        cache._living().ask(Tick())

    assert at_once == ["default"]
    assert len(early) == 1
    assert last == ["default", "default"]
    assert len(heard.events) == 2
    assert heard.events[0].id < heard.events[1].id


def test_rows_of_an_all_profiles_view_are_announced_by_their_profile() -> None:
    """E9"""
    bus, rows, clock = Bus(), _Rows(), ManualClock()
    heard = _Heard(bus)
    rows.set("first", "work")
    with _running(rows, bus=bus, sources=rows.sources, clock=clock) as cache:
        cache.get(_EVERY)
        rows.set("second", "work")
        clock.advance(10.0)
        cache.get(_EVERY)

        assert heard.profiles(1) == ["work"]


def test_a_ticket_of_ones_own_is_seen_by_the_read_that_brings_it() -> None:
    """J8"""
    bus = Bus()
    with _running(bus=bus) as cache:
        cache.get(_KEY)

        ticket = cache.invalidate()
        first = cache.lookup(_KEY, at_least=ticket)
        bus.session_list_changed.send()
        text = bus.session_list_changed.ticket()
        second = cache.lookup(_KEY, at_least=str(text))

        assert (first.payload["call"], second.payload["call"]) == (2, 3)
        assert cache.lookup(_KEY, at_least=ticket).outcome == "hit"
        assert ticket.committed is None


def test_a_read_with_a_ticket_gets_the_error_and_never_a_stale_payload() -> None:
    """J8, R8"""
    builder, clock = GatedBuilder(is_open=True), ManualClock()
    with _running(builder, clock=clock, policy=Policy()) as cache:
        ticket = cache.invalidate()
        cache.get(_KEY)
        builder.fail_with(OSError("broken"))
        clock.advance(60.0)

        with pytest.raises(BuildError):
            cache.get(_KEY, at_least=ticket)
        assert cache.lookup(_KEY).outcome == "stale"


def test_a_ticket_of_another_process_needs_a_journal() -> None:
    """J8"""
    bus = Bus()
    with _running(bus=bus) as cache, pytest.raises(JournalUnavailableError):
        cache.get(_KEY, at_least="elsewhere:1")


@pytest.mark.parametrize("ticket", ["", "nonsense", ":1", "a:", "a:-1", "a:1.5", "a:" + "9" * 30])
def test_a_malformed_ticket_is_refused(ticket: str) -> None:
    """J8"""
    with _running() as cache, pytest.raises(ValueError, match="event id"):
        cache.get(_KEY, at_least=ticket)


def test_a_ticket_that_is_no_text_is_refused() -> None:
    """J8"""
    with _running() as cache, pytest.raises(TypeError, match="at_least"):
        cache.get(_KEY, at_least=5)  # type: ignore[arg-type]


def test_a_ticket_that_was_never_given_is_refused() -> None:
    """J8"""
    bus = Bus()
    with _running(bus=bus) as cache, pytest.raises(ValueError, match="never published"):
        cache.get(_KEY, at_least=f"{bus.incarnation}:1")


def test_an_event_of_the_bus_is_what_its_ticket_names() -> None:
    """E1, J8"""
    bus = Bus()
    heard: list[SessionListChanged] = []
    bus.session_list_changed.connect(lambda _sender, *, event: heard.append(event))
    with _running(bus=bus) as cache:
        ticket = cache.invalidate("work", "rename", "s")

    assert [(event.id, event.reason, event.profile, event.session_id) for event in heard] == [
        (ticket.event_id, "rename", "work", "s")
    ]


def test_an_executor_that_is_not_there_is_refused() -> None:
    """B8"""
    with pytest.raises(ValueError, match="executor"):
        SessionListCache(GatedBuilder(), bus=Bus(), executor="fibres")  # type: ignore[arg-type]
