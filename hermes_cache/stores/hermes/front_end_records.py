"""The front end's records: which of them still stand for a session, and which of their turns may still run.

The front end keeps a copy of an agent's session that somebody opened there. If the agent deleted the session, the
copy is none. A turn that runs is noted in its session's file; if the front end was killed meanwhile, the note
stays there for ever. A turn writes to its file again and again, so after an hour of silence the note is not
believed. What really runs is laid over rows later, whatever is believed here. No I/O here. Source: rules X7, O3.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final, NamedTuple

from hermes_cache.stores.hermes import source_tags
from hermes_cache.stores.hermes.joining import front_end_title, source_tag
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import count, flag, greatest, moment_s, text

_LONGEST_SILENCE_S: Final = 3_600.0
"""The longest tool calls and answers take some minutes."""

_KEPT_ELSEWHERE: Final = frozenset({"webui", "fork", "claude_code", "external_agent", "unknown"})
"""Sources whose sessions do not stand in the agent's database, or need not."""


class ForeignCounts(NamedTuple):
    """How many sessions the front end keeps for other profiles and would list there.

    Attributes:
        own: Those that it does not file under `cli`.
        of_terminals: The others, which are listed only with terminals' sessions.
    """

    own: int = 0
    of_terminals: int = 0


NO_FOREIGN: Final = ForeignCounts()


def foreign_counts(records: Iterable[IndexRecord]) -> ForeignCounts:
    """Count records of other profiles; windows that were opened and closed again are none."""
    counted = {True: 0, False: 0}
    for record in records:
        has_messages = count(record.message_count) > 0
        is_of_terminal = source_tags.is_of_terminal(source_tag(str(record.session_id), None, record))
        if has_messages or (not is_of_terminal and _is_more_than_a_window(record)):
            counted[is_of_terminal] += 1
    return ForeignCounts(counted[False], counted[True])


def without_deleted(
    records: Mapping[str, IndexRecord], in_database: Mapping[str, SessionRecord]
) -> dict[str, IndexRecord]:
    """Return the records without those of sessions that the agent kept and has deleted.

    Args:
        records: The front end's records of one profile.
        in_database: The agent's sessions; if there is none, nothing is known about what it deleted.
    """
    if not in_database:
        return dict(records)
    return {sid: record for sid, record in records.items() if sid in in_database or not _is_of_an_agent(record)}


def without_dead_turns(records: Mapping[str, IndexRecord], now_s: float) -> tuple[dict[str, IndexRecord], float]:
    """Return the records with turns only where one may still run, and the moment when this must be asked again."""
    settled, until_s = dict(records), inf
    for session_id, record in records.items():
        if record.active_stream_id is None:
            continue
        signs = map(moment_s, (record.updated_at, record.last_message_at, record.pending_started_at))
        believed_until_s = (greatest(*signs) or 0.0) + _LONGEST_SILENCE_S
        if believed_until_s > now_s:
            until_s = min(until_s, believed_until_s)
        else:
            settled[session_id] = _without_turn(record)
    return settled, until_s


def _is_more_than_a_window(record: IndexRecord) -> bool:
    signs = (record.active_stream_id, record.pending_user_message, record.worktree_path, front_end_title(record))
    return any(signs) or flag(record.has_pending_user_message)


def _is_of_an_agent(record: IndexRecord) -> bool:
    source = text(record.raw_source) or text(record.source_tag) or text(record.session_source)
    return flag(record.is_cli_session) if source is None else source not in _KEPT_ELSEWHERE


def _without_turn(record: IndexRecord) -> IndexRecord:
    # What its user asked is a message of the session, even though nobody answered.
    asked = 1 if record.pending_user_message or flag(record.has_pending_user_message) else 0
    return record._replace(
        active_stream_id=None,
        pending_user_message=None,
        has_pending_user_message=False,
        pending_started_at=None,
        message_count=max(count(record.message_count), asked),
    )
