"""Rule J7: what the reads of a key got since its payload was built."""

from hermes_cache.cache.tallies import Tallies
from hermes_cache.sessions.keys import SessionListKey

KEY = SessionListKey("work")


def test_outcomes_are_counted_by_key() -> None:
    """J7"""
    tallies = Tallies()
    tallies.add(KEY, 1, "built")
    tallies.add(KEY, 1, "hit", 3)
    tallies.add(SessionListKey("home"), 2, "hit")

    assert tallies.of(KEY, 1) == {"built": 1, "hit": 3}
    assert tallies.of(SessionListKey("other"), 1) == {}


def test_another_payload_begins_another_count() -> None:
    """J7"""
    tallies = Tallies()
    tallies.add(KEY, 1, "hit", 3)

    before_the_first_read = tallies.of(KEY, 2)
    tallies.add(KEY, 2, "built")

    assert before_the_first_read == {}
    assert tallies.of(KEY, 2) == {"built": 1}


def test_what_is_given_is_a_copy() -> None:
    """J7"""
    tallies = Tallies()
    tallies.add(KEY, 1, "hit")

    tallies.of(KEY, 1)["hit"] += 1

    assert tallies.of(KEY, 1) == {"hit": 1}


def test_counts_of_so_many_keys_only_are_kept() -> None:
    """J7"""
    tallies = Tallies()

    for number in range(1_025):
        tallies.add(SessionListKey(f"profile {number}"), 1, "hit")

    assert tallies.of(SessionListKey("profile 0"), 1) == {}
    assert tallies.of(SessionListKey("profile 1"), 1) == {"hit": 1}
