"""What a caller gives by mistake is refused at once, with the name of the argument and its value (K5, E3, R8)."""

import time
from typing import Any

import pytest

from hermes_cache import Bus, ListCache, Patch, Policy, SessionListCache, SessionListKey, replay
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.ports import SystemClock
from tests.waiting import WAIT_S


def _build(key: object) -> dict[str, object]:
    return {"sessions": [{"session_id": f"of {key}"}]}


class _Unshown:
    def __repr__(self) -> str:
        raise RuntimeError


_WRONG: dict[str, object] = {
    "active_stream_ids": ["turn-7"],
    "build_context": "context",
    "bus": Bus,
    "clock": time.monotonic,
    "is_root_profile": "root",
    "journal": b"sqlite:///journal.db",
    "live_sessions": {},
    "policy": {},
    "settings_version": 7,
    "sources": "sources",
    "watch": True,
}


@pytest.mark.parametrize("name", _WRONG)
def test_an_argument_of_a_wrong_type_is_refused_when_the_cache_is_made(name: str) -> None:
    """K5, E4: it does not fail later, in silence, at each read."""
    given: dict[str, Any] = {"bus": Bus(), name: _WRONG[name]}

    with pytest.raises(TypeError, match=f"^{name} is .*; it must "):
        SessionListCache(_build, **given)


def test_what_lacks_methods_of_a_journal_is_none() -> None:
    """J1: a list has `append`, too."""
    no_journal: Any = []

    with pytest.raises(
        TypeError, match=r"^journal is \[\], which has no 'close'; it must be a URL, a journal, or None$"
    ):
        Bus(journal=no_journal)


def test_what_wraps_a_clock_and_a_journal_is_one() -> None:
    """J1: a user's wrapper may have the methods by `__getattr__`."""

    class Wrapper:
        def __init__(self, wrapped: object) -> None:
            self._wrapped = wrapped

        def __getattr__(self, name: str) -> object:
            return getattr(self._wrapped, name)

    clock: Any = Wrapper(SystemClock())
    journal: Any = Wrapper(MemoryJournal())

    policy = Policy(journal_wait=WAIT_S)
    with SessionListCache(_build, bus=Bus(), policy=policy, clock=clock, journal=journal) as cache:
        assert cache.invalidate().committed


@pytest.mark.parametrize(("name", "value"), [("profile_of", "mails"), ("rows", 5), ("row_id", 5)])
def test_what_says_how_a_list_looks_is_refused_if_it_is_of_a_wrong_type(name: str, value: object) -> None:
    """K5"""
    given: dict[str, Any] = {"rows": "mails", name: value}

    with pytest.raises(TypeError, match=f"^{name} is .*; it must be "):
        ListCache(_build, **given)


def test_sources_without_a_scope_are_refused_when_the_cache_is_made() -> None:
    """S4"""

    class Stamps:
        def stamp(self, _key: object, /, *, held: bool) -> dict[str, object]:
            return {"held": held}

    stamps: Any = Stamps()
    with pytest.raises(TypeError, match=r"^sources is .*; it must have scope and stamp"):
        ListCache(_build, sources=stamps)


def test_a_builder_that_cannot_be_shown_is_refused_as_any_other() -> None:
    """B2"""
    unshown: Any = _Unshown()

    with pytest.raises(TypeError, match=r"^builder is a _Unshown that cannot be shown; it must be callable"):
        SessionListCache(unshown, bus=Bus())
    with (
        SessionListCache(_build, bus=Bus()) as cache,
        pytest.raises(TypeError, match=r"^builder is a _Unshown that cannot be shown; it must be callable"),
    ):
        cache.get(SessionListKey(), builder=unshown)


@pytest.mark.parametrize("value", [5, b"edition"])
def test_an_edition_or_a_version_that_is_no_text_is_refused(value: Any) -> None:
    """D1, E8, R13: bytes would mean 'everything may have changed' for ever, in silence."""
    with SessionListCache(_build, bus=Bus()) as cache:
        for since in (cache.patch, cache.follow):
            with pytest.raises(TypeError, match=r"^since is .*; it must be a str, or None$"):
                since(SessionListKey(), since=value)
        with pytest.raises(TypeError, match=r"^since is .*; it must be a str, or None$"):
            cache.subscribe(since=value)


@pytest.mark.parametrize("value", [5, ["work"]])
def test_a_profile_that_is_no_text_is_refused(value: Any) -> None:
    """E7, R13"""
    with SessionListCache(_build, bus=Bus()) as cache:
        for hear in (cache.subscribe, cache.overlay_changed):
            with pytest.raises(TypeError, match=r"^profile is .*; it must be a str or None$"):
                hear(value)


def test_a_long_ticket_is_shown_shortened() -> None:
    """J8"""
    with (
        SessionListCache(_build, bus=Bus()) as cache,
        pytest.raises(ValueError, match="is no event id") as refused,
    ):
        cache.get(SessionListKey(), at_least="t" * 100_000)

    assert len(str(refused.value)) < 400


def test_a_view_takes_no_patch_that_is_none() -> None:
    """D2"""
    with SessionListCache(_build, bus=Bus()) as cache:
        rendered = cache.render(SessionListKey())
        wrong: Any = "patch"

        with pytest.raises(TypeError, match=r"^patch is 'patch'; it must be a Patch"):
            rendered.apply(wrong)
        with pytest.raises(ValueError, match="a row without the field 'session_id'"):
            rendered.apply(Patch(since=rendered.edition, edition="next", rows=[{"title": "without an id"}]))


def test_fields_of_the_envelope_that_are_no_mapping_are_refused() -> None:
    """O7"""
    fields: Any = ["server_time"]
    with (
        SessionListCache(_build, bus=Bus()) as cache,
        pytest.raises(TypeError, match=r"^envelope is \['server_time'\]; it must be a Mapping, or None$"),
    ):
        cache.render(SessionListKey(), envelope=fields)


def test_a_replay_of_a_url_says_that_a_journal_is_wanted() -> None:
    """J2"""
    url: Any = "sqlite:///journal.db"

    with pytest.raises(
        TypeError, match=r"^journal is 'sqlite:///journal.db'; it must be a journal, as journal_at"
    ):
        replay(url)


def test_a_field_of_a_strict_policy_is_refused_by_its_own_name() -> None:
    """R4: `owner_wait` follows from `build_timeout`."""
    with pytest.raises(ValueError, match=r"^Policy\.build_timeout is 'long'"):
        Policy.strict(build_timeout="long")


@pytest.mark.parametrize("value", ["half", True, 1.5])
def test_a_share_is_not_called_a_number_of_seconds(value: Any) -> None:
    """B9"""
    with pytest.raises(
        ValueError, match=r"^Policy\.max_build_duty is .*; it must be a share above 0 and at most 1$"
    ):
        Policy(max_build_duty=value)
