"""A gateway that has just read a list itself hands it in, and readers get it without a build."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import local

from hermes_cache import ListCache, Policy

ORDERS: dict[str, list[str]] = {"ada": ["tea"], "ben": ["ink"]}
session = local()


@contextmanager
def as_customer(key: str) -> Iterator[None]:
    """Open what a builder needs on its thread; every builder of the cache runs inside."""
    session.customer = key
    try:
        yield
    finally:
        del session.customer


def read_orders(_key: str) -> Mapping[str, object]:
    print(f"  read the orders of {session.customer}")
    return {"orders": ORDERS[session.customer]}


def add_order(cache: ListCache[str], customer: str, order: str) -> bool:
    """Handle a form: the handler reads the new list anyway, so it hands it in."""
    ORDERS[customer] = [*ORDERS[customer], order]
    cache.invalidate(customer, reason="order_added")
    before_reading = cache.mark(customer)
    found = {"orders": ORDERS[customer]}
    return cache.put(customer, found, as_of=before_reading)


def main() -> None:
    with ListCache(read_orders, profile_of=str, build_context=as_customer, policy=Policy(ttl=60)) as cache:
        print("a miss:", cache.get("ada"))
        print("put:", add_order(cache, "ada", "cup"))
        found = cache.lookup("ada")
        print("a hit:", found.outcome, found.payload)

        late = cache.mark("ada")
        cache.invalidate("ada", reason="order_paid")
        print("put after an event:", cache.put("ada", {"orders": ["old"]}, as_of=late))
        print("so it is built:", cache.get("ada"))

        cache.get("ben")
        print("held, coldest first:", cache.keys(), "is ben being built?", cache.is_building("ben"))
        print("evicted:", cache.evict("ada"), cache.keys())


if __name__ == "__main__":
    main()
