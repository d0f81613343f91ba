"""The types of a cache of any list, as a caller sees them: checked by mypy and pyright, and true when run."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict, assert_type

from hermes_cache import Bus, ListCache, Lookup, Payload, Rendered, SessionListCache, SessionListKey, Ticket
from hermes_cache.ports import Journal
from tests.waiting import LASTING


class Shelf(NamedTuple):
    """A key: the books of a branch, by subject."""

    branch: str
    subject: str


class Book(TypedDict):
    isbn: str
    title: str


class Books(TypedDict):
    books: list[Book]
    total: int


def books_of(shelf: Shelf) -> dict[str, object]:
    book = {"isbn": "1", "title": f"{shelf.subject} in {shelf.branch}"}
    return {"books": [book], "total": 1}


def test_a_list_has_the_key_of_its_builder_and_payloads_that_are_frozen() -> None:
    # Proves K5.
    with ListCache(books_of, profile_of=lambda shelf: shelf.branch, rows="books", row_id="isbn") as cache:
        assert_type(cache, ListCache[Shelf, Payload])
        payload = assert_type(cache.get(Shelf("north", "birds")), Payload)
        assert_type(cache.lookup(Shelf("north", "birds")), Lookup[Payload])
        assert_type(cache.render(Shelf("north", "birds")), Rendered)

    assert payload["total"] == 1


def test_a_list_has_the_payload_that_its_owner_names() -> None:
    # Proves K5.
    async def read(cache: ListCache[Shelf, Books], key: Shelf) -> Books:
        assert_type((await cache.alookup(key)).payload, Books)
        return assert_type(await cache.aget(key), Books)

    with ListCache[Shelf, Books](books_of, rows="books", row_id="isbn", bus=Bus(), policy=LASTING) as cache:
        books = assert_type(cache.get(Shelf("north", "birds")), Books)
        assert_type(cache.lookup(Shelf("north", "birds")).payload, Books)
        assert_type(cache.peek(Shelf("north", "birds")), Lookup[Books] | None)
        again = asyncio.run(read(cache, Shelf("north", "birds")))

    assert_type(books["books"][0]["title"], str)
    assert again is books


def test_bare_names_are_types_too() -> None:
    # Proves K5: what was written before the cache had types of its own.
    def first(cache: ListCache, found: Lookup) -> Payload:
        assert_type(cache.get(("any", "key")), Payload)
        return assert_type(found.payload, Payload)

    def any_keys(key: Any) -> Mapping[str, object]:
        return {"key": str(key)}

    with ListCache(any_keys) as cache:
        assert first(cache, cache.lookup(("any", "key"))) == {"key": "('any', 'key')"}


def test_session_lists_are_lists_of_their_own_key() -> None:
    # Proves K5.
    def keep(lists: ListCache[SessionListKey, Payload]) -> ListCache[SessionListKey]:
        return lists

    cache = SessionListCache(lambda _key: {"sessions": []}, bus=Bus())
    with keep(cache) as lists:
        assert assert_type(lists.get(SessionListKey()), Payload) == {"sessions": []}


def test_a_bus_keeps_what_is_sent_on_it() -> None:
    # Proves K5, E10.
    with assert_type(Bus("books", journal=None, policy=None), Bus) as bus, ListCache(books_of, bus=bus) as cache:
        bus.list_changed.send("clerk", reason="returned", profile="north", row_id="1")
        ticket = assert_type(bus.list_changed.ticket(), Ticket | None)

        assert_type(bus.name, str)
        assert_type(bus.journal, str | Journal | None)
        assert_type(cache.get(Shelf("north", "birds"), at_least=ticket), Payload)
    bus.close()
