"""Makes the row of one session from everything that a home tells about it.

What the web front end keeps wins for title, pinned, archived, project and workspace; counts and times are the
greater of the two; the source is the agent's. The fields and units are those of `/api/sessions`, times in epoch
seconds. No I/O here. Source: rules X3, X7.
"""

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.side_files import Routing
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import amount, count, flag, greatest, moment_s, plain, text

_UNTITLED: Final = "Untitled"
_MAX_KINDS: Final = 1_024
"""Tags and profiles are few; past it a blank row is put together anew."""


class Parent(NamedTuple):
    """The session that another was begun from.

    Attributes:
        id: Its id.
        title: Its title, where it has one.
        tag: Its raw source.
        root_id: The first session of its chain.
        tip_id: The last session of its chain.
    """

    id: str
    title: str | None
    tag: str
    root_id: str
    tip_id: str


class Known(NamedTuple):
    """All that a row is made from; equal values make equal rows.

    Attributes:
        id: The session's id.
        profile: Whose it is.
        tag: Its raw source.
        session: What the agent keeps of it.
        web: What the web front end keeps of it.
        routing: What the gateway keeps of its peer.
        job_name: The name of the scheduled job that it ran for.
        project_id: The project that all sessions of its kind belong to.
        root: The first session of its chain, where it is the tip of one.
        segments: How many sessions the chain has.
        chain_title: The title of the nearest older session of the chain that has one.
        parent_id: Its parent as it says, there or not.
        parent: Its parent where that is there and it does not continue it.
    """

    id: str
    profile: str
    tag: str
    session: SessionRecord | None = None
    web: IndexRecord | None = None
    routing: Routing | None = None
    job_name: str | None = None
    project_id: str | None = None
    root: SessionRecord | None = None
    segments: int = 1
    chain_title: str | None = None
    parent_id: str | None = None
    parent: Parent | None = None

    @property
    def meaning(self) -> str:
        """The kind that its source is shown as."""
        return source_tags.session_source(self.tag)


def make_row(known: Known) -> dict[str, object]:
    """Make the row; `is_streaming` is false, since only the reading side knows what is live."""
    row = _blank_row(known.tag, known.profile, known.project_id).copy()
    row["session_id"] = known.id
    if known.session:
        _put_agents(row, known.session)
    told = _front_end_title(known.web) if known.web else None
    title = told or row["_state_db_title"] or _stand_in_title(known)
    row["title"] = title or (_UNTITLED if known.web else None)
    row["display_title"] = title or _UNTITLED
    if known.web:
        _put_front_ends(row, known.web)
    if known.routing:
        row["updated_at"] = _later(known.routing.updated_at_s, row["updated_at"])
    if known.root:
        row.update(_chain_fields(known, known.root))
    if known.parent_id:
        row.update(_child_fields(known, known.parent_id))
    return row


def source_tag(session_id: str, session: SessionRecord | None, index: IndexRecord | None) -> str:
    """Return the raw source: the agent's, else the front end's, else what the id tells."""
    tag = text(session.source) if session else None
    if tag and tag != source_tags.UNKNOWN:
        return tag
    told = (text(index.raw_source) or text(index.source_tag) or "webui") if index else None
    if told and told != source_tags.UNKNOWN:
        return told
    return "cron" if source_tags.cron_job_id(session_id) else source_tags.UNKNOWN


def title_of(session: SessionRecord | None, web: IndexRecord | None) -> str | None:
    """Return the title that somebody gave; the front end's stands over the agent's."""
    told = _front_end_title(web) if web else None
    return told or (text(session.title) if session else None)


def _front_end_title(web: IndexRecord) -> str | None:
    told = text(web.title)
    return None if told == _UNTITLED else told


@lru_cache(_MAX_KINDS)
def _blank_row(tag: str, profile: str, project_id: str | None) -> dict[str, object]:
    """Return the row of a session of which nothing else is told: to be copied, never changed.

    It has every field that every row has, in the order in which they are shown.
    """
    meaning = source_tags.session_source(tag)
    return {
        "session_id": None,
        "title": None,
        "display_title": _UNTITLED,
        "_state_db_title": None,
        "workspace": None,
        "model": None,
        "model_provider": None,
        "project_id": project_id,
        "profile": profile,
        "personality": None,
        "message_count": 0,
        "user_message_count": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "context_length": 0,
        "estimated_cost": None,
        "cache_hit_percent": None,
        "created_at": None,
        "updated_at": None,
        "last_message_at": None,
        "pinned": False,
        "archived": False,
        "default_hidden": False,
        "read_only": False,
        "is_read_only": False,
        "pre_compression_snapshot": False,
        "is_streaming": False,
        "active_stream_id": None,
        "has_pending_user_message": False,
        "is_cli_session": meaning != "webui",
        "source_tag": tag,
        "raw_source": tag,
        "session_source": meaning,
        "source_label": source_tags.source_label(tag),
    }


