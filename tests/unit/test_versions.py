"""Rules V1 and V2: what an event outdates, kept as versions."""

from hermes_cache.core.versions import ALL_PROFILES, Versions
from hermes_cache.sessions.keys import SessionListKey, reach_of


def test_a_key_of_a_profile_reaches_that_profile_and_one_of_all_reaches_all() -> None:
    """V1"""
    one, every = SessionListKey("work"), SessionListKey("work", all_profiles=True)

    reaches = (reach_of(one), reach_of(every), reach_of(SessionListKey()))

    assert reaches == ("work", ALL_PROFILES, "default")


def test_nothing_was_touched_at_first() -> None:
    """V2"""
    versions = Versions()

    assert versions.of("work") == versions.of(ALL_PROFILES) == 0


def test_an_event_with_a_profile_touches_it_and_all_profiles_views_and_nothing_else() -> None:
    """V1"""
    versions = Versions().touched("work", 7)

    assert (versions.of("work"), versions.of(ALL_PROFILES), versions.of("home")) == (7, 7, 0)


def test_an_event_without_a_profile_touches_everything() -> None:
    """V1"""
    versions = Versions().touched("work", 7).touched(None, 8)

    assert (versions.of("work"), versions.of(ALL_PROFILES), versions.of("never seen")) == (8, 8, 8)


def test_the_greater_of_the_global_version_and_its_own_counts() -> None:
    """V2"""
    versions = Versions().touched(None, 3).touched("work", 4)

    assert (versions.of("work"), versions.of("home")) == (4, 3)


def _touched_in_turn(profiles: int) -> Versions:
    versions = Versions()
    for position in range(1, profiles + 1):
        versions = versions.touched(f"profile-{position}", position)
    return versions


def test_ten_thousand_profiles_are_remembered_one_by_one() -> None:
    """V2"""
    versions = _touched_in_turn(10_000)

    assert versions.of("profile-1") == 1
    assert versions.of(ALL_PROFILES) == 10_000
    assert versions.of("never seen") == 0


def test_past_ten_thousand_profiles_the_one_whose_last_event_is_oldest_is_forgotten() -> None:
    """V2: those that are known are outdated by nothing but their own events"""
    before = _touched_in_turn(10_000).touched("profile-1", 10_001)

    after = before.touched("one more", 10_002)

    assert [after.of(name) for name in ("profile-1", "profile-3", "one more")] == [10_001, 3, 10_002]
    assert len(after.profiles) == 10_000
    assert before.of("profile-2") == 2


def test_a_profile_that_is_not_known_has_the_newest_position_that_was_ever_forgotten() -> None:
    """V2, R1: it may be one that was forgotten"""
    before = _touched_in_turn(10_000)

    after = before.touched("a", 10_001).touched("b", 10_002)

    assert after.of("profile-1") == after.of("profile-2") == after.of("never seen") == 2


def test_an_event_that_touches_all_makes_room() -> None:
    """V2"""
    after = _touched_in_turn(10_000).touched(None, 10_001).touched("a", 10_002)

    assert (after.of("profile-1"), after.of("a"), after.of(ALL_PROFILES)) == (10_001, 10_002, 10_002)


def test_a_touch_changes_no_earlier_value() -> None:
    """V2"""
    before = Versions().touched("work", 1)

    before.touched("work", 2)

    assert before == Versions().touched("work", 1)
