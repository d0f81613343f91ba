"""`--bus` of the commands that read and write a journal: the events of one bus among those of others (K5)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cache import Bus
from tests.waiting import PROCESS_S

COMMAND = [sys.executable, "-m", "hermes_cache.cli"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.db'}"


def run(*arguments: str, status: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PROCESS_S, check=False)  # noqa: S603 -- ours
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture
def shop(url: str) -> str:
    """The URL of a journal with three events, two of them of the bus `orders`."""
    with Bus(journal=url) as sessions, Bus("orders", journal=url) as orders:
        for bus, profile in ((orders, "ann"), (sessions, "work"), (orders, None)):
            bus.list_changed.send(None, profile=profile)
    return url


def test_a_published_event_and_its_ticket_name_the_bus(url: str) -> None:
    """K5, J8, W3"""
    published = json.loads(run("publish", "--journal", url, "--bus", "orders", "--json"))
    usual = json.loads(run("publish", "--journal", url, "--json"))

    assert published["bus"] == "orders"
    assert published["ticket"].startswith("orders/")
    assert "bus" not in usual
    assert "/" not in usual["ticket"]


def test_tail_prints_the_events_of_all_buses_or_of_one(shop: str) -> None:
    """K5, W3"""
    every = [json.loads(line) for line in run("tail", "--journal", shop, "--json").splitlines()]
    orders = [
        json.loads(line) for line in run("tail", "--journal", shop, "--json", "--bus", "orders").splitlines()
    ]

    assert [each["seq"] for each in every] == [1, 2, 3]
    assert [each["seq"] for each in orders] == [1, 3]
    assert run("tail", "--journal", shop).count("bus=orders") == 2


def test_replay_prints_the_state_of_one_bus(shop: str) -> None:
    """K5, J2, W3"""
    usual = json.loads(run("replay", "--journal", shop, "--json"))
    orders = json.loads(run("replay", "--journal", shop, "--json", "--bus", "orders"))

    assert [each["profile"] for each in usual["outdated"]] == ["work"]
    assert [each["profile"] for each in orders["outdated"]] == [None, "ann"]
    assert (usual["applied"], orders["applied"]) == (1, 2)
    assert usual["seq"] == orders["seq"] == 3


def test_explain_looks_at_the_events_of_one_bus(shop: str) -> None:
    """K5, J7, W3"""
    arguments = ("explain", "--journal", shop, "--json", "--profile", "ann")

    assert run(*arguments) == ""
    assert len(run(*arguments, "--bus", "orders").splitlines()) == 2
    assert "--bus is for --journal" in run("explain", "--bus", "orders", status=2)


def test_a_name_that_no_bus_can_have_is_a_usage_error(url: str) -> None:
    """K5, W3"""
    told = run("publish", "--journal", url, "--bus", "or ders", status=2)

    assert "the name of a bus is 'or ders'; it must be 1 to 64 of A-Z" in told
