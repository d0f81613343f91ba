"""Rule B8: builds that leave the process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import pytest

from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey, thaw
from hermes_cache.errors import BuildError, BuildTimeoutError
from hermes_cache.ports import Builder
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import rename_session
from hermes_cache.testing import Listener
from tests.waiting import PROCESS_S, answered, until

KEY = SessionListKey("work")
ALL = SessionListKey(all_profiles=True, show_cli=True, show_cron=True, show_webhook=True, show_kanban=True)


class Numbers:
    """A builder that can be pickled: so many rows, and who made them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, key: SessionListKey) -> Mapping[str, object]:
        rows = [{"session_id": f"s{number}", "profile": key.profile} for number in range(self._count)]
        return {"sessions": rows, "pid": os.getpid(), "cron": key.show_cron}


class Falls:
    """Ends its worker the first time, and leaves a note that it did."""

    def __init__(self, note: Path) -> None:
        self._note = note

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        if not self._note.exists():
            self._note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"sessions": []}


class MeetsSignal:
    """Gets a signal of the kind that a terminal sends to all processes, and starts a process that ends at it."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        os.kill(os.getpid(), self._number)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            child.send_signal(self._number)
            child.wait(PROCESS_S)
        return {"sessions": [], "child": child.returncode}


class Raises:
    """Raises what it is given to make."""

    def __init__(self, kind: type[BaseException], *arguments: object) -> None:
        self._kind = kind
        self._arguments = arguments

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        raise self._kind(*self._arguments)


class UnportableError(Exception):
    """Cannot be made again from what pickle keeps of it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Hangs:
    """Never returns; tells its process id first."""

    def __init__(self, told: Path) -> None:
        self._told = told

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        self._told.write_text(str(os.getpid()))
        threading.Event().wait()
        return {}


