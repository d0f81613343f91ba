"""What a home can be: just made, moved, renamed, deleted, a profile's folder, a relative path (rules X8, S5)."""

import pickle
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_cache import BuildError, Policy, SessionListCache
from hermes_cache.errors import ProfileNotFoundError, SourceError
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.testing import ManualClock
from tests.waiting import WAIT_S

KEY = SessionListKey()
EVERYTHING: dict[str, Any] = {
    "show_cli": True, "show_cron": True, "show_webhook": True, "show_kanban": True, "include_archived": True,
    "show_previous_messaging": True,
}  # fmt: skip


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=20)


@pytest.fixture
def cache(sample: SampleHome) -> Iterator[SessionListCache]:
    home = HermesHome(sample.path)
    policy = Policy(stamp_interval=0, max_build_duty=1.0, owner_wait=WAIT_S)
    with SessionListCache(home.builder, sources=home.sources, policy=policy) as running:
        yield running


def _key(profile: str | None = None, **fields: Any) -> SessionListKey:
    return SessionListKey(profile, **{**EVERYTHING, **fields})


def _ids(home: HermesHome, profile: str | None = None, **fields: Any) -> list[str]:
    rows: Any = home.builder(_key(profile, **fields))["sessions"]
    return [row["session_id"] for row in rows]


def test_a_home_that_was_just_made_is_empty_until_its_first_session(tmp_path: Path, sample: SampleHome) -> None:
    """X8, R12"""
    new = tmp_path / "new"
    new.mkdir()
    home = HermesHome(new)

    assert _ids(home) == []
    assert list(new.iterdir()) == []
    sample.state_db.rename(new / "state.db")
    assert len(_ids(home)) > 0


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-shm", "state.db-journal"])
def test_a_home_without_a_database_but_with_its_companion_is_not_empty(tmp_path: Path, name: str) -> None:
    """X8"""
    (tmp_path / name).touch()

    with pytest.raises(SourceError, match=r"state\.db: is missing"):
        _ids(HermesHome(tmp_path))


def test_a_home_without_a_database_whose_index_has_an_agents_session_is_not_empty(tmp_path: Path) -> None:
    """X8"""
    index = tmp_path / "webui" / "sessions" / "_index.json"
    index.parent.mkdir(parents=True)
    index.write_text('[{"session_id": "a", "message_count": 1}]')
    (index.parent / "a.json").write_text('{"session_id": "a", "message_count": 1}')
    assert _ids(HermesHome(tmp_path)) == ["a"]

    imported = '{"session_id": "b", "message_count": 1, "is_cli_session": true, "source_tag": "cli"}'
    index.write_text(f"[{imported}]")
    (index.parent / "b.json").write_text(imported)

    with pytest.raises(SourceError, match=r"state\.db: is missing"):
        _ids(HermesHome(tmp_path))


def test_a_database_that_is_gone_for_a_moment_leaves_the_list_as_it_was(
    sample: SampleHome, cache: SessionListCache
) -> None:
    """X8"""
    before = cache.get(_key())
    away = sample.state_db.rename(sample.path / "away")

    found = cache.lookup(_key())
    assert found.payload == before
    assert "state.db: is missing" in str(found.error)

    away.rename(sample.state_db)
    assert cache.lookup(_key(), freshness="fresh").error is None


@pytest.mark.parametrize(
    ("name", "value"), [("path", 5), ("session_dir", b"/tmp"), ("kept_in", []), ("stores", ["claude"])]
)
def test_a_location_or_a_store_that_is_none_is_refused_by_name(name: str, value: Any) -> None:
    """X1, X11"""
    with pytest.raises(TypeError, match=f"^(one of )?{name} is .*; it must be "):
        HermesHome(**{name: value})


def test_a_home_that_does_not_exist_fails_at_the_build_and_names_it(tmp_path: Path) -> None:
    """S5"""
    home = HermesHome(tmp_path / "nowhere")

    for profile in (None, "work"):
        with pytest.raises(SourceError, match=r"nowhere: is missing: no Hermes home lies there"):
            _ids(home, profile)
    with pytest.raises(SourceError, match="nowhere: is missing"):
        _ids(home, all_profiles=True)


def test_a_profile_is_unknown_only_to_a_home_that_is_whole(sample: SampleHome) -> None:
    """X8"""
    home = HermesHome(sample.path)

    with pytest.raises(ProfileNotFoundError, match="no profile 'other'"):
        _ids(home, "other")
    (sample.path / "profiles" / "other").mkdir()

    assert _ids(home, "other") == []


def test_a_renamed_profile_is_not_found_under_its_old_name_and_nothing_is_held_of_it(
    sample: SampleHome, cache: SessionListCache
) -> None:
    """X8"""
    count, rest = len(_rows(cache, "work")), len(_rows(cache))
    folder = sample.path / "profiles" / "work"

    folder.rename(folder.with_name("job"))

    with pytest.raises(BuildError) as raised:
        cache.get(_key("work"), freshness="fresh")
    assert isinstance(raised.value.__cause__, ProfileNotFoundError)
    assert cache.peek(_key("work")) is None
    with pytest.raises(BuildError):
        cache.get(_key("work"), freshness="any")
    assert len(_rows(cache, "job")) <= count
    assert len(_rows(cache)) == rest
    assert cache.health().healthy


