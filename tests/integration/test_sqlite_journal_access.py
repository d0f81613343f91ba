"""Who may write to a journal's file: its folder's group where the folder lets it, and never others (rule J9)."""

import multiprocessing
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hermes_cache import Bus, SessionListCache
from hermes_cache.errors import JournalError, JournalSetupError
from hermes_cache.journal.files import share_with_group
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.testing import GatedBuilder
from hermes_cache.testing.journal_contract import numbered
from tests.waiting import WAIT_S

_ANN, _BEN, _STRANGER = 61_201, 61_202, 61_203
_GROUP = 61_300

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as several users"
)
posix = pytest.mark.skipif(os.name != "posix", reason="this system has no such rights")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can come to."""
    with TemporaryDirectory(prefix="hermes_cache_") as name:
        yield Path(name)


def _append_as(user: int, group: int, number: int, file: Path, umask: int = 0o022) -> object:
    """Append an event as a user, in a group of that user's own and one more; return what came of it."""
    with closing(journal_at("sqlite:////nowhere/journal.db")), pytest.raises(JournalError):
        journal_at("sqlite:////nowhere/journal.db").end()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=_act_as, args=(user, group, umask, number, file, theirs)
    )
    child.start()
    theirs.close()
    told = ours.recv()
    child.join(WAIT_S)
    return told


def _act_as(user: int, group: int, umask: int, number: int, file: Path, told: Connection) -> None:
    os.setgroups([group])
    os.setgid(user)
    os.setuid(user)
    os.umask(umask)
    with closing(journal_at(f"sqlite:///{file}?shared=true")) as journal:
        try:
            told.send(journal.append(numbered([number])))
        except JournalError as error:
            told.send(str(error))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@as_root
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("mode", [0o2770, 0o770, 0o2775])
def test_two_users_of_a_folders_group_publish_to_one_journal(folder: Path, mode: int, umask: int) -> None:
    """J9: whatever their umask, and whether new files take the folder's group or not; a stranger cannot."""
    os.chown(folder, _ANN, _GROUP)
    folder.chmod(mode)
    file = folder / "journal.db"

    told = [_append_as(user, _GROUP, at, file, umask) for at, user in enumerate((_ANN, _BEN, _ANN, _BEN), 1)]
    stranger = _append_as(_STRANGER, _STRANGER, 9, file, umask)

    assert told == [[1], [2], [3], [4]]
    assert "try again" in str(stranger)
    made = list(folder.iterdir())
    assert {path.stat().st_gid for path in made} == {_GROUP}
    assert [oct(_mode(path)) for path in made if _mode(path) & 0o062 != 0o060] == []


@as_root
def test_a_file_that_an_earlier_version_made_is_opened_to_the_group_by_its_owner(folder: Path) -> None:
    """J9"""
    os.chown(folder, _ANN, _GROUP)
    folder.chmod(0o2770)
    file = folder / "journal.db"
    _append_as(_ANN, _GROUP, 1, file)
    for made in folder.iterdir():
        made.chmod(0o644)

    before = _append_as(_BEN, _GROUP, 2, file)
    _append_as(_ANN, _GROUP, 3, file)
    after = _append_as(_BEN, _GROUP, 4, file)

    assert "see that this user may write to it and to its folder; try again" in str(before)
    assert after == [3]


@as_root
def test_a_file_that_root_makes_belongs_to_its_folders_owner(folder: Path) -> None:
    """J9: a script that root runs first does not lock the gateway out."""
    os.chown(folder, _ANN, _ANN)
    folder.chmod(0o755)
    file = folder / "journal.db"
    with closing(journal_at(f"sqlite:///{file}")) as journal:
        journal.append(numbered([1]))

    assert _append_as(_ANN, _ANN, 2, file) == [2]


@posix
def test_a_group_that_may_not_write_to_the_folder_may_not_write_to_the_file(folder: Path) -> None:
    """J9"""
    folder.chmod(0o755)
    with closing(journal_at(f"sqlite:///{folder}/journal.db")) as journal:
        journal.append(numbered([1]))

        assert [_mode(path) & 0o022 for path in folder.iterdir()] == [0] * len(list(folder.iterdir()))


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    """J9: with words that say how to do it all the same."""
    folder.chmod(mode)
    url = f"sqlite:///{folder}/journal.db"

    with pytest.raises(JournalSetupError, match=r"another folder, or add \?shared=true"):
        journal_at(url)
    with pytest.raises(JournalSetupError, match="shared=true"):
        SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=url)
    assert list(folder.iterdir()) == []


@posix
def test_a_folder_that_is_opened_to_others_later_is_refused_then(folder: Path) -> None:
    """J9"""
    with closing(journal_at(f"sqlite:///{folder}/journal.db")) as journal:
        folder.chmod(0o777)

        with pytest.raises(JournalSetupError, match="shared=true"):
            journal.append(numbered([1]))


@posix
@pytest.mark.parametrize(("query", "shared"), [("?shared=true", False), ("", True), ("?shared=false", True)])
def test_who_says_so_may_use_a_folder_that_others_may_write_to(folder: Path, query: str, *, shared: bool) -> None:
    """J9: the file is still closed to others."""
    folder.chmod(0o1777)
    with closing(journal_at(f"sqlite:///{folder}/journal.db{query}", shared=shared)) as journal:
        assert journal.append(numbered([1])) == [1]

        assert [_mode(path) & 0o002 for path in folder.iterdir()] == [0] * len(list(folder.iterdir()))


@pytest.mark.parametrize("query", ["?shared=maybe", "?shared=true&shared=false", "?mode=ro"])
def test_a_url_that_says_anything_else_is_refused(folder: Path, query: str) -> None:
    """J9"""
    with pytest.raises(JournalSetupError, match="name a file alone"):
        journal_at(f"sqlite:///{folder}/journal.db{query}")


@posix
@pytest.mark.parametrize("name", ["nul%00.db", "loop/journal.db", "x" * 300 + ".db", "file/journal.db"])
def test_a_path_that_cannot_be_is_a_typed_error(folder: Path, name: str) -> None:
    """J9: at once, or at the first use."""
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "file").touch()

    with pytest.raises(JournalError), closing(journal_at(f"sqlite:///{folder}/{name}")) as journal:
        journal.end()


@as_root
@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_in_a_users_folder_gives_nothing_of_roots_away(
    folder: Path, make: Callable[[Path, Path], None]
) -> None:
    """J9: root publishes to a journal in a folder whose owner put links beside it."""
    secret = folder / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, _ANN, _GROUP)
    theirs.chmod(0o2770)
    make(secret, theirs / "journal.db-shm")

    with closing(journal_at(f"sqlite:///{theirs}/journal.db")) as journal, suppress(JournalError):
        journal.append(numbered([1]))

    found = secret.stat()
    assert (found.st_uid, found.st_gid, _mode(secret)) == (0, 0, 0o600)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system cannot hold a file without opening it")
def test_a_link_that_comes_in_the_position_of_a_file_that_was_looked_at_gives_nothing_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """J9"""
    folder.chmod(0o2770)
    secret, file, user = folder / "secret", folder / "journal.db", os.geteuid()
    for each in (secret, file):
        each.touch(0o600)

    def swap() -> int:
        file.unlink()
        file.symlink_to(secret)
        return user

    monkeypatch.setattr(os, "geteuid", swap)
    share_with_group(file)

    assert file.is_symlink()
    assert _mode(secret) == 0o600
