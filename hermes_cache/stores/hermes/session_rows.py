"""Makes the row of one session from everything that a home holds about it.

For title, pinned, archived, project and workspace the front end's record wins; of counts and times the greater one
wins; the source is the agent's. Fields and units are those of `/api/sessions`, times in epoch seconds.
No I/O here. Source: rules X3, X7.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from operator import attrgetter
from typing import Final, NamedTuple

from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.first_messages import Opening
from hermes_cache.stores.hermes.joining import UNTITLED, JoinedSession, front_end_title
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import amount, count, flag, greatest, moment_s, plain, text
from hermes_cache.stores.masking import mask, mask_path

_ALWAYS_WORTH_A_LOOK: Final = frozenset({"tui", "claude_code"})

_MAX_KINDS: Final = 1_024
"""Tags and profiles are few; past the bound a blank row is put together anew."""


class Standing(NamedTuple):
    """What a list sorts and filters a session by.

    It is found in a fifth of the time of a row, and equals what the row says: a law in the tests compares them.

    Attributes:
        time_s: When something last happened in it, in epoch seconds; 0 if that is not known.
        is_native: Whether the front end lists it among its own.
        is_visible: Whether there is anything to see in it: messages, or work under way; in a terminal's session
            that ended without a title, two messages of its user.
        is_archived: Whether it is archived.
        is_hidden: Whether it is hidden unless asked for.
    """

    time_s: float
    is_native: bool
    is_visible: bool
    is_archived: bool
    is_hidden: bool


def standing_of(joined: JoinedSession) -> Standing:
    """Return how a session stands in a list."""
    agent, web = joined.agent, joined.web
    messages = count(agent.message_count) if agent else 0
    is_of_terminal = source_tags.is_of_terminal(joined.tag)
    if web is None:
        root = joined.root
        is_archived = bool((agent and flag(agent.archived)) or (root and flag(root.archived)))
        is_hidden = bool((agent and flag(agent.hidden)) or (root and flag(root.hidden)))
        is_visible = messages > 0 and (not is_of_terminal or _is_worth_a_look(joined))
        return _new_standing((_last_s(joined), False, is_visible, is_archived, is_hidden))
    is_under_way = text(web.active_stream_id) or flag(web.has_pending_user_message) or web.pending_user_message
    has_messages = bool(messages or count(web.message_count))
    is_visible = bool(is_under_way) or (has_messages and (not is_of_terminal or _is_worth_a_look(joined)))
    time_s = max(_last_s(joined), moment_s(web.pending_started_at) or 0.0)
    return _new_standing((time_s, not is_of_terminal, is_visible, flag(web.archived), flag(web.default_hidden)))


def _is_worth_a_look(joined: JoinedSession) -> bool:
    """Say whether a terminal's session is more than a window that was opened and closed again."""
    agent = joined.agent
    if agent is None or agent.user_message_count is None or joined.tag in _ALWAYS_WORTH_A_LOOK:
        return True
    users = count(agent.user_message_count)
    is_open = agent.ended_at is None and not agent.end_reason
    if users >= (1 if is_open or joined.tag == "acp" else 2) or joined.segments > 1:
        return True
    title = _given_title(joined)
    return title is not None and not source_tags.is_placeholder(title, joined.tag)


def _last_s(joined: JoinedSession) -> float:
    """Return the time of the last message, else of the last update, else of the beginning."""
    agent, web, root = joined.agent, joined.web, joined.root
    last_message_s = moment_s(agent.last_message_at) if agent else None
    if web:
        last_message_s = _later(web.last_message_at, last_message_s)
    if last_message_s is not None:
        return last_message_s
    started_s = moment_s(agent.started_at) if agent else None
    moved_s = moment_s(agent.moved_at) if agent else None
    updated_s = moment_s(web.updated_at) if web else None
    begins = (moment_s(web.created_at) if web else None, moment_s(root.started_at) if root else started_s)
    return greatest(started_s, moved_s, updated_s) or greatest(*begins) or 0.0


_new_standing: Final = partial(tuple.__new__, Standing)
"""Takes half the time of a call of the class."""


