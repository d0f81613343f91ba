"""Rule J8: a ticket is an event's id as text."""

import pickle

import pytest

from hermes_cache.bus.tickets import Ticket
from hermes_cache.core.events import EventId


def test_a_ticket_is_the_text_of_its_event_id() -> None:
    """J8"""
    event_id = EventId("life", 7)

    ticket = Ticket.of(event_id)

    assert ticket == "life:7"
    assert ticket.event_id == event_id


@pytest.mark.parametrize("committed", [True, False, None])
def test_a_ticket_tells_whether_its_event_is_committed(*, committed: bool | None) -> None:
    """J8"""
    ticket = Ticket("life:7", committed=committed)

    assert ticket.committed is committed


def test_what_is_known_of_the_commit_is_unknown_unless_it_is_given() -> None:
    """J8"""
    ticket = Ticket("life:7")

    assert ticket.committed is None


def test_a_pickled_ticket_keeps_what_it_knows() -> None:
    """J8"""
    ticket = Ticket("life:7", committed=True)

    copy = pickle.loads(pickle.dumps(ticket))  # noqa: S301  # our own bytes

    assert copy == ticket
    assert copy.committed is True


@pytest.mark.parametrize("text", ["", "life", ":7", "life:", "life:x", "life:-1", "life:" + "9" * 30])
def test_text_that_is_no_event_id_makes_no_ticket(text: str) -> None:
    """J8"""
    with pytest.raises(ValueError, match="is no event id"):
        Ticket(text)
