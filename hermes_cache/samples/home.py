"""Makes a sample home: the files of a Hermes installation of any size, the same files for the same seed.

It is for demos, tests and benchmarks. It opens `state.db` for writing, which readers never do.
Source: rule X9.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import count
from operator import attrgetter
from pathlib import Path
from random import Random
from time import time
from types import MappingProxyType
from typing import Final

import orjson

from hermes_cache.samples import schema as sample_schema
from hermes_cache.samples.sessions import CRON_JOBS, SampleSession, sample_sessions
from hermes_cache.sessions.keys import DEFAULT_PROFILE

MAX_SIDECARS: Final = 2_400
"""The largest number that users of web front ends report."""

_MESSAGES_PER_SESSION: Final = 25
_NAMED_SHARE: Final = 20
"""The root profile has so many sessions for each session of a named profile."""

_COLUMNS: Final = tuple(field.name for field in fields(SampleSession))
_TEXT: Final = "A line of made-up conversation that is about as long as a short answer usually is. "
_UNLISTED: Final[Mapping[str, object]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "created_workspace", "model_explicit_pick_signature", "compression_anchor_visible_idx",
                "compression_anchor_message_key", "compression_recovery_state", "context_engine",
                "last_prompt_tokens", "post_compression_context_tokens_estimate", "gateway_routing",
                "process_wakeup_pause", "share_token", "share_created_at", "pending_started_at",
            )
        ),
        "threshold_tokens": 160_000,
        "gateway_routing_history": [],
        "manual_title": False,
        "pre_compression_snapshot": False,
        "enabled_toolsets": ["browser", "code_execution", "file", "memory", "search", "terminal", "todo", "web"],
        "composer_draft": {"text": "", "attachments": [], "updated_at": None},
    }
)  # fmt: skip
"""Fields of a front end that no list shows; they make the index as large as a real one."""

_PROJECT_IDS: Final = ("0123456789ab", "ba9876543210")


@dataclass(frozen=True, slots=True)
class SampleHome:
    """A sample home.

    Attributes:
        path: The root home.
        profiles: Its profiles, the root profile first.
        sessions: The sessions of the root profile, oldest first.
        messages: How many messages the root profile has.
    """

    path: Path
    profiles: tuple[str, ...]
    sessions: tuple[SampleSession, ...]
    messages: int

    @property
    def state_db(self) -> Path:
        """The database of the root profile."""
        return self.path / "state.db"

    @property
    def session_index(self) -> Path:
        """The index of the sidecars."""
        return self.path / "webui" / "sessions" / "_index.json"


def make_sample_home(  # noqa: PLR0913 - each is a thing of its own
    path: str | Path,
    *,
    sessions: int = 250,
    messages: int | None = None,
    profiles: Sequence[str] = ("work",),
    seed: int = 0,
    now_s: float | None = None,
    noted: Callable[[int, int], None] = lambda _done, _total: None,
) -> SampleHome:
    """Make a home in a folder that is empty or does not exist.

    Args:
        path: The root home.
        sessions: The number of sessions of the root profile; each named profile has a twentieth of them.
        messages: The number of messages of the root profile; None for 25 for each session.
        profiles: The named profiles.
        seed: The same seed makes the same home.
        now_s: The latest time in the home, in epoch seconds; None for the present.
        noted: Called after each session with how many are written, and how many there will be.

    Raises:
        FileExistsError: The folder is not empty.
    """
    root = Path(path).absolute()
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty; name a new folder for the sample home")
    total = sessions * _MESSAGES_PER_SESSION if messages is None else messages
    sizes = {DEFAULT_PROFILE: (sessions, total)}
    sizes |= {name: (max(1, sessions // _NAMED_SHARE), max(1, total // _NAMED_SHARE)) for name in profiles}
    now = time() if now_s is None else now_s
    made: dict[str, list[SampleSession]] = {}
    written, in_all = count(1), sum(size for size, _ in sizes.values())

    def note() -> None:
        noted(next(written), in_all)

    for name, (size, message_count) in sizes.items():
        random = Random(f"{seed}/{name}")  # noqa: S311 - a sample needs no cryptography
        made[name] = sample_sessions(size, message_count, profile=name, random=random, now_s=now)
        home = root if name == DEFAULT_PROFILE else root / "profiles" / name
        _write_profile(home, name, made[name], note)
    _write_web_state(root / "webui", made)
    return SampleHome(root, tuple(sizes), tuple(made[DEFAULT_PROFILE]), total)


def _write_profile(home: Path, profile: str, sessions: Sequence[SampleSession], note: Callable[[], None]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    routing = _routing(sessions)
    _write_state_db(home / "state.db", sessions, routing, note)
    _write_json(home / "sessions" / "sessions.json", {"_README": "Written by the gateway.", **routing})
    jobs = [
        {"id": job, "name": f"Nightly task {number}", "profile": profile} for number, job in enumerate(CRON_JOBS)
    ]
    _write_json(home / "cron" / "jobs.json", {"jobs": jobs})


def _write_state_db(
    path: Path,
    sessions: Sequence[SampleSession],
    routing: dict[str, dict[str, object]],
    note: Callable[[], None],
) -> None:
    marks = ",".join("?" * len(_COLUMNS))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.executescript(sample_schema.TABLES)
        with connection:
            connection.execute("INSERT INTO schema_version VALUES (?)", (sample_schema.VERSION,))
            connection.executemany(
                f"INSERT INTO sessions ({','.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - names of our own
                map(attrgetter(*_COLUMNS), sessions),
            )
            connection.executemany(
                "INSERT INTO messages (session_id, role, content, timestamp, token_count) VALUES (?,?,?,?,?)",
                _messages(sessions, note),
            )
            connection.executemany(
                "INSERT INTO gateway_routing VALUES (?,?,?,?)",
                [("default", key, json.dumps(entry), entry["_at_s"]) for key, entry in routing.items()],
            )
        connection.executescript(sample_schema.INDEXES)
    path.chmod(0o600)


def _messages(
    sessions: Iterable[SampleSession], note: Callable[[], None]
) -> Iterator[tuple[str, str, str, float, int]]:
    for session in sessions:
        for number in range(session.message_count):
            role = "assistant" if number % 2 else "user"
            yield session.id, role, _TEXT, session.started_at + 7.0 * (number + 1), 40
        note()


def _routing(sessions: Iterable[SampleSession]) -> dict[str, dict[str, object]]:
    newest = {session.session_key: session for session in sessions if session.session_key}
    return {key: _routing_entry(key, session) for key, session in newest.items()}


def _routing_entry(key: str, session: SampleSession) -> dict[str, object]:
    return {
        "session_key": key,
        "session_id": session.id,
        "created_at": _local_iso(session.started_at),
        "updated_at": _local_iso(session.last_message_at),
        "display_name": session.display_name,
        "platform": session.source,
        "chat_type": session.chat_type,
        "origin": {"platform": session.source, "chat_id": session.chat_id, "user_id": session.user_id},
        "_at_s": session.last_message_at,
    }


def _local_iso(at_s: float) -> str:
    # The gateway writes local time without a zone, unlike everything else in a home.
    return datetime.fromtimestamp(at_s).isoformat()  # noqa: DTZ006


def _write_web_state(folder: Path, made: dict[str, list[SampleSession]]) -> None:
    native = [(profile, each) for profile, sessions in made.items() for each in sessions if each.source == "webui"]
    native = sorted(native, key=lambda pair: pair[1].last_message_at, reverse=True)[:MAX_SIDECARS]
    index = [_index_row(profile, session) for profile, session in native]
    for row in index:
        _write_json(folder / "sessions" / f"{row['session_id']}.json", _sidecar(row))
    _write_json(folder / "sessions" / "_index.json", index)
    _write_json(folder / "sessions" / "_deleted_webui_sessions.json", {"version": 1, "ids": ["deleted00000"]})
    _write_json(folder / "settings.json", {"show_cli_sessions": True, "show_cron_sessions": False})
    names = ("Garden", "Cron Jobs")
    projects = [
        {"project_id": known, "name": name, "color": "#888888", "profile": DEFAULT_PROFILE}
        for known, name in zip(_PROJECT_IDS, names, strict=True)
    ]
    _write_json(folder / "projects.json", projects)


def _index_row(profile: str, session: SampleSession) -> dict[str, object]:
    updated_at = session.last_message_at
    return {
        "session_id": session.id,
        "title": session.title or "Untitled",
        "workspace": "/home/user/workspace",
        "model": session.model,
        "model_provider": session.billing_provider,
        "message_count": session.message_count,
        "created_at": session.started_at,
        "updated_at": updated_at,
        "last_message_at": updated_at,
        "pinned": session.message_count % 50 == 49,  # noqa: PLR2004 - a few
        "archived": bool(session.archived),
        "project_id": _PROJECT_IDS[0] if session.message_count % 10 == 1 else None,
        "profile": None if profile == DEFAULT_PROFILE else profile,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "estimated_cost": session.estimated_cost_usd,
        "cache_hit_percent": None,
        "personality": None,
        "context_length": 200_000,
        "user_message_count": session.message_count // 2,
        "active_stream_id": None,
        "pending_user_message": None,
        "has_pending_user_message": False,
        "is_cli_session": False,
        "source_tag": "webui",
        "raw_source": "webui",
        "session_source": "webui",
        "source_label": "WebUI",
        "read_only": False,
        "is_streaming": False,
        **_UNLISTED,
        **({"parent_session_id": session.parent_session_id} if session.parent_session_id else {}),
    }


def _sidecar(row: dict[str, object]) -> dict[str, object]:
    said = {"role": "user", "content": _TEXT, "timestamp": row["updated_at"]}
    derived = {"last_message_at", "user_message_count", "has_pending_user_message", "is_streaming"}
    head = {name: value for name, value in row.items() if name not in derived}
    return {**head, "messages": [said], "tool_calls": []}


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