def make_row(joined: JoinedSession) -> dict[str, object]:
    """Make the row; `is_streaming` is false, since only the reading side knows what is live."""
    row = _blank_row(joined.tag, joined.profile, joined.project_id).copy()
    row["session_id"], row["cron_running"] = joined.id, joined.is_running
    if joined.agent:
        _put_agents(row, joined.agent)
    web = joined.web
    title = _given_title(joined) or joined.job_name
    row["title"] = title or (UNTITLED if web else f"{joined.tag.title()} Session")
    row["display_title"] = _display_title(joined, title) or row["title"]
    if web:
        _put_front_ends(row, web)
        if joined.tag == "webui" and not joined.agent:
            row["session_source"] = text(web.session_source) or row["session_source"]
    if joined.root:
        row.update(_chain_fields(joined, joined.root))
    if joined.parent_id:
        row.update(_child_fields(joined, joined.parent_id))
    if joined.redacts:
        _mask_secrets(row)
    return row


@lru_cache(_MAX_KINDS)
def _blank_row(tag: str, profile: str, project_id: str | None) -> dict[str, object]:
    """Return the row of a session of which nothing else is known: to be copied, never changed.

    It has every field that every row has, in the order in which they are shown.
    """
    meaning = source_tags.session_source(tag)
    return {
        "session_id": None,
        "title": None,
        "display_title": UNTITLED,
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
        "read_only": tag == "subagent",
        "is_read_only": tag == "subagent",
        "pre_compression_snapshot": False,
        "is_streaming": False,
        "cron_running": False,
        "active_stream_id": None,
        "has_pending_user_message": False,
        "is_cli_session": source_tags.is_of_terminal(tag),
        "source_tag": tag,
        "raw_source": tag,
        "session_source": meaning,
        "source_label": source_tags.source_label(tag),
    }


def _put_agents(row: dict[str, object], agent: SessionRecord) -> None:
    (
        title, cwd, model, provider, messages, input_tokens, output_tokens, cache_read, cache_write, estimated,
        actual, started_at, moved_at, last_message_at, users, pinned, archived, hidden,
    ) = _agents_values(agent)  # fmt: skip
    started_s, last_message_s = moment_s(started_at), moment_s(last_message_at)
    row["_state_db_title"] = text(title)
    row["workspace"] = text(cwd)
    row["model"] = text(model)
    row["model_provider"] = text(provider)
    row["message_count"] = count(messages)
    row["user_message_count"] = count(users)
    row["input_tokens"] = count(input_tokens)
    row["output_tokens"] = count(output_tokens)
    if cache_read or cache_write:
        row["cache_read_tokens"] = count(cache_read)
        row["cache_write_tokens"] = count(cache_write)
    row["estimated_cost"] = amount(estimated if actual is None else actual)
    row["created_at"] = started_s
    row["updated_at"] = greatest(started_s, moment_s(moved_at), last_message_s)
    row["last_message_at"] = last_message_s
    if pinned or archived or hidden:
        row["pinned"] = flag(pinned)
        row["archived"] = flag(archived)
        row["default_hidden"] = flag(hidden)


def _put_front_ends(row: dict[str, object], web: IndexRecord) -> None:
    row["pinned"], row["archived"] = flag(web.pinned), flag(web.archived)
    row["default_hidden"] = flag(web.default_hidden)
    for (field, joined), found in zip(_FRONT_ENDS, _front_end_values(web), strict=True):
        # Most values are the same in both sources and need no joining.
        if found is not None and found != row.get(field):
            value = joined(found, row.get(field))
            if value is not None:
                row[field] = value
    row["is_read_only"] = row["read_only"] = row["read_only"] or flag(web.read_only)
    row["has_pending_user_message"] = row["has_pending_user_message"] or bool(web.pending_user_message)


def _given_title(joined: JoinedSession) -> str | None:
    agent, web = joined.agent, joined.web
    return (front_end_title(web) if web else None) or (text(agent.title) if agent else None) or joined.chain_title


def _display_title(joined: JoinedSession, title: str | None) -> str | None:
    if title and not source_tags.is_placeholder(title, joined.tag):
        return title
    others = (text(joined.agent.title) if joined.agent else None, joined.chain_title, joined.job_name)
    named = next((each for each in others if each and not source_tags.is_placeholder(each, joined.tag)), None)
    return named or _first_message(joined) or _peers_name(joined)


