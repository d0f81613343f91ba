"""Reads the web front end's session folder: the index, the sidecars that are no older than it, and tombstones.

A sidecar is the file of one session. Unless it is older than the index, its fields replace those of the index.
It can hold megabytes of messages, but all that a list needs stands before them, so only its head is read, unless
that does not say how many messages there are. The index is one large file for all profiles; it is parsed only if
it moved. Nothing is repaired here.
Source: rules X2, X7, X8.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time_ns
from typing import Final, NamedTuple

from hermes_cache.errors import SourceError
from hermes_cache.logs import QuietLogger
from hermes_cache.stores.hermes.file_stamps import ABSENT, FileStamp, must_be_a_file
from hermes_cache.stores.hermes.json_files import TOLERANT, JsonFiles, read_json
from hermes_cache.stores.hermes.locations import INDEX, TOMBSTONES, folder_files
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.values import is_id

_logger = QuietLogger(__name__)

_MAX_FOLDERS: Final = 8
"""A home has one; a callable may name several."""

_SidecarStamp = tuple[int, int, int, int]
"""When a sidecar was last written, and last changed in any way, in nanoseconds; its size; its inode."""

_HEAD_BYTES: Final = 64 * 1024
_SPACE: Final = re.compile(r"\s*")


class IndexRecord(NamedTuple):
    """What the web front end keeps of one session, as it is in the file; any value may be missing or damaged."""

    session_id: object
    title: object = None
    workspace: object = None
    model: object = None
    model_provider: object = None
    message_count: object = None
    user_message_count: object = None
    created_at: object = None
    updated_at: object = None
    last_message_at: object = None
    pinned: object = None
    archived: object = None
    default_hidden: object = None
    project_id: object = None
    profile: object = None
    personality: object = None
    input_tokens: object = None
    output_tokens: object = None
    cache_read_tokens: object = None
    cache_write_tokens: object = None
    estimated_cost: object = None
    cache_hit_percent: object = None
    context_length: object = None
    active_stream_id: object = None
    pending_user_message: object = None
    has_pending_user_message: object = None
    pending_started_at: object = None
    is_cli_session: object = None
    source_tag: object = None
    raw_source: object = None
    session_source: object = None
    source_label: object = None
    read_only: object = None
    pre_compression_snapshot: object = None
    parent_session_id: object = None
    worktree_path: object = None
    worktree_branch: object = None
    gateway_routing: object = None


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """What a session folder held at one moment.

    Attributes:
        records: The sessions by id.
        tombstones: Ids of sessions that were deleted there.
    """

    records: Mapping[str, IndexRecord]
    tombstones: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Held:
    stamps: tuple[Hashable, ...]
    were_still: bool
    index_stamp: Hashable
    index: Mapping[str, IndexRecord]
    sidecars: Mapping[str, tuple[Hashable, Mapping[str, object]]]
    folder: SessionFolder


class SessionFolders:
    """Reads session folders, remembering what stood still and did not move. Any thread may call."""

    def __init__(self, json_files: JsonFiles, looks: Looks) -> None:
        self._json_files = json_files
        self._looks = looks
        self._lock = Lock()
        self._held: OrderedDict[Path, _Held] = OrderedDict()

    def read(self, path: Path) -> SessionFolder:
        """Return what a folder holds now; a missing folder holds nothing.

        Raises:
            SourceError: The index is no whole JSON list, or something cannot be read.
        """
        with self._lock:
            stamps, still_in_s = self._looks.files(folder_files(path))
            held = self._held.get(path)
            if held is None or not held.were_still or held.stamps != stamps:
                held = self._read(path, stamps, held, are_still=not still_in_s)
            self._held[path] = held
            self._held.move_to_end(path)
            while len(self._held) > _MAX_FOLDERS:
                self._held.popitem(last=False)
            return held.folder

    def _read(self, path: Path, stamps: tuple[Hashable, ...], held: _Held | None, *, are_still: bool) -> _Held:
        index_path = path / INDEX
        index_stamp = stamps[1]
        is_same = held is not None and held.were_still and held.index_stamp == index_stamp
        index = held.index if held and is_same else _index_records(index_path, index_stamp, held)
        on_disk = _sidecar_stamps(path)
        sidecars = _sidecars(path, on_disk, index, index_stamp, held)
        # The index outlives a file that somebody deleted by hand.
        records = {sid: record for sid, record in index.items() if sid in on_disk}
        shown = {sid: fields for sid, (_, fields) in sidecars.items() if fields or sid in index}
        records |= {sid: _over(index.get(sid), sid, fields) for sid, fields in shown.items()}
        tombstones = frozenset(_ids(map(self._json_files.content, (path / name for name in TOMBSTONES))))
        folder = SessionFolder(records, tombstones)
        return _Held(stamps, are_still, index_stamp, index, sidecars, folder)


def _index_records(path: Path, stamp: Hashable, held: _Held | None) -> dict[str, IndexRecord]:
    """Read the index; a record that is equal to the one that is held is that very object."""
    if stamp == ABSENT:
        return {}
    entries = read_json(path)
    if not isinstance(entries, list):
        raise SourceError(path, f"holds a {type(entries).__name__} where a list of sessions belongs")
    names, before = IndexRecord._fields, held.index if held else {}
    records: dict[str, IndexRecord] = {}
    for entry in entries:
        session_id = entry.get("session_id") if isinstance(entry, dict) else None
        if is_id(session_id):
            record, old = IndexRecord._make(map(entry.get, names)), before.get(session_id)
            records[session_id] = old if old == record else record
    return records


def _sidecars(
    path: Path,
    on_disk: Mapping[str, _SidecarStamp],
    index: Mapping[str, IndexRecord],
    index_stamp: Hashable,
    held: _Held | None,
) -> dict[str, tuple[Hashable, Mapping[str, object]]]:
    index_mtime_ns = index_stamp.mtime_ns if isinstance(index_stamp, FileStamp) else 0
    if index_mtime_ns > time_ns():
        index_mtime_ns = 0  # A time of the future says nothing about what was written since.
    before, were_still = (held.sidecars, held.were_still) if held else ({}, False)
    sidecars: dict[str, tuple[Hashable, Mapping[str, object]]] = {}
    for session_id, stamp in on_disk.items():
        if session_id in index and stamp[0] < index_mtime_ns:
            continue
        held_stamp, fields = before.get(session_id, (None, {}))
        if held_stamp != stamp or not were_still:
            fields = _fields_or_none(path / f"{session_id}.json", is_new=held_stamp != stamp)
        sidecars[session_id] = (stamp, fields)
    return sidecars


def _sidecar_stamps(path: Path) -> dict[str, _SidecarStamp]:
    try:
        with os.scandir(path) as entries:
            found = [(entry.name.removesuffix(".json"), entry) for entry in entries if _is_sidecar(entry.name)]
            stats = [(session_id, _stat_or_none(entry)) for session_id, entry in found]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    return {sid: (at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino) for sid, at in stats if at is not None}


def heads_of_sidecars(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each session that has a sidecar, with what its head says; nothing of one that cannot be read.

    Raises:
        SourceError: The folder cannot be listed.
    """
    for session_id in _sidecar_stamps(path):
        yield session_id, _fields_or_none(path / f"{session_id}.json", is_new=True)


