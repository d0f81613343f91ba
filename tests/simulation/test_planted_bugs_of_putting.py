"""Bugs in what becomes of payloads that a gateway puts, each found by the simulation within 300 seeds (V2, P4)."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from hermes_cache.core import putting, storing
from hermes_cache.core.effects import Served
from hermes_cache.core.messages import Built, Put
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Entry, Waiter
from hermes_cache.core.turn import Turn
from tests.simulation.campaigns import assert_found
from tests.simulation.simulation import Simulation

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]

_SEEDS = 300


def _outdated_payload_is_stored(patch: pytest.MonkeyPatch) -> None:
    def store(turn: Turn, entry: Entry, message: Built | Put) -> None:
        storing.store(turn, replace(entry, version=turn.state.version_of(entry.target)), message)

    patch.setattr(putting, "why_not_stored", lambda _turn, _entry: None)
    patch.setattr(putting, "store", store)


def _everybody_is_answered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        putting, "_answer_for", lambda waiter, entry: Served(entry, "waited", waiter.reason, waiter.overtaken_by)
    )


def _reader_who_insists_gets_what_was_read_before(patch: pytest.MonkeyPatch) -> None:
    answer_for = putting._answer_for

    def planted(waiter: Waiter, entry: Entry) -> Served | None:
        return answer_for(waiter, replace(entry, read_from_s=waiter.request.began_s))

    patch.setattr(putting, "_answer_for", planted)


def _what_was_read_before_ends_a_wait_as_stale(patch: pytest.MonkeyPatch) -> None:
    answer_for = putting._answer_for

    def planted(waiter: Waiter, entry: Entry) -> Served | None:
        is_servable = entry.version >= waiter.version and waiter.request.takes_stale
        return answer_for(waiter, entry) or (Served(entry, "stale", "source") if is_servable else None)

    patch.setattr(putting, "_answer_for", planted)


def _stamp_counts_as_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Check, "missing", classmethod(lambda cls: cls(0.0, parts=(("content", 0), ("settings", 0)))))


def _what_was_read_earlier_replaces_what_was_read_later(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "is_newer_than", lambda _entry, _other: False)


def _evicted_payload_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turn, "let_go", lambda _turn, _entry: None)


def _all_go_where_one_is_evicted(patch: pytest.MonkeyPatch) -> None:
    evict = putting.evict
    patch.setattr("hermes_cache.core.decide.evict", lambda turn, message: evict(turn, replace(message, keys=None)))


_PLANTS: tuple[Plant, ...] = (
    _outdated_payload_is_stored,
    _everybody_is_answered,
    _reader_who_insists_gets_what_was_read_before,
    _what_was_read_before_ends_a_wait_as_stale,
    _stamp_counts_as_checked,
    _what_was_read_earlier_replaces_what_was_read_later,
    _evicted_payload_is_kept,
    _all_go_where_one_is_evicted,
)
_FOUND_BY: dict[Plant, int] = {_reader_who_insists_gets_what_was_read_before: 20}
"""The seed by which a bug was found that the first seeds do not find; it is run before the others."""


@pytest.mark.timeout(240)  # seconds, but slow on a busy machine
@pytest.mark.parametrize("plant", _PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_bug_of_putting_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """V2, P4"""
    plant(monkeypatch)

    assert_found(Simulation, seeds=_SEEDS, first=_FOUND_BY.get(plant, 0))
