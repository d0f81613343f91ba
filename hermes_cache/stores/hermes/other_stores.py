"""Lists the sessions of other agents' stores beside those of a home: in the root profile alone.

A store that was never read is read by a thread of its own; until it is done, lists come without its rows and say
so. A store that no view asks for is not touched. A store is foreign code: if it raises, it is logged, and its last
rows stand. Source: rules X11, X12.
"""

import threading
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from operator import is_
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from hermes_cache.logs import QuietLogger
from hermes_cache.payload.rows import EncodedRow, encoded_row
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey
from hermes_cache.sessions.rows import Facts
from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.joining import JoinedSession
from hermes_cache.stores.hermes.json_files import JsonFiles
from hermes_cache.stores.hermes.locations import Locations, scope_of
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.projection import Session, Snapshot, newest_first
from hermes_cache.stores.hermes.session_rows import make_row
from hermes_cache.stores.hermes.side_files import redacts_secrets
from hermes_cache.stores.hermes.values import count, flag, moment_s, text
from hermes_cache.stores.session_store import NotifiedStore, Row, SessionStore
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.starting import started

_logger = QuietLogger(__name__)

_WAIT_S: Final = 0.25
"""A small store is read within it, so that no list comes without its rows."""


class WithStores(NamedTuple):
    """The scope of the views that show the sessions of stores beside those of another scope.

    Attributes:
        scope: The other scope: the root profile, or all profiles.
    """

    scope: Hashable


class StoreSession(Session):
    """A session of another agent's store; its row is the store's, with what the rows of a home have besides."""

    __slots__ = ("_store_row",)

    def __init__(self, row: Row) -> None:
        session_id, tag = text(row.get("session_id")) or "", text(row.get("source_tag")) or source_tags.UNKNOWN
        super().__init__(JoinedSession(session_id, DEFAULT_PROFILE, tag))
        self._store_row = row
        moments = map(moment_s, (row.get("last_message_at"), row.get("updated_at"), row.get("created_at")))
        self.time_s = next((moment for moment in moments if moment), 0.0)
        self.is_visible = count(row.get("message_count")) > 0
        self.is_archived = flag(row.get("archived"))
        self.is_of_terminal = True  # So the front end files all that other agents keep.
        self.gate = "claude_code"

    def __reduce__(self) -> tuple[type["StoreSession"], tuple[Row]]:  # type: ignore[override]
        return StoreSession, (self._store_row,)

    def is_of(self, row: Row) -> bool:
        """Say whether a row is shown as this session is."""
        return self._store_row is row or self._store_row == row

    def row(self) -> EncodedRow:
        """Return the row, which is made when it is first asked for."""
        if self._row is None:
            title = text(self._store_row.get("title"))
            row = make_row(self.joined) | {"profile": None, "title": title, "display_title": title or "Untitled"}
            row |= self._store_row
            row["is_read_only"] = row["read_only"]
            is_restless = row["active_stream_id"] is not None or row["is_streaming"] is not False
            self._row = encoded_row(row, Facts(self.joined.id, is_restless=is_restless, time_s=self.time_s))
        return self._row