def _is_sidecar(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(("_", ".")) and is_id(name)


def _stat_or_none(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None  # Renamed or deleted since it was listed.


def _fields_or_none(path: Path, *, is_new: bool) -> Mapping[str, object]:
    try:
        must_be_a_file(path)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        fields = leading_fields(head.decode("utf-8-sig", "replace"))
        return fields if not fields or _says_its_count(fields) else _all_fields(path, fields)
    except (OSError, SourceError) as error:
        if is_new:
            extra = {"hermes_cache.path": str(path), "hermes_cache.reason": str(error)}
            _logger.warning("hermes_cache.file_ignored", extra=extra)
        return {}


def _says_its_count(fields: Mapping[str, object]) -> bool:
    kept = fields.get("message_count")
    return isinstance(kept, int) and kept >= 0


def _all_fields(path: Path, leading: Mapping[str, object]) -> Mapping[str, object]:
    """Read a whole sidecar whose head does not say how many messages there are: a field is long, or it is old."""
    try:
        content = read_json(path)
    except SourceError:
        return leading  # It is cut off.
    if not isinstance(content, dict):
        return leading
    fields = {name: content[name] for name in IndexRecord._fields if name in content}
    return fields if _says_its_count(fields) else {**fields, **_counted(content.get("messages"))}


def _counted(messages: object) -> Mapping[str, object]:
    readable = [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    said = [each.get("timestamp") or each.get("_ts") for each in readable if each.get("role") != "tool"]
    users = [each for each in readable if each.get("role") == "user"]
    last_said = next(filter(None, reversed(said)), None)
    return {"message_count": len(readable), "user_message_count": len(users), "last_message_at": last_said}


def _over(record: IndexRecord | None, session_id: str, fields: Mapping[str, object]) -> IndexRecord:
    replaced = {name: fields[name] for name in IndexRecord._fields if name in fields}
    return (record or IndexRecord(session_id))._replace(**{**replaced, "session_id": session_id})


def _ids(contents: Iterable[object]) -> set[str]:
    found: set[str] = set()
    for content in contents:
        ids = content.get("ids") if isinstance(content, dict) else None
        found.update(each for each in ids or () if isinstance(each, str)) if isinstance(ids, list) else None
    return found


def leading_fields(head: str) -> dict[str, object]:
    """Return the fields of a JSON object up to `messages`, or up to where the text ends or breaks."""
    fields: dict[str, object] = {}
    at = _skip(head, 0)
    try:
        while head[at] in "{,":
            name, at = TOLERANT.raw_decode(head, _skip(head, at + 1))
            if not isinstance(name, str) or name == "messages" or head[at := _skip(head, at)] != ":":
                break
            value, at = TOLERANT.raw_decode(head, _skip(head, at + 1))
            # A number that the cut went through would read as a smaller one: what follows must be there.
            if head[at := _skip(head, at)] in ",}":
                fields[name] = value
    except (ValueError, IndexError, RecursionError):
        pass
    return fields


def _skip(head: str, at: int) -> int:
    found = _SPACE.match(head, at)
    return found.end() if found else at
