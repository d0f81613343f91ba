"""Why our answers over the small homes differ from the recorded ones of the front end.

Each reason is named as its row in docs/differences.md begins. No I/O here.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Final, NamedTuple

from tests.parity.comparing import Difference


class Finding(NamedTuple):
    """One thing that differs.

    Attributes:
        where: `here` or `there` for a session that only one of the two lists, `envelope`, or the name of a field.
        what: The id of the session, or the name of the field of the envelope.
    """

    where: str
    what: str


def findings(difference: Difference) -> Iterator[Finding]:
    """Return one by one what differs."""
    yield from (Finding("here", session_id) for session_id in difference.only_ours)
    yield from (Finding("there", session_id) for session_id in difference.only_theirs)
    yield from (Finding(field, each) for field, sessions in difference.fields.items() for each in sessions)
    yield from (Finding("envelope", field) for field in difference.envelope)


@cache
def reasons_for(finding: Finding) -> frozenset[str]:
    """Name the reasons that explain something that differs; the same differs in most views."""
    explains = partial(_explains, finding=finding)
    return frozenset(reason for reason, patterns in REASONS.items() if any(map(explains, patterns)))


def _explains(pattern: tuple[str, str], finding: Finding) -> bool:
    wheres, whats = pattern
    is_what = any(fnmatchcase(finding.what, each) for each in whats.split() or [""])
    return is_what and any(fnmatchcase(finding.where, each) for each in wheres.split())


_LINEAGE: Final = "*lineage* *parent_* relationship_type _compression_segment_count created_at title _cross_*"

_OF_THE_AGENT: Final = "[!w]* webhook_call webui_in_agent_only work_*"

_ODD_TIMES: Final = "time_* message_* web_time_* side_bare"

REASONS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "ignores `archived`, `pinned` and `hidden` of `state.db`": (
        ("there", "cli_archived cli_hidden p_tip"),
        ("archived pinned default_hidden", "cli_archived cli_pinned cli_hidden p_tip"),
    ),
    "finds continuations by the order of times": (
        ("here", "e_live g_root h_root n_a chain_ring_a"),
        ("there", "e_stale i_root d_root b_root"),
        (_LINEAGE, "b_tip d_tip i_tip i_delegate n_b g_branch h_reset chain_ring_b"),
    ),
    "lists each of its own files": (("there", "t_root"),),
    "drops the copy of a terminal's or an API's session": (
        ("there", "imported_api_gone imported_telegram_gone web_source_[!wc]* web_source_cli_flag"),
        ("here", "imported_telegram source_telegram"),
    ),
    "in a view of all profiles, treats chats": (("here", "work_telegram work_routed"),),
    "in a view of all profiles, puts other profiles' runs": (("there project_id", "work_cron"),),
    "takes the id of an own session": (("here", "web_file_name"), ("there", "web_other_name")),
    "hides own sessions of a profile": (("here profile", "web_profile_upper web_profile_padded"),),
    "in a view of all profiles, keeps the copy": (("there", "sidecar_of_work"),),
    "takes every text in a flag": (("here archived read_only", "flags_text"),),
    "leaves out a session of the agent's without a source": (
        ("here there is_cli_session *source*", "source_null source_empty"),
    ),
    "lists a session whose id is empty": (("there", ""),),
    "takes a session whose id begins with `cron_`": (("here", "cron_named_cli"),),
    "drops a session whose count of messages": (("here message_count", "count_* web_count_*"),),
    "`title` that is blank or no text": (("title", "title_blank web_title_* web_list"),),
    "times that cannot be": (("*_at", _ODD_TIMES),),
    "`profile` if several profiles": (("profile title", "twice"),),
    "`raw_source`, `source_label` of an unknown": (("raw_source source_label source_tag", "source_*"),),
    "`source_tag`": (("source_tag", "source_padded source_upper source_telegram"),),
    "`last_message_at`, `user_message_count` of own": (("last_message_at user_message_count", "side_no_index"),),
    "`display_title`": (("display_title", "*"),),
    "`_state_db_title`": (("_state_db_title", "*"),),
    "`title` of a chain": (("title", "l_middle"),),
    "`title` of a scheduled run": (("title", "cron_job_two_*"),),
    "`workspace` of the agent's sessions": (("workspace", "*"),),
    "`model_provider`, tokens, `estimated_cost`": (("model_provider input_tokens", "cli_titled"),),
    "`source_tag`, `raw_source`, `session_source`, `source_label`": (
        ("*source* source_tag", "web* unknown_talk flags_* side_*"),
    ),
    "`last_message_at` of the agent's sessions": (("last_message_at", _OF_THE_AGENT),),
    "`message_count`, `user_message_count`, `updated_at`, `last_message_at` if there is a sidecar": (
        ("*message_count last_message_at", "webui_both"),
        ("updated_at", "cron_job1_* imported_telegram"),
    ),
    "`is_read_only`": (("is_read_only", "*"),),
    "parents of a session whose parent is missing": (
        ("*parent_* relationship_type", "cli_orphan cli_ring_* o_tip n_b self_parent"),
    ),
    "parent of a session that only the front end keeps": (("*parent_* _cross_*", "cli_child_of_archived"),),
    "a turn that crashed": (("updated_at last_message_at user_message_count", "web_crashed"),),
    "`project_id`, `model` of a background run": (("model", "cron_job1_*"),),
    "`other_profile_count`": (("envelope", "other_profile_count"),),
    "counts, `sidebar_reference_sessions`": (("envelope", "*_count"),),
}
"""By the beginning of its row: patterns of where something differs, and of the sessions or fields that do."""