class _ListedStore:
    """One store and its sessions as they were last listed. For one thread at a time, but for the stamp."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._reading: threading.Thread | None = None
        self._rows: Sequence[Row] = ()
        self._was_missed = False
        self._left_out = 0
        self._asking: set[int] = set()
        self._stamp: Hashable = "never looked at"
        self.is_read = False
        self.sessions: Mapping[str, StoreSession] = {}

    def stamp(self) -> Hashable:
        """Return the store's stamp, and whether lists that came without its rows can be made anew.

        A signal handler that asks while its own thread is inside the store gets the last stamp, as the store may
        hold a lock.
        """
        thread = threading.get_ident()
        if thread in self._asking:
            return self._stamp
        self._asking.add(thread)
        try:
            self._stamp = self._store.stamp(), self._was_missed and self.is_read
        except Exception as error:  # noqa: BLE001 - foreign code
            self._log(repr(error))
            self._stamp = "unreadable", type(error).__name__
        finally:
            self._asking.discard(thread)
        return self._stamp

    def folders(self) -> Collection[Path]:
        """Return the folders whose files are to be watched."""
        try:
            return self._store.folders() if isinstance(self._store, NotifiedStore) else ()
        except Exception as error:  # noqa: BLE001 - foreign code
            self._log(repr(error))
            return ()

    def look(self, paths: Iterable[str | Path] | None) -> None:
        """Have a store that takes notifications look at what moved; None for all."""
        try:
            if isinstance(self._store, NotifiedStore):
                self._store.look(paths)
        except Exception as error:  # noqa: BLE001 - foreign code
            self._log(repr(error))

    def moved(self, since: Hashable) -> tuple[Hashable, Sequence[str] | None]:
        """Return which files moved after an earlier call; see `NotifiedStore`."""
        try:
            return self._store.moved(since) if isinstance(self._store, NotifiedStore) else (None, ())
        except Exception as error:  # noqa: BLE001 - foreign code
            self._log(repr(error))
            return None, ()

    def refresh(self) -> None:
        """Bring the sessions up to date; those whose rows stayed are the same objects."""
        if self.is_read or self._was_read_at_once():
            rows = self._current_rows()
            if rows is not self._rows:
                self._rows, self.sessions = rows, _sessions(rows, self.sessions)
                left_out, self._left_out = self._left_out, len(rows) - len(self.sessions)
                if self._left_out not in (0, left_out):
                    self._log(f"{self._left_out} rows have no session_id of their own, or are no JSON")

    def _was_read_at_once(self) -> bool:
        if self._reading is None:
            self._reading = threading.Thread(target=self._read_once, name="hermes_cache store", daemon=True)
            if not started(self._reading):
                self._read_once()
                return True
        self._reading.join(_WAIT_S)
        self._was_missed = self._was_missed or not self.is_read
        return self.is_read

    def _read_once(self) -> None:
        self._current_rows()
        self.is_read = True

    def _current_rows(self) -> Sequence[Row]:
        try:
            rows: object = self._store.rows()
        except Exception as error:  # noqa: BLE001 - foreign code
            self._log(repr(error))
            return self._rows
        if isinstance(rows, Sequence):
            return rows
        self._log(f"its rows are a {type(rows).__name__}; they must be a sequence")
        return self._rows

    def _log(self, reason: str) -> None:
        _logger.warning(
            "hermes_cache.store_failed",
            extra={"hermes_cache.store": type(self._store).__name__, "hermes_cache.reason": reason},
        )


class OtherStores:
    """The stores that are listed beside a home; pickling keeps what is given.

    Args:
        stores: The stores. One that has `redact_when` learns by it whether secrets are masked.
        locations: Where the home lies whose settings file says that.
    """

    def __init__(self, stores: Sequence[SessionStore] = (), locations: Locations | None = None) -> None:
        self._given = tuple(stores)
        self._locations = locations
        self._start_anew()
        after_fork_in_child(self._start_anew)

    def _start_anew(self) -> None:
        # No thread that reads a store, and no lock that another thread held, comes along into a forked child.
        self._stores = tuple(map(_ListedStore, self._given))
        self._lock = threading.Lock()
        self._listed: dict[WithStores, tuple[tuple[object, ...], Snapshot]] = {}
        self._settings = JsonFiles(Looks())
        for store in self._given:
            redact_when = getattr(store, "redact_when", None)
            if callable(redact_when):
                redact_when(self._redacts)

    def __reduce__(self) -> tuple[object, ...]:
        return OtherStores, (self._given, self._locations)

    def scope_of(self, key: SessionListKey, locations: Locations) -> Hashable:
        """Return the scope of a key."""
        scope = scope_of(key)
        is_asked_for = key.show_claude_code or key.source_filter == "claude_code"
        is_listed = bool(self._given) and is_asked_for and (key.all_profiles or scope == locations.root_profile)
        return WithStores(scope) if is_listed else scope

    def stamp_parts(self) -> dict[str, Hashable]:
        """Return the stores' parts of a stamp; any thread may ask for them."""
        return {f"store_{number}": store.stamp() for number, store in enumerate(self._stores, 1)}

    def folders(self) -> Collection[Path]:
        """Return the folders of the stores whose files are to be watched."""
        return [folder for store in self._stores for folder in store.folders()]

    def look(self, paths: Sequence[Path] | None) -> None:
        """Have the stores look at what moved, as notifications name it; None for all."""
        for store in self._stores:
            store.look(paths)

    def noticed(self, seen: Hashable) -> tuple[Hashable, object]:
        """Return what the copy of this in another process needs; see `ports.NoticingBuilder`."""
        before = seen if isinstance(seen, tuple) else (None,) * len(self._stores)
        moved = [store.moved(since) for store, since in zip(self._stores, before, strict=True)]
        news = tuple([paths for _, paths in moved])
        return tuple([now for now, _ in moved]), news if any(each is None or each for each in news) else None

    def notice(self, news: object) -> None:
        """Look at what the process that sends the keys found moved."""
        if isinstance(news, tuple):
            for store, paths in zip(self._stores, news, strict=True):
                # One that was never read here reads all.
                if store.is_read and (paths is None or paths):
                    store.look(paths)

    def listed_beside(self, snapshot: Snapshot, scope: WithStores) -> Snapshot:
        """Return the snapshot of the other scope with the stores' sessions; the same one if nothing moved.

        Any thread may ask for it.
        """
        with self._lock:
            for store in self._stores:
                store.refresh()
            is_loading = not all(store.is_read for store in self._stores)
            parts = (snapshot, is_loading, *(store.sessions for store in self._stores))
            held, made = self._listed.get(scope, ((), snapshot))
            if len(held) != len(parts) or not all(map(is_, held, parts)):
                sessions = [each for store in self._stores for each in store.sessions.values()]
                listed = newest_first([*snapshot.sessions, *sessions])
                made = Snapshot(tuple(listed), snapshot.foreign, stores_loading=is_loading)
                self._listed[scope] = (parts, made)
            return made

    def _redacts(self) -> bool:
        if self._locations is None:
            return True
        return redacts_secrets(self._settings.content(self._locations.files(DEFAULT_PROFILE).settings))


def _sessions(rows: Sequence[Row], before: Mapping[str, StoreSession]) -> dict[str, StoreSession]:
    sessions: dict[str, StoreSession] = {}
    for row in rows:
        session = before.get(str(row.get("session_id"))) if isinstance(row, Mapping) else None
        if session is None or not session.is_of(row):
            session = StoreSession(row) if _can_be_shown(row) else None
        if session is not None:
            sessions[session.joined.id] = session
    return sessions


def _can_be_shown(row: object) -> bool:
    """Say whether it is a row; one that is none must not cost the others (X11)."""
    if not isinstance(row, Mapping) or text(row.get("session_id")) is None:
        return False
    try:
        orjson.dumps({**row})
    except orjson.JSONEncodeError:
        return False
    return True
