"""The facts and their ids."""

import pickle
from dataclasses import FrozenInstanceError

import pytest

from hermes_cache.core.events import (
    Event,
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)

ID = EventId("b1f0", 7)
EVENTS: list[Event] = [
    SessionListChanged(id=ID, at_s=1.0, reason="session_rename", profile="work", session_id="s"),
    StreamStarted(id=ID, at_s=1.0, stream_id="turn", profile="work", session_id="s"),
    StreamStopped(id=ID, at_s=1.0, stream_id="turn"),
    SettingsChanged(id=ID, at_s=1.0),
    SourceChanged(id=ID, at_s=1.0, profile="work"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_an_immutable_value_with_a_time_and_an_id(event: Event) -> None:
    """E1"""
    with pytest.raises(FrozenInstanceError):
        event.at_s = 2.0  # type: ignore[misc]

    assert (event.id, event.at_s) == (ID, 1.0)
    assert {event: "kept"}[pickle.loads(pickle.dumps(event))] == "kept"  # noqa: S301  # our own bytes


def test_an_unscoped_change_names_no_profile() -> None:
    """E1"""
    event = SessionListChanged(id=ID, at_s=1.0)

    assert (event.reason, event.profile, event.session_id) == ("session_changed", None, None)


def test_ids_grow_within_an_incarnation() -> None:
    """E1"""
    assert EventId("b1f0", 9) < EventId("b1f0", 10)


def test_an_id_of_another_incarnation_is_another_id() -> None:
    """E1: a duplicate is known by its id, not by its number."""
    assert len({EventId("b1f0", 7), EventId("c2a1", 7), EventId("b1f0", 7)}) == 2


@pytest.mark.parametrize("written", [ID, EventId("host:42:b1f0", 1), EventId("b1f0", 10**17)])
def test_an_id_is_read_back_from_its_text(written: EventId) -> None:
    """J8: a ticket is an id as text."""
    assert EventId.parse(str(written)) == written


@pytest.mark.parametrize(
    "text", ["", "b1f0", ":", ":7", "b1f0:", "b1f0:-7", "b1f0:7.0", "b1f0: 7", "b1f0:\u0667", "b1f0:" + "9" * 40]
)
def test_a_text_that_is_no_id_is_refused(text: str) -> None:
    """J8"""
    with pytest.raises(ValueError, match="is no event id; it must look like"):
        EventId.parse(text)
