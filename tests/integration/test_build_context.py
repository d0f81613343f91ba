"""Rule B2: every builder runs inside the build context, here and in worker processes."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from hermes_cache import BuildError, Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.errors import PayloadError
from hermes_cache.samples.home import make_sample_home
from hermes_cache.testing import VersionedSources

KEY = SessionListKey("work")
OTHER = SessionListKey("home")

profile = threading.local()


@contextmanager
def _as_profile(key: SessionListKey) -> Iterator[None]:
    """Name the key's profile to whatever runs on this thread."""
    profile.name = key.profile
    try:
        yield
    finally:
        del profile.name


def _name_profile(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [], "profile": profile.name, "pid": os.getpid()}


def _name_profile_again(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [], "again": profile.name}


def _fail(_key: SessionListKey) -> Mapping[str, object]:
    raise LookupError("no such table")


def _return_a_set(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [], "tags": {"a"}}


class _Ends(AbstractContextManager[None]):
    """A context that raises when it is left."""

    def __exit__(self, *_raised: object) -> None:
        raise ConnectionError("the session could not be closed")


@contextmanager
def _noting(key: SessionListKey, *, note: Path) -> Iterator[None]:
    with note.open("a") as lines:
        lines.write(f"{key.profile} {key.all_profiles} {os.getpid()}\n")
    yield


def test_the_caches_builder_and_a_reads_own_run_inside_the_context(bus: Bus) -> None:
    """B2, R11"""
    with SessionListCache(_name_profile, bus=bus, build_context=_as_profile) as cache:
        own, given = cache.get(KEY), cache.get(OTHER, builder=_name_profile_again)

    assert own["profile"] == "work"
    assert given["again"] == "home"


def test_in_worker_processes_the_context_is_entered_in_the_worker() -> None:
    """B2, B8"""
    with SessionListCache(_name_profile, bus=Bus(), executor="processes", build_context=_as_profile) as cache:
        own, given = cache.get(KEY), cache.get(OTHER, builder=_name_profile_again)

    assert (own["profile"], own["pid"] != os.getpid()) == ("work", True)
    assert given["again"] == "home"


def test_whatever_a_worker_reads_for_a_key_it_reads_inside_the_context(tmp_path: Path) -> None:
    """B2, B8: also the profiles that another worker reads for a view of all"""
    home = HermesHome(make_sample_home(tmp_path / "home", sessions=30, seed=1).path)
    note = tmp_path / "note"
    with SessionListCache(
        home.builder,
        sources=home.sources,
        bus=Bus(),
        executor="processes",
        build_context=lambda key: _noting(key, note=note),
    ) as cache:
        cache.get(SessionListKey(all_profiles=True))
    home.close()

    lines = [line.split() for line in note.read_text().splitlines()]
    assert {(shown, everything) for shown, everything, _ in lines} == {("default", "True")}
    assert len({pid for _, _, pid in lines}) == 2


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_an_error_of_the_context_is_the_builds(executor: Any) -> None:
    """B2"""
    with (
        SessionListCache(
            _name_profile_again, bus=Bus(), executor=executor, build_context=lambda _key: _Ends()
        ) as cache,
        pytest.raises(BuildError, match="could not be closed") as raised,
    ):
        cache.get(KEY, builder=lambda _key: {"sessions": []})

    assert isinstance(raised.value.__cause__, ConnectionError)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_context_that_suppresses_an_error_fails_the_build_with_it_all_the_same(executor: Any) -> None:
    """B2"""
    with (
        SessionListCache(
            _fail, bus=Bus(), executor=executor, build_context=lambda _key: suppress(LookupError)
        ) as cache,
        pytest.raises(BuildError, match="no such table") as raised,
    ):
        cache.get(KEY)

    assert isinstance(raised.value.__cause__, LookupError)


def test_a_context_that_suppresses_the_refusal_of_a_payload_fails_the_build_too(bus: Bus) -> None:
    """B2, B7"""
    context = suppress(PayloadError)
    with (
        SessionListCache(_return_a_set, bus=bus, build_context=lambda _key: context) as cache,
        pytest.raises(BuildError, match="tags"),
    ):
        cache.get(KEY)


def test_sources_do_not_run_inside_the_context(bus: Bus) -> None:
    """B2"""
    inside: list[bool] = []

    class Looking(VersionedSources):
        def stamp(self, key: Any, /, *, held: bool) -> Mapping[str, object]:
            inside.append(hasattr(profile, "name"))
            return super().stamp(key, held=held)

    with SessionListCache(_name_profile, bus=bus, sources=Looking(), build_context=_as_profile) as cache:
        cache.get(KEY)

    assert inside
    assert not any(inside)


def test_what_can_be_no_context_is_refused_where_it_is_given() -> None:
    """B2, E4, B8"""

    @asynccontextmanager
    async def awaited(_key: SessionListKey) -> Any:
        yield

    lock = threading.Lock()
    refused: list[tuple[str, Any]] = [
        ("threads", nullcontext()),
        ("threads", awaited),
        ("processes", lambda _: lock),
    ]
    for executor, context in refused:
        with pytest.raises(TypeError, match="build_context"):
            SessionListCache(_name_profile, bus=Bus(), executor=executor, build_context=context)  # type: ignore[arg-type]
