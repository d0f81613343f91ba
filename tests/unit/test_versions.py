"""Rules V1 and V2: what an event outdates, kept as versions."""

from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.versions import ALL_PROFILES, Versions, reach_of


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


def test_a_thousand_profiles_are_remembered_one_by_one() -> None:
    """V2"""
    versions = Versions()
    for position in range(1, 1_001):
        versions = versions.touched(f"profile-{position}", position)

    assert versions.of("profile-1") == 1
    assert versions.of(ALL_PROFILES) == 1_000
    assert versions.of("never seen") == 0


def test_past_a_thousand_profiles_all_are_forgotten_and_count_as_touched_now() -> None:
    """V2"""
    versions = Versions()
    for position in range(1, 1_002):
        versions = versions.touched(f"profile-{position}", position)

    assert versions == Versions(everything=1_001)
    assert versions.of("never seen") == versions.of("profile-1") == versions.of(ALL_PROFILES) == 1_001


def test_a_touch_changes_no_earlier_value() -> None:
    """V2"""
    before = Versions().touched("work", 1)

    before.touched("work", 2)

    assert before == Versions().touched("work", 1)
