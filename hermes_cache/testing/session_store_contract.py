"""The tests that every store of sessions must pass: a class of tests to subclass.

They write only through what the subclass gives them, and let time pass through it, too.
"""
# ruff: noqa: S101  # these are tests: they assert

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from unittest import SkipTest

from hermes_cache.stores.session_store import LOOK_EVERY_S, MOVES_EVERY_S, NotifiedStore, Row, SessionStore

_TEXTS = ("session_id", "title", "source_tag", "raw_source", "session_source", "source_label")
_MOMENTS = ("created_at", "updated_at", "last_message_at")


class SessionStoreContract:
    """What holds for every store; a subclass in a test file says how its agent writes sessions.

    Example:
        ```python
        class TestMyStore(SessionStoreContract):
            @pytest.fixture(autouse=True)
            def _files(self, tmp_path: Path) -> None:
                self.folder = tmp_path / "agent"
                self.clock = ManualClock()

            def open_store(self) -> SessionStore:
                return MyStore(self.folder, clock=self.clock)

            def pass_time(self, span_s: float) -> None:
                self.clock.advance(span_s)

            def write_session(self, name: str, title: str) -> None: ...

            def remove_session(self, name: str) -> None: ...
        ```
    """

    folder: Path
    """The folder of the store, in which nothing but the agent may write."""

    def open_store(self) -> SessionStore:
        """Open the store of this test once more; empty at first, and its folder need not be there."""
        raise NotImplementedError

    def pass_time(self, span_s: float) -> None:
        """Let so many seconds pass for the stores that were opened, without waiting for them."""
        raise NotImplementedError

    def write_session(self, name: str, title: str) -> None:
        """Write a session as the agent does; one of that name gets another title."""
        raise NotImplementedError

    def remove_session(self, name: str) -> None:
        """Take a session away."""
        raise NotImplementedError

    def damage_session(self, name: str) -> None:
        """Make a session unreadable; the test of that needs it."""
        raise SkipTest(f"override damage_session to prove what becomes of the others when {name} is damaged")

    def test_a_store_that_is_not_there_is_empty_until_it_is(self) -> None:
        """X11."""
        store = self.open_store()

        before = list(store.rows())
        self.write_session("a", "First")
        self._settle(store)

        assert before == []
        assert self._titles(store) == {"First"}

    def test_rows_have_the_fields_that_lists_need_and_are_json(self) -> None:
        """X11."""
        self.write_session("a", "First")
        self.write_session("b", "Second")

        rows = self.open_store().rows()

        assert len({row["session_id"] for row in rows}) == len(rows)
        assert json.loads(json.dumps(list(rows))) == list(rows)
        for row in rows:
            assert all(isinstance(row[name], str) and row[name] for name in _TEXTS)
            assert all(isinstance(row[name], int | float) for name in _MOMENTS)
            assert isinstance(row["message_count"], int)

    def test_the_newest_row_comes_first(self) -> None:
        """X11."""
        for name in ("a", "b", "c"):
            self.write_session(name, name)

        moments = [row["last_message_at"] for row in self.open_store().rows()]

        assert moments == sorted(moments, key=_number, reverse=True)

    def test_two_stores_of_the_same_files_give_the_same_rows(self) -> None:
        """X11: also one that looked on while they were written."""
        looking_on = self.open_store()
        for name, title in (("a", "First"), ("b", "Second"), ("a", "Renamed")):
            self.write_session(name, title)
            self._settle(looking_on)
        self.remove_session("b")
        self._settle(looking_on)

        assert list(looking_on.rows()) == list(self.open_store().rows())

    def test_a_stamp_stays_while_nothing_moves(self) -> None:
        """X11, X6."""
        self.write_session("a", "First")
        store = self.open_store()
        self._settle(store)
        stamp = store.stamp()

        for _ in range(5):
            self.pass_time(LOOK_EVERY_S)

            assert store.stamp() == stamp

    def test_a_stamp_moves_after_the_rows_and_not_more_often_than_it_may(self) -> None:
        """X11."""
        store = self.open_store()
        self._settle(store)
        moves: list[float] = []
        stamp, span_s = store.stamp(), 0.25

        for step in range(80):
            self.write_session("a", f"Title {step}")
            self.pass_time(span_s)
            if store.stamp() != stamp:
                stamp = store.stamp()
                moves.append(step * span_s)

        assert moves[0] <= LOOK_EVERY_S + MOVES_EVERY_S
        assert all(later - earlier >= MOVES_EVERY_S for earlier, later in pairwise(moves))
        assert len(moves) > 1

    def test_changes_turn_the_rows_of_a_stamp_into_those_of_now(self) -> None:
        """X11, D2."""
        for name in ("a", "b", "c"):
            self.write_session(name, name)
        store = self.open_store()
        self._settle(store)
        since, before = store.stamp(), store.rows()

        self.write_session("a", "Renamed")
        self.write_session("d", "New")
        self.remove_session("b")
        self._settle(store)

        changes = store.changes(since)
        if changes is not None:
            rows = {row["session_id"]: row for row in before if row["session_id"] not in changes.gone}
            rows |= {row["session_id"]: row for row in changes.rows}
            assert _by_id(list(rows.values())) == _by_id(store.rows())
        assert store.stamp() != since
        assert self._titles(store) == {"Renamed", "c", "New"}

    def test_a_store_that_can_be_notified_finds_what_moved_without_a_look_at_all(self) -> None:
        """X11: the other store is the copy in another process, which gets what the first one found."""
        self.write_session("a", "First")
        store, other = self.open_store(), self.open_store()
        if not isinstance(store, NotifiedStore) or not isinstance(other, NotifiedStore):
            raise SkipTest("this store has no `folders`, `look` and `moved`: it is looked at whole, now and then")
        self._settle(store)
        self._settle(other)
        seen, _ = store.moved(None)
        before = set(self._contents().items())

        self.write_session("a", "Second")
        self.write_session("b", "Third")
        files = {name for name, _ in set(self._contents().items()) - before}
        was_moved = store.look(files)
        _, moved = store.moved(seen)
        other.look(moved)

        assert {Path(file).parent for file in files} <= {*store.folders()}
        assert (was_moved, files <= set(moved or ())) == (True, True)
        assert self._titles(store) == self._titles(other) == {"Second", "Third"}

    def test_what_moved_since_an_unknown_moment_is_not_known(self) -> None:
        """X11."""
        store = self.open_store()
        if isinstance(store, NotifiedStore):
            assert store.moved("unknown")[1] is None

    def test_changes_since_an_unknown_stamp_are_not_known(self) -> None:
        """X11."""
        self.write_session("a", "First")

        assert self.open_store().changes(("never", "given")) is None

    def test_secrets_in_titles_are_masked(self) -> None:
        """X12."""
        self.write_session("a", "use ghp_TestFakeCredential1234567890ab now")

        assert self._titles(self.open_store()) == {"use ghp_Te...90ab now"}

    def test_a_damaged_session_costs_no_other(self) -> None:
        """X11."""
        for name in ("a", "b"):
            self.write_session(name, name)
        store = self.open_store()
        self._settle(store)

        self.damage_session("a")
        self._settle(store)

        assert "b" in self._titles(store)
        assert "b" in self._titles(self.open_store())

    def test_nothing_is_written(self) -> None:
        """X11."""
        for name in ("a", "b"):
            self.write_session(name, name)
        before = self._contents()

        store = self.open_store()
        self._settle(store)
        store.changes(store.stamp())

        assert self._contents() == before

    def _settle(self, store: SessionStore) -> None:
        """Let pass what a change may take to be seen and reported, and to be looked at once more."""
        for _ in range(3):
            self.pass_time(LOOK_EVERY_S)
            store.stamp()
            store.rows()

    def _titles(self, store: SessionStore) -> set[object]:
        return {row["title"] for row in store.rows()}

    def _contents(self) -> Mapping[str, tuple[int, bytes]]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def _by_id(rows: object) -> dict[object, Row]:
    return {row["session_id"]: row for row in rows} if isinstance(rows, list | tuple) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
