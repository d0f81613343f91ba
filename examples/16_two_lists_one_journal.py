"""Two lists, one journal: each list is on a bus of its own name, and a script publishes for one of them."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hermes_cache import Bus, ListCache, Policy

ORDERS = {"ann": ["tea"], "bob": ["ink"]}
BILLS = {"ann": [12], "bob": [30]}


class Customer(NamedTuple):
    """A key can be any hashable value."""

    name: str


def owner(key: Customer) -> str:
    return key.name


def build_orders(key: Customer) -> dict[str, object]:
    print("  building the orders of", key.name)
    return {"orders": list(ORDERS[key.name])}


def build_bills(key: Customer) -> dict[str, object]:
    print("  building the bills of", key.name)
    return {"bills": list(BILLS[key.name])}


def main() -> None:
    ann, bob = Customer("ann"), Customer("bob")
    # A read checks the journal first, so it sees what the script published before it.
    policy = Policy(ttl=60, journal_interval=0)
    with TemporaryDirectory() as folder:
        journal = f"sqlite:///{Path(folder) / 'journal.db'}"
        orders = ListCache(build_orders, profile_of=owner, bus=Bus("orders"), journal=journal, policy=policy)
        bills = ListCache(build_bills, profile_of=owner, bus=Bus("bills"), journal=journal, policy=policy)
        with orders, bills:
            print("the first reads:")
            for key in (ann, bob):
                orders.get(key)
                bills.get(key)

            # Another process would do the same: it needs no cache, only a bus of the same name.
            ORDERS["ann"].append("cups")
            with Bus("orders", journal) as bus:
                bus.list_changed.send("script", profile="ann", reason="ordered", row_id="cups")

            print("after an order of ann:")
            print("ann:", orders.get(ann)["orders"], bills.get(ann)["bills"])
            print("bob:", orders.get(bob)["orders"], bills.get(bob)["bills"])


if __name__ == "__main__":
    main()
