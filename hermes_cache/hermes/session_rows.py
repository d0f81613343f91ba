"""Makes the row of one session from everything that a home tells about it.

What the web front end keeps wins for title, pinned, archived, project and workspace; counts and times are the
greater of the two; the source is the agent's. The fields and units are those of `/api/sessions`, times in epoch
seconds. No I/O here. Source: rules X3, X7.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from hermes_cache.hermes import source_tags
from hermes_cache.hermes.gateway_routing import Routing
from hermes_cache.hermes.session_index import IndexRecord
from hermes_cache.hermes.state_db import SessionRecord
from hermes_cache.hermes.values import amount, count, flag, greatest, moment_s, plain, text

_UNTITLED: Final = "Untitled"
_NO_SESSION: Final = SessionRecord(None)
_COUNTS: Final = (
    "message_count", "user_message_count", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens",
)  # fmt: skip
_TIMES: Final = ("created_at", "updated_at", "last_message_at")


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
        root: The first session of its chain, where it is the tip of one.
        segments: How many sessions the chain has.
        chain_title: The title of the nearest older session of the chain that has one.
        parent_id: Its parent as it says, there or not.
        parent: Its parent where that is there and it does not continue it.
        job_name: The name of the scheduled job that it ran for.
        project_id: The project that all sessions of its kind belong to.
    """

    id: str
    profile: str
    tag: str
    session: SessionRecord | None = None
    web: IndexRecord | None = None
    routing: Routing | None = None
    root: SessionRecord | None = None
    segments: int = 1
    chain_title: str | None = None
    parent_id: str | None = None
    parent: Parent | None = None
    job_name: str | None = None
    project_id: str | None = None

    @property
    def meaning(self) -> str:
        """The kind that its source is shown as."""
        return source_tags.session_source(self.tag)


def make_row(known: Known) -> dict[str, object]:
    """Make the row; `is_streaming` is false, since only the reading side knows what is live."""
    row = _agent_row(known, known.session or _NO_SESSION)
    if known.web:
        row.update(_front_end_fields(row, known.web))
        row["project_id"] = row["project_id"] or known.project_id
    if known.routing:
        row["updated_at"] = greatest(known.routing.updated_at_s, moment_s(row["updated_at"]))
    if known.root:
        row.update(_chain_fields(known, known.root))
    if known.parent_id:
        row.update(_child_fields(known, known.parent_id))
    return row


def source_tag(session_id: str, session: SessionRecord | None, index: IndexRecord | None) -> str:
    """Give the raw source: the agent's, else the front end's, else what the id tells."""
    tag = text(session.source) if session else None
    if tag and tag != source_tags.UNKNOWN:
        return tag
    told = (text(index.raw_source) or text(index.source_tag) or "webui") if index else None
    if told and told != source_tags.UNKNOWN:
        return told
    return "cron" if source_tags.cron_job_id(session_id) else source_tags.UNKNOWN


def title_of(session: SessionRecord | None, web: IndexRecord | None) -> str | None:
    """Give the title that somebody gave; the front end's stands over the agent's."""
    told = _front_end_title(web) if web else None
    return told or (text(session.title) if session else None)


def _front_end_title(web: IndexRecord) -> str | None:
    told = text(web.title)
    return None if told == _UNTITLED else told


def _agent_row(known: Known, session: SessionRecord) -> dict[str, object]:
    """Give every field that every row has, as the agent tells it, in the order in which it is shown."""
    # One display instead of merged parts: a large home makes thousands of these in a row.
    last_message_s, started_s = moment_s(session.last_message_at), moment_s(session.started_at)
    agents_title = text(session.title)
    title = (_front_end_title(known.web) if known.web else None) or agents_title or _stand_in_title(known, session)
    meaning = known.meaning
    return {
        "session_id": known.id,
        "title": title or (_UNTITLED if known.web else None),
        "display_title": title or _UNTITLED,
        "_state_db_title": agents_title,
        "workspace": text(session.cwd),
        "model": text(session.model),
        "model_provider": text(session.billing_provider),
        "project_id": known.project_id,
        "profile": known.profile,
        "personality": None,
        "message_count": count(session.message_count),
        "user_message_count": 0,
        "input_tokens": count(session.input_tokens),
        "output_tokens": count(session.output_tokens),
        "cache_read_tokens": count(session.cache_read_tokens),
        "cache_write_tokens": count(session.cache_write_tokens),
        "context_length": 0,
        "estimated_cost": _cost(session),
        "cache_hit_percent": None,
        "created_at": started_s,
        "updated_at": last_message_s if started_s is None else max(started_s, last_message_s or 0.0),
        "last_message_at": last_message_s,
        "pinned": flag(session.pinned),
        "archived": flag(session.archived),
        "default_hidden": flag(session.hidden),
        "read_only": False,
        "is_read_only": False,
        "pre_compression_snapshot": False,
        "is_streaming": False,
        "active_stream_id": None,
        "has_pending_user_message": False,
        "is_cli_session": meaning != "webui",
        "source_tag": known.tag,
        "raw_source": known.tag,
        "session_source": meaning,
        "source_label": source_tags.source_label(known.tag),
    }


def _stand_in_title(known: Known, session: SessionRecord) -> str | None:
    peer = known.routing.display_name if known.routing else None
    return known.chain_title or known.job_name or peer or text(session.display_name)


def _cost(session: SessionRecord) -> float | None:
    actual = session.actual_cost_usd
    return amount(session.estimated_cost_usd if actual is None else actual)


def _front_end_fields(agent: Mapping[str, object], index: IndexRecord) -> dict[str, object]:
    """Give the fields that the front end's record changes in the agent's."""
    percent = index.cache_hit_percent
    is_imported = agent["is_cli_session"] if index.is_cli_session is None else flag(index.is_cli_session)
    counts = {name: max(count(getattr(index, name)), count(agent[name])) for name in _COUNTS}
    times = {name: greatest(moment_s(getattr(index, name)), moment_s(agent[name])) for name in _TIMES}
    return {
        **counts,
        **times,
        "workspace": text(index.workspace) or agent["workspace"],
        "model": text(index.model) or agent["model"],
        "model_provider": text(index.model_provider) or agent["model_provider"],
        "project_id": text(index.project_id),
        "personality": text(index.personality),
        "context_length": count(index.context_length),
        "estimated_cost": greatest(amount(index.estimated_cost), amount(agent["estimated_cost"])),
        "cache_hit_percent": None if percent is None else min(100, count(percent)),
        "is_cli_session": is_imported,
        "pinned": flag(index.pinned),
        "archived": flag(index.archived),
        "default_hidden": flag(index.default_hidden),
        "read_only": flag(index.read_only),
        "is_read_only": flag(index.read_only),
        "pre_compression_snapshot": flag(index.pre_compression_snapshot),
        "active_stream_id": text(index.active_stream_id),
        "has_pending_user_message": flag(index.has_pending_user_message) or bool(index.pending_user_message),
        **_rare_fields(index),
    }


def _rare_fields(index: IndexRecord) -> dict[str, object]:
    rare = {
        "pending_started_at": moment_s(index.pending_started_at),
        "worktree_path": text(index.worktree_path),
        "worktree_branch": text(index.worktree_branch),
        "gateway_routing": plain(index.gateway_routing) if isinstance(index.gateway_routing, dict) else None,
    }
    return {name: value for name, value in rare.items() if value is not None}


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