def _put_agents(row: dict[str, object], session: SessionRecord) -> None:
    actual, started_s = session.actual_cost_usd, moment_s(session.started_at)
    last_message_s = moment_s(session.last_message_at)
    row["_state_db_title"] = text(session.title)
    row["workspace"] = text(session.cwd)
    row["model"] = text(session.model)
    row["model_provider"] = text(session.billing_provider)
    row["message_count"] = count(session.message_count)
    row["input_tokens"] = count(session.input_tokens)
    row["output_tokens"] = count(session.output_tokens)
    row["cache_read_tokens"] = count(session.cache_read_tokens)
    row["cache_write_tokens"] = count(session.cache_write_tokens)
    row["estimated_cost"] = amount(session.estimated_cost_usd if actual is None else actual)
    row["created_at"] = started_s
    row["updated_at"] = last_message_s if started_s is None else max(started_s, last_message_s or 0.0)
    row["last_message_at"] = last_message_s
    row["pinned"] = flag(session.pinned)
    row["archived"] = flag(session.archived)
    row["default_hidden"] = flag(session.hidden)


def _put_front_ends(row: dict[str, object], web: IndexRecord) -> None:
    row["pinned"], row["archived"] = flag(web.pinned), flag(web.archived)
    row["default_hidden"] = flag(web.default_hidden)
    for (field, joined), told in zip(_FRONT_ENDS, _told_by_front_end(web), strict=True):
        # What both tell alike, as most of it is, needs no joining.
        if told is not None and told != row.get(field):
            value = joined(told, row.get(field))
            if value is not None:
                row[field] = value
    row["is_read_only"] = row["read_only"]
    row["has_pending_user_message"] = row["has_pending_user_message"] or bool(web.pending_user_message)


def _stand_in_title(known: Known) -> str | None:
    peer = known.routing.display_name if known.routing else None
    return (
        known.chain_title
        or known.job_name
        or peer
        or (text(known.session.display_name) if known.session else None)
    )


def _chain_fields(known: Known, root: SessionRecord) -> dict[str, object]:
    front_end_s = moment_s(known.web.created_at) if known.web else None
    return {
        "created_at": greatest(front_end_s, moment_s(root.started_at)),
        "_lineage_root_id": root.id,
        "_lineage_tip_id": known.id,
        "_compression_segment_count": known.segments,
    }


def _child_fields(known: Known, parent_id: str) -> dict[str, object]:
    parent = known.parent
    if parent is None:
        return {"parent_session_id": parent_id}
    return {
        "parent_session_id": parent_id,
        "parent_title": parent.title,
        "parent_source": parent.tag,
        "relationship_type": "child_session",
        "_parent_lineage_root_id": parent.root_id,
        "_parent_lineage_tip_id": parent.tip_id,
        "_cross_surface_child_session": known.meaning != source_tags.session_source(parent.tag),
    }


def _text(told: object, _agents: object) -> str | None:
    return text(told)


def _flag(told: object, _agents: object) -> bool:
    return flag(told)


def _percent(told: object, _agents: object) -> int:
    return min(100, count(told))


def _mapping(told: object, _agents: object) -> object:
    return plain(told) if isinstance(told, dict) else None


def _more(told: object, agents: object) -> int:
    return max(count(told), count(agents))


def _dearer(told: object, agents: object) -> float | None:
    return greatest(amount(told), amount(agents))


def _later(told: object, agents: object) -> float | None:
    return greatest(moment_s(told), moment_s(agents))


_FRONT_ENDS: Final[tuple[tuple[str, Callable[[object, object], object]], ...]] = (
    *((name, _text) for name in (
        "workspace", "model", "model_provider", "project_id", "personality", "active_stream_id", "worktree_path",
        "worktree_branch",
    )),
    *((name, _flag) for name in (
        "is_cli_session", "read_only", "pre_compression_snapshot", "has_pending_user_message",
    )),
    *((name, _more) for name in (
        "message_count", "user_message_count", "input_tokens", "output_tokens", "cache_read_tokens",
        "cache_write_tokens", "context_length",
    )),
    *((name, _later) for name in ("created_at", "updated_at", "last_message_at", "pending_started_at")),
    ("estimated_cost", _dearer),
    ("cache_hit_percent", _percent),
    ("gateway_routing", _mapping),
)  # fmt: skip
"""The fields that the front end's record tells, each with how it is joined with the agent's."""

_told_by_front_end: Final = attrgetter(*(name for name, _ in _FRONT_ENDS))