def _cache(builder: Builder | str, *, policy: Policy | None = None) -> SessionListCache:
    return SessionListCache(
        builder, bus=Bus(), executor="processes", policy=policy or Policy(ttl=60.0, pool_size=1)
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    return make_sample_home(tmp_path_factory.mktemp("sample") / "home", sessions=60, seed=3)


@pytest.fixture
def home_cache(sample: SampleHome) -> Iterator[SessionListCache]:
    home = HermesHome(sample.path)
    with SessionListCache(home.builder, sources=home.sources, bus=Bus(), executor="processes") as cache:
        yield cache
    home.close()


def test_a_builder_runs_in_another_process() -> None:
    """B8"""
    with _cache(Numbers(3)) as cache:
        payload = cache.get(KEY)

        assert payload["pid"] != os.getpid()
        assert payload["sessions"] == [
            {"session_id": f"s{number}", "profile": "work", "is_streaming": False} for number in range(3)
        ]


def test_a_builder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B8"""
    (tmp_path / "named_builder.py").write_text(
        "def build(key):\n    return {'sessions': [], 'for': key.profile}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    with _cache("named_builder:build") as cache:
        assert cache.get(KEY) == {"sessions": [], "for": "work"}


def test_a_name_that_cannot_be_imported_is_refused() -> None:
    """B8"""
    with pytest.raises(ValueError, match="no_such_package:build"):
        _cache("no_such_package:build")


def test_a_body_is_served_before_anything_is_decoded() -> None:
    """B8, O6"""
    with _cache(Numbers(3)) as cache:
        rendered = cache.render(KEY)
        content = rendered.lookup.content
        undecoded = content.payload
        payload = cache.get(KEY)

        assert undecoded is None
        assert content.payload is payload
        assert orjson.loads(rendered.body) == thaw(payload)


def test_decoded_rows_count_by_their_measured_size() -> None:
    """P4"""
    with _cache(Numbers(50)) as cache:
        cache.render(KEY)
        encoded_bytes = cache.stats().held_bytes

        cache.get(KEY)

        assert cache.stats().held_bytes > 2 * encoded_bytes


def test_keys_share_the_rows_that_workers_sent() -> None:
    """B8, P4"""
    other = SessionListKey("work", show_cron=True)
    with _cache(Numbers(3)) as cache:
        first, second = cache.lookup(KEY).content, cache.lookup(other).content

        assert first.pieces is not None
        assert second.pieces is not None
        assert all(map(lambda one, another: one is another, first.pieces, second.pieces))


def test_a_readers_own_builder_must_be_one_that_can_be_pickled() -> None:
    """R11, B8"""
    lock = threading.Lock()
    with _cache(Numbers(1)) as cache:
        with pytest.raises(TypeError, match="pickled"):
            cache.get(KEY, builder=lambda _key: {"sessions": [], "lock": lock})

        own = cache.get(SessionListKey("other"), builder=Numbers(2))

        assert own["pid"] != os.getpid()


def test_a_builder_that_cannot_be_pickled_is_refused_at_once() -> None:
    """B8"""
    lock = threading.Lock()

    with pytest.raises(TypeError, match="pickled"):
        _cache(lambda _key: {"lock": lock})


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        (Raises(OSError, "disk"), "OSError: disk"),
        (Raises(SystemExit, 3), "SystemExit"),
        (Raises(UnportableError, "this", "that"), "this and that"),
        (Raises(KeyboardInterrupt), "KeyboardInterrupt"),
    ],
)
def test_what_a_builder_raises_crosses_over(builder: Raises, told: str) -> None:
    """B6, B8, R7"""
    with _cache(builder) as cache:
        with pytest.raises(BuildError, match=told):
            cache.get(KEY)

        assert cache.get(SessionListKey("other"), builder=Numbers(1))["cron"] is False


def test_a_worker_that_died_costs_no_error(tmp_path: Path) -> None:
    """B8"""
    with _cache(Falls(tmp_path / "fallen")) as cache:
        assert cache.get(KEY) == {"sessions": []}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_is_left_to_the_parent(number: signal.Signals) -> None:
    """B8, W6"""
    with SessionListCache(MeetsSignal(number), bus=Bus(), executor="processes") as cache:
        built = answered(lambda: cache.get(KEY))

    assert built["child"] == -number


def test_a_worker_that_hangs_is_killed_and_its_position_filled(tmp_path: Path) -> None:
    """B6, B8"""
    told = tmp_path / "pid"
    policy = Policy(build_timeout=12.0, pool_size=1, ttl=60.0)
    with _cache(Hangs(told), policy=policy) as cache:
        # The worker is there then, whose start may take a busy machine that time.
        answered(lambda: cache.get(SessionListKey("first"), builder=Numbers(1)))
        with pytest.raises(BuildTimeoutError):
            cache.get(KEY)

        payload = answered(lambda: cache.get(SessionListKey("other"), builder=Numbers(1)))

        assert payload["pid"] != int(told.read_text())
        until(lambda: not _runs(int(told.read_text())))


@pytest.mark.parametrize("key", [SessionListKey(show_cli=True), SessionListKey("work", show_cli=True), ALL])
def test_a_home_gives_the_same_list_from_a_worker(
    home_cache: SessionListCache, sample: SampleHome, key: SessionListKey
) -> None:
    """B8, X4"""
    home = HermesHome(sample.path)

    with SessionListCache(home.builder, bus=Bus()) as in_threads:
        expected = in_threads.get(key)

    assert home_cache.get(key) == expected
    home.close()


def test_an_all_profiles_build_sees_what_changed_in_each_profile(
    home_cache: SessionListCache, sample: SampleHome
) -> None:
    """B8, X4"""
    home_cache.get(ALL)
    rows = [row for row in home_cache.get(ALL)["sessions"] if isinstance(row, dict)]  # type: ignore[attr-defined]
    chosen = {row["profile"]: row for row in rows if row["raw_source"] == "cli"}

    for profile, row in chosen.items():
        position = sample.path if profile == "default" else sample.path / "profiles" / str(profile)
        rename_session(position, str(row["session_id"]), f"Renamed in {profile}")
    home_cache.invalidate()

    titles = {row["title"] for row in home_cache.get(ALL)["sessions"]}  # type: ignore[attr-defined]
    assert {f"Renamed in {profile}" for profile in chosen} <= titles


def test_only_rows_that_changed_are_sent(home_cache: SessionListCache, sample: SampleHome) -> None:
    """B8, X5"""
    key = SessionListKey(show_cli=True)
    before = home_cache.lookup(key).content.pieces or ()
    row = next(piece.decoded() for piece in before if _source(piece.decoded()) == "cli")
    rename_session(sample.path, str(row["session_id"]), "One row anew")  # type: ignore[index]
    home_cache.invalidate()

    after = home_cache.lookup(key).content.pieces or ()

    assert len(set(map(id, after)) - set(map(id, before))) == 1


def test_the_interpreter_ends_with_a_worker_that_hangs(tmp_path: Path) -> None:
    """L3, B8"""
    script = f"""
        import os, threading, time
        from hermes_cache import Bus, SessionListCache, SessionListKey

        def hangs(key):
            open({str(tmp_path / "begun")!r}, "w").close()
            threading.Event().wait()

        cache = SessionListCache(hangs, bus=Bus(), executor="processes")
        threading.Thread(target=cache.get, args=[SessionListKey()], daemon=True).start()
        while not os.path.exists({str(tmp_path / "begun")!r}):
            time.sleep(0.01)
        print("left it")
    """

    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=150, check=False
    )

    assert (ended.returncode, ended.stdout) == (0, "left it\n")
    assert (tmp_path / "begun").exists()


def test_a_forked_child_builds_and_ends_beside_the_workers_of_its_parent() -> None:
    """L2, L3, B8"""
    script = """
        import os, sys
        from hermes_cache import Bus, SessionListCache, SessionListKey

        def build(key):
            return {"sessions": [], "pid": os.getpid()}

        cache = SessionListCache(build, bus=Bus(), executor="processes")
        before = cache.get(SessionListKey())["pid"]
        child = os.fork()
        if not child:
            sys.exit(0 if cache.get(SessionListKey())["pid"] != before else 1)
        print(os.waitpid(child, 0)[1], "sessions" in cache.get(SessionListKey(), freshness="fresh"))
    """

    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 True\n", "")


def test_builds_are_announced_from_workers_too() -> None:
    """E6, B8"""
    bus = Bus()
    finished = Listener(bus.build_finished)
    with SessionListCache(Numbers(1), bus=bus, executor="processes") as cache:
        cache.get(KEY)

        finished.wait_for(1)

        assert len(finished.heard) == 1


def _source(row: object) -> object:
    return row["raw_source"] if isinstance(row, dict) else None


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