def test_a_deleted_profile_is_not_found_and_is_found_again_once_it_is_back(
    sample: SampleHome, cache: SessionListCache
) -> None:
    """X8"""
    before = _rows(cache, "work")
    folder = sample.path / "profiles" / "work"

    moved = folder.rename(sample.path / "moved")
    with pytest.raises(BuildError, match="no profile 'work'"):
        cache.get(_key("work"), freshness="fresh")
    moved.rename(folder)

    found: Any = cache.get(_key("work"), freshness="fresh")
    assert [row["session_id"] for row in found["sessions"]] == [row["session_id"] for row in before]


def test_a_moved_home_keeps_its_list_and_says_why(sample: SampleHome, cache: SessionListCache) -> None:
    """X8: it may be a drive that is not mounted."""
    before = cache.get(_key())

    sample.path.rename(sample.path.with_name("moved"))

    found = cache.lookup(_key())
    assert found.payload == before
    assert "no Hermes home lies there" in str(found.error)
    assert not cache.health().healthy


@pytest.mark.parametrize("given", ["path", "environment"])
def test_the_folder_of_a_profile_is_a_home_whose_default_is_that_profile(
    sample: SampleHome, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X8"""
    root, folder = HermesHome(sample.path), sample.path / "profiles" / "work"
    (folder.with_name("other")).mkdir()
    monkeypatch.setenv("HERMES_HOME", str(folder))
    home = HermesHome(folder if given == "path" else None)

    assert _ids(home) == _ids(home, "work") == _ids(root, "work")
    assert _ids(home) != _ids(root)
    assert _ids(home, "other") == []
    assert _ids(home, all_profiles=True) == _ids(root, all_profiles=True)
    assert home.profiles() == root.profiles() == ("default", "other", "work")
    own, named = (home.sources.stamp(SessionListKey(name), held=False) for name in (None, "work"))
    assert (
        own["state_db"] == named["state_db"] == root.sources.stamp(SessionListKey("work"), held=False)["state_db"]
    )


def test_a_folder_that_is_only_called_like_a_profile_is_a_home_of_its_own(tmp_path: Path) -> None:
    """X8"""
    sample = make_sample_home(tmp_path / "profiles" / "mine", sessions=5, profiles=())

    assert len(_ids(HermesHome(sample.path))) > 0
    assert len(_ids(HermesHome(sample.path), all_profiles=True)) > 0


def test_a_relative_path_means_the_folder_in_which_it_was_given(
    sample: SampleHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: another home's list must never be served for this one."""
    elsewhere = tmp_path / "elsewhere"
    make_sample_home(elsewhere / "home", sessions=3, seed=7)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERMES_HOME", "home")
    homes = [
        HermesHome("home"),
        HermesHome(),
        HermesHome(lambda _key: "home"),
        HermesHome(sample.path, state_db="home/state.db", session_dir="home/webui/sessions"),
    ]
    expected = _ids(homes[0])

    monkeypatch.chdir(elsewhere)

    assert [_ids(home) for home in homes] == [expected] * 4
    assert _ids(pickle.loads(pickle.dumps(homes[0]))) == expected  # noqa: S301 - our own
    assert homes[0].sources.stamp(SessionListKey(), held=False)["content"] != ("absent",)


def test_a_user_without_a_home_folder_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5"""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("HERMES_HOME", raising=False)

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)

    with pytest.raises(SourceError, match="set HERMES_HOME"):
        HermesHome()
    HermesHome("/some/where")


@pytest.mark.parametrize("told", ["path", "state_db", "session_dir", "settings_file", "gateway_metadata"])
def test_a_location_in_the_home_of_a_user_that_there_is_not_fails_the_build_by_name(
    sample: SampleHome, told: str
) -> None:
    """S5, X8"""
    locations: dict[str, Any] = {"path": sample.path, told: lambda _key: "~no-such-user/x"}
    home = HermesHome(**locations)

    with pytest.raises(SourceError, match=r"~no-such-user/x.*full path"):
        home.builder(KEY)
    if told in {"path", "settings_file"}:
        with pytest.raises(SourceError, match="no-such-user"):
            home.sources.stamp(KEY, held=False)
    else:
        assert "cannot be known from here" in str(home.sources.stamp(KEY, held=False)["content"])


def test_what_users_read_is_in_words(tmp_path: Path) -> None:
    """X8"""
    home = HermesHome(tmp_path / "nowhere")
    with SessionListCache(home.builder, sources=home.sources) as cache:
        with pytest.raises(BuildError) as raised:
            cache.get(SessionListKey("work", show_cli=True))
        health = cache.health()

    assert "profile work with show_cli" in str(raised.value)
    told = [str(raised.value), *map(str, health.failing), *health.failing.values()]
    assert not [text for text in told if "SessionListKey" in text or "PosixPath" in text]


def test_health_is_about_what_was_asked_for_within_the_last_minute(tmp_path: Path) -> None:
    """X8"""
    clock = ManualClock()
    home = HermesHome(tmp_path / "nowhere")
    with SessionListCache(home.builder, sources=home.sources, clock=clock) as cache:
        with pytest.raises(BuildError):
            cache.get(SessionListKey())
        before = cache.health()
        clock.advance(61.0)
        after = cache.health()

    assert not before.healthy
    assert after.healthy
    assert after.failing == {}


def _rows(cache: SessionListCache, profile: str | None = None) -> list[Any]:
    rows: Any = cache.get(_key(profile))["sessions"]
    return list(rows)
