"""Several lists on one journal do not touch one another: in two processes, with SQLite and PostgreSQL (K5)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache import journal_at
from hermes_cache.bus.codec import checksum
from hermes_cache.ports import Position
from tests.integration.journal_shop import LISTS, OtherShop, Shop, opened
from tests.waiting import until


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    found: str = request.getfixturevalue("postgres_url").render_as_string(hide_password=False)
    return found


@pytest.fixture
def here(url: str) -> Iterator[Shop]:
    with opened(url) as shop:
        yield shop


@pytest.fixture
def there(url: str) -> Iterator[OtherShop]:
    with closing(OtherShop(url)) as shop:
        yield shop


def test_an_event_of_one_list_outdates_it_in_both_processes_and_no_other_list(
    here: Shop, there: OtherShop
) -> None:
    """K5, J3: events about profiles, settings and streams."""
    before = [shop.read(name, "ann", "bob") for shop in (here, there) for name in LISTS]

    ticket = here.say("orders", "ann")
    here.buses["orders"].stream_started.send(stream_id="turn", profile="bob")
    there.say("bills", "bob")
    after = [here.read("orders", "ann", "bob"), here.read("bills", "ann", "bob")]
    both = [there.read("orders", "ann", at_least=ticket), there.read("bills", "ann", "bob")]

    assert before == [[1, 1]] * 4
    # The stream makes the list of bob stale, so it was built once more where it was seen.
    assert after[0][0] == 2
    assert both == [[2], [1, 2]]
    assert here.caches["bills"].stats().streams == 0


def test_settings_of_one_list_are_not_those_of_another(here: Shop, there: OtherShop) -> None:
    """K5, V1"""
    for shop in (here, there):
        for name in LISTS:
            shop.read(name, "ann")

    here.buses["orders"].settings_changed.send()
    ticket = str(here.buses["orders"].settings_changed.ticket())

    assert [there.read("orders", "ann", at_least=ticket), there.read("bills", "ann")] == [[2], [1]]


def test_a_ticket_counts_in_the_other_process_at_a_cache_of_its_bus_alone(here: Shop, there: OtherShop) -> None:
    """K5, J8"""
    here.read("orders", "ann")

    ticket = there.say("orders", "ann")

    assert ticket.startswith("orders/")
    assert here.caches["orders"].get("ann", at_least=ticket)["build"] == 2
    assert here.caches["orders"].committed(ticket) is True
    with pytest.raises(ValueError, match="is of the bus 'orders'; this cache is on 'bills'"):
        here.caches["bills"].get("ann", at_least=ticket)


def test_who_resumes_in_the_other_process_gets_what_its_own_list_missed(here: Shop, there: OtherShop) -> None:
    """K5, E8"""
    here.say("orders", "bob")
    # With PostgreSQL its own event has its position once a notification came.
    until(lambda: here.caches["orders"].stats().journal_seq == 1)
    version, _ = here.missed("orders", "")
    here.say("bills", "ann", "bob")
    ticket = here.say("orders", "ann")
    here.say("bills", "cid")
    there.read("orders", "ann", at_least=ticket)

    assert there.missed("orders", version)[1] == ["ann"]
    assert there.missed("bills", version)[1] == [None]


def test_thousands_of_owners_stay_apart_across_processes(here: Shop, there: OtherShop) -> None:
    """V2, K5"""
    owners = [f"owner{number}" for number in range(1_000)]
    there.read("orders", *owners)
    there.read("bills", *owners[:10])

    ticket = here.say("orders", *owners[:20])

    # At most 64 entries are held, so the last ones tell.
    assert there.read("orders", *owners[-40:], at_least=ticket) == [1] * 40
    assert there.read("bills", *owners[:10]) == [1] * 10


def test_a_gap_is_healed_by_each_bus_with_an_event_of_its_own(tmp_path: Path) -> None:
    """K5, J5: nobody knows of which bus the event was that cannot be read."""
    file = tmp_path / "journal.db"
    with opened(f"sqlite:///{file}") as here:
        for name in LISTS:
            here.say(name, "bob")
            here.read(name, "ann")

        _append_damaged_row(file)
        after = [here.read(name, "ann") for name in LISTS]
        here.read(LISTS[0], "ann")
        with closing(journal_at(f"sqlite:///{file}")) as journal:
            events = [each.event for each in journal.read(Position(journal.end().journal, 3))]

    assert after == [[2], [2]]
    assert sorted((event.id.bus, getattr(event, "reason", "")) for event in events) == [
        ("bills", "journal_gap"),
        ("orders", "journal_gap"),
    ]


def _append_damaged_row(file: Path) -> None:
    """Append a row that nobody can read, in one step: nobody reads it before it is damaged."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        name, seq = connection.execute("SELECT name, last_seq + 1 FROM hermes_cache_journal").fetchone()
        row = (seq, "bills/life:1", 1.0, b"{}", 7, "bills")
        connection.execute("INSERT INTO hermes_cache_named_events VALUES (?, ?, ?, ?, ?, ?)", row)
        end = (seq, "bills/life:1", checksum(seq, f"{name} bills/life:1".encode()))
        connection.execute("UPDATE hermes_cache_journal SET last_seq = ?, last_mark = ?, checksum = ?", end)
        connection.execute("COMMIT")
