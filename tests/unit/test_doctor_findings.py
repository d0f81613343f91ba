"""What the doctor finds in facts that a test made up: the judgement is pure (W3)."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cache.cli.options import SERVE_POLICY
from hermes_cache.core.policy import Policy
from hermes_cache.doctor.environment import (
    EnvironmentFacts,
    Notifications,
    environment_findings,
    read_notifications,
)
from hermes_cache.doctor.findings import Finding
from hermes_cache.doctor.journal import ContentFacts, FileFacts, content_findings, file_findings, pooler_findings
from hermes_cache.doctor.policy import Deployment, policy_findings, refused_policy, workers_in
from hermes_cache.stores.hermes.notifications import LIBRARIES

ENVIRONMENT = EnvironmentFacts(
    sqlite=(3, 51, 3),
    other_sqlite=None,
    descriptors=None,
    notifications=Notifications(1, 128, 10, 1_000),
    missing=frozenset(),
    now_s=1_000_000.0,
    installed_at_s=999_000.0,
    cache_folder=Path("/home/user/.cache/hermes_cache"),
    may_keep=True,
)
"""An environment in which nothing is wrong."""

FILE = FileFacts(
    path=Path("/var/lib/gateway/journal.db"),
    home=Path("/home/user/.hermes"),
    has_folder=True,
    is_remote=False,
    is_open=False,
    may_write=True,
    free_bytes=2**40,
)
DEPLOYMENT = Deployment(workers=1, has_journal=False, cpus=4, memory_bytes=8 * 2**30)


def named(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {each.name: each for each in findings}


def test_nothing_is_wrong_with_a_sound_environment_file_journal_and_the_policy_of_serve() -> None:
    assert named(environment_findings(ENVIRONMENT)) == {}
    assert named(file_findings(FILE)) == {}
    assert named(content_findings(ContentFacts(5, 999.0, 0), Policy(), 1_000.0)) == {}
    assert named(pooler_findings(is_pooled=False)) == {}
    assert named(policy_findings(SERVE_POLICY, DEPLOYMENT)) == {}


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 50, 6), (3, 51, 2)])
def test_an_sqlite_with_the_wal_reset_bug_is_found(version: tuple[int, int, int]) -> None:
    found = named(environment_findings(replace(ENVIRONMENT, sqlite=version)))

    assert found["sqlite-wal-reset"].gravity == "hint"
    assert ".".join(map(str, version)) in found["sqlite-wal-reset"].sentence


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0)])
def test_an_sqlite_without_that_bug_is_no_finding(version: tuple[int, int, int]) -> None:
    assert named(environment_findings(replace(ENVIRONMENT, sqlite=version))) == {}


@pytest.mark.parametrize(
    ("name", "gravity", "plant"),
    [
        ("second-sqlite", "wrong", {"other_sqlite": "pysqlite3"}),
        ("few-descriptors", "hint", {"descriptors": 4_096}),
        ("few-descriptors", "wrong", {"descriptors": 256}),
        ("no-inotify-instances", "wrong", {"notifications": Notifications(128, 128, 10, 1_000)}),
        ("no-inotify-watches", "wrong", {"notifications": Notifications(1, 128, 1_000, 1_000)}),
        ("no-extra-watch", "hint", {"missing": frozenset({LIBRARIES[0]})}),
        ("no-extra-processes", "hint", {"missing": frozenset({"loky", "cloudpickle"})}),
        ("no-extra-serve", "hint", {"missing": frozenset({"starlette"})}),
        ("clock-behind", "wrong", {"now_s": 0.0}),
        ("cache-folder-closed", "hint", {"may_keep": False}),
    ],
)
def test_each_fault_of_an_environment_is_found(name: str, gravity: str, plant: dict[str, object]) -> None:
    found = named(environment_findings(replace(ENVIRONMENT, **plant)))  # type: ignore[arg-type]

    assert {each.name: each.gravity for each in found.values()} == {name: gravity}
    assert found[name].subject == "environment"


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("journal-folder-missing", {"has_folder": False, "may_write": False}),
        ("journal-on-network", {"is_remote": True}),
        ("journal-folder-open", {"is_open": True}),
        ("journal-not-writable", {"may_write": False}),
        ("journal-in-home", {"path": Path("/home/user/.hermes/webui/journal.db")}),
        ("journal-disk-full", {"free_bytes": 2**20}),
    ],
)
def test_each_fault_of_where_a_journal_lies_is_found(name: str, plant: dict[str, object]) -> None:
    assert [*named(file_findings(replace(FILE, **plant)))] == [name]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("journal-damaged", ContentFacts(5, 999.0, 2)),
        ("journal-from-future", ContentFacts(5, 1_100.0, 0)),
        ("journal-not-compacted", ContentFacts(200_001, 999.0, 0)),
    ],
)
def test_each_fault_of_what_a_journal_holds_is_found(name: str, facts: ContentFacts) -> None:
    assert [*named(content_findings(facts, Policy(), 1_000.0))] == [name]


def test_the_packages_of_an_extra_are_named_together() -> None:
    facts = replace(ENVIRONMENT, missing=frozenset({"starlette", "uvicorn", "h11"}))

    (found,) = environment_findings(facts)

    assert found.sentence.startswith("starlette, uvicorn and h11 are not installed, so ")
    assert found.todo == 'run: pip install "hermes-session-cache[serve]"'


def test_a_pooler_is_found() -> None:
    assert [*named(pooler_findings(is_pooled=True))] == ["journal-behind-pooler"]


@pytest.mark.parametrize(
    ("name", "policy", "deployment"),
    [
        ("ttl-under-cadence", Policy(ttl=2.5, poll_interval=5.0), DEPLOYMENT),
        ("workers-without-journal", Policy(), replace(DEPLOYMENT, workers=4)),
        ("cache-larger-than-memory", Policy(max_bytes=5 * 2**30), DEPLOYMENT),
        ("pool-larger-than-machine", Policy(pool_size=8), DEPLOYMENT),
        ("lease-under-ttl", Policy(stream_lease=5.0), DEPLOYMENT),
    ],
)
def test_each_fault_of_a_policy_is_found(name: str, policy: Policy, deployment: Deployment) -> None:
    assert [*named(policy_findings(policy, deployment))] == [name]


@pytest.mark.parametrize(
    "policy",
    [Policy(ttl=2.5), Policy(ttl=7.5, poll_interval=5.0), Policy.strict(ttl=0.0, poll_interval=5.0)],
    ids=["no cadence", "longer than the cadence", "nothing is kept on purpose"],
)
def test_a_ttl_that_fits_is_no_finding(policy: Policy) -> None:
    assert named(policy_findings(policy, DEPLOYMENT)) == {}


def test_workers_with_a_journal_are_no_finding() -> None:
    assert named(policy_findings(Policy(), replace(DEPLOYMENT, workers=4, has_journal=True))) == {}


def test_a_policy_that_is_refused_is_a_finding() -> None:
    assert refused_policy("Policy.ttl is -1").sentence == "Policy.ttl is -1; correct that field"


@pytest.mark.parametrize(
    ("environment", "workers"),
    [
        ({}, 1),
        ({"WEB_CONCURRENCY": "4"}, 4),
        ({"UVICORN_WORKERS": "2"}, 2),
        ({"GUNICORN_CMD_ARGS": "--bind=:80 --workers=3"}, 3),
        ({"GUNICORN_CMD_ARGS": "-w 5 --preload"}, 5),
        ({"WEB_CONCURRENCY": "many", "GUNICORN_CMD_ARGS": "--worker-class gthread"}, 1),
    ],
)
def test_how_many_workers_there_are_is_read_from_what_servers_read(
    environment: dict[str, str], workers: int
) -> None:
    assert workers_in(environment) == workers


def test_notifications_are_counted_in_the_table_of_processes(tmp_path: Path) -> None:
    limits = tmp_path / "sys" / "fs" / "inotify"
    limits.mkdir(parents=True)
    (limits / "max_user_instances").write_text("2\n")
    (limits / "max_user_watches").write_text("5\n")
    for number in ("3", "4"):
        (tmp_path / "17" / "fd").mkdir(parents=True, exist_ok=True)
        (tmp_path / "17" / "fdinfo").mkdir(parents=True, exist_ok=True)
        (tmp_path / "17" / "fd" / number).symlink_to("anon_inode:inotify")
        (tmp_path / "17" / "fdinfo" / number).write_text("pos:\t0\ninotify wd:1 ino:2\ninotify wd:2 ino:3\n")
    (tmp_path / "18").mkdir()  # ended meanwhile

    assert read_notifications(tmp_path) == Notifications(2, 2, 4, 5)
    assert read_notifications(tmp_path / "nowhere") is None


MAKERS: list[Callable[[], Iterable[Finding]]] = [
    lambda: environment_findings(
        replace(ENVIRONMENT, sqlite=(3, 40, 1), descriptors=9, now_s=0.0, may_keep=False)
    ),
    lambda: file_findings(replace(FILE, is_remote=True, is_open=True, may_write=False, free_bytes=0)),
    lambda: policy_findings(Policy(poll_interval=5.0, pool_size=9), replace(DEPLOYMENT, workers=2)),
]


@pytest.mark.parametrize("make", MAKERS)
def test_each_finding_is_one_sentence_that_says_what_to_do(make: Callable[[], Iterable[Finding]]) -> None:
    for each in make():
        assert each.todo
        assert each.sentence == f"{each.what}; {each.todo}"
        assert "\n" not in each.sentence
        assert not each.sentence.endswith(".")
