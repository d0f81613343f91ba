"""The URL of a journal: what is refused, and that no password is shown (J1, J9, W3)."""

from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache import journal_at
from hermes_cache.errors import JournalSetupError, JournalUnavailableError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//gateway:secret@db.example/gateway",
        "postgresql:/gateway:secret@db.example/gateway",
        "postgresql://gateway:secret@db.example:secret/gateway",
        "mysql://gateway:secret@db.example/gateway?password=secret",
        "sqlite:////var/lib/gateway/journal.db?password=secret",
    ],
)
def test_no_refusal_of_a_url_shows_a_password(url: str) -> None:
    """J9, W3: nor by the error behind it."""
    with pytest.raises(JournalSetupError) as refused:
        journal_at(url)

    error: BaseException | None = refused.value
    while error is not None:
        assert "secret" not in f"{error} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_folder_that_is_not_there_is_to_be_made(tmp_path: Path) -> None:
    """J5, J9"""
    with (
        closing(journal_at(f"sqlite:///{tmp_path / 'gateway' / 'journal.db'}")) as journal,
        pytest.raises(JournalUnavailableError, match=r"journal\.db: its folder is not there; make it; try again$"),
    ):
        journal.end()


@pytest.mark.parametrize(
    "url", ["sqlite://journal.db", "sqlite://var/journal.db", "sqlite://me:secret@h/var/j.db"]
)
def test_a_url_of_a_file_with_two_slashes_is_refused(url: str) -> None:
    """J1: its first folder would be taken for a server, and another file be made."""
    with pytest.raises(JournalSetupError, match=r"sqlite:////path/to/journal\.db") as refused:
        journal_at(url)

    assert "secret" not in str(refused.value)