def _first_message(joined: JoinedSession) -> str | None:
    first = joined.root or joined.agent
    opening = first.first_message if first else None
    if not isinstance(opening, Opening):
        return None
    return (opening.masked if joined.redacts else opening.text) or None


def _peers_name(joined: JoinedSession) -> str | None:
    peer = joined.routing.display_name if joined.routing else None
    return peer or (text(joined.agent.display_name) if joined.agent else None)


def _chain_fields(joined: JoinedSession, root: SessionRecord) -> dict[str, object]:
    web = joined.web
    # Older agents marked only the one session that their user saw, newer ones list a chain by its root's marks.
    marks = {} if web else {field: True for field, name in _MARKS if flag(getattr(root, name))}
    before = text(joined.agent.parent_session_id) if joined.agent else None
    return {
        **marks,
        "parent_session_id": before,
        "created_at": greatest(moment_s(web.created_at) if web else None, moment_s(root.started_at)),
        "_lineage_root_id": root.id,
        "_lineage_tip_id": joined.id,
        "_compression_segment_count": joined.segments,
    }


def _child_fields(joined: JoinedSession, parent_id: str) -> dict[str, object]:
    parent = joined.parent
    if parent is None:
        return {"parent_session_id": parent_id}
    return {
        "parent_session_id": parent_id,
        "parent_title": parent.title,
        "parent_source": parent.tag,
        "relationship_type": "child_session",
        "_parent_lineage_root_id": parent.root_id,
        "_parent_lineage_tip_id": parent.tip_id,
        "_cross_surface_child_session": joined.tag != parent.tag,
    }


def _mask_secrets(row: dict[str, object]) -> None:
    title, masked = row["title"], None
    for field in _TEXTS:
        value = row.get(field)
        if isinstance(value, str):
            # The titles of a row are mostly the same.
            if value == title:
                masked = row[field] = masked or mask(value)
            else:
                row[field] = mask(value)
    for field in _PATHS:
        value = row.get(field)
        if isinstance(value, str):
            row[field] = mask_path(value)
    if "gateway_routing" in row:
        row["gateway_routing"] = _masked(row["gateway_routing"])


def _masked(value: object) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: _masked(each) for name, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value


def _text(found: object, _agents: object) -> str | None:
    return text(found)


def _flag(found: object, _agents: object) -> bool:
    return flag(found)


def _percent(found: object, _agents: object) -> int:
    return min(100, count(found))


def _mapping(found: object, _agents: object) -> object:
    return plain(found) if isinstance(found, dict) else None


def _more(found: object, agents: object) -> int:
    return max(count(found), count(agents))


def _dearer(found: object, agents: object) -> float | None:
    return greatest(amount(found), amount(agents))


def _later(found: object, agents: object) -> float | None:
    return greatest(moment_s(found), moment_s(agents))


_agents_values: Final = attrgetter(
    "title", "cwd", "model", "billing_provider", "message_count", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "estimated_cost_usd", "actual_cost_usd", "started_at",
    "moved_at", "last_message_at", "user_message_count", "pinned", "archived", "hidden",
)  # fmt: skip
"""Reads in one step what a row shows of the agent's record: half the time of eighteen steps."""

_TEXTS: Final = ("title", "display_title", "_state_db_title", "parent_title", "personality", "worktree_branch")
_PATHS: Final = ("workspace", "worktree_path")
"""What may hold a secret; names of models and tags are no free text."""

_MARKS: Final = (("pinned", "pinned"), ("archived", "archived"), ("default_hidden", "hidden"))
"""The fields of a row that say how a session is filed, each with the agent's name of it."""

_FRONT_ENDS: Final[tuple[tuple[str, Callable[[object, object], object]], ...]] = (
    *((name, _text) for name in (
        "workspace", "model", "model_provider", "project_id", "personality", "active_stream_id", "worktree_path",
        "worktree_branch",
    )),
    *((name, _flag) for name in (
        "pre_compression_snapshot", "has_pending_user_message",
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
"""The fields that the front end's record has, each with how it is joined with the agent's."""

_front_end_values: Final = attrgetter(*(name for name, _ in _FRONT_ENDS))
