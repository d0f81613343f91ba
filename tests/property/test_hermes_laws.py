"""Laws of the Hermes reader: rules X3, X5 and X7 for whatever a home may hold."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import facts_of, freeze_row
from hermes_cache.stores.hermes.joining import JoinedSession, ProfileRecords, join, records_of, to_join
from hermes_cache.stores.hermes.lineage import trace
from hermes_cache.stores.hermes.projection import Session, Snapshot, newest_first
from hermes_cache.stores.hermes.session_folder import IndexRecord, leading_fields
from hermes_cache.stores.hermes.session_rows import make_row, standing_of
from hermes_cache.stores.hermes.side_files import Routing
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.views import view

VALUES = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), st.booleans(),
    st.just("2026-09-21T00:00:00"), st.just("\ud800"),
)  # fmt: skip
AGENT = st.builds(SessionRecord, st.just("s"), *[VALUES] * (len(SessionRecord._fields) - 1))
WEB = st.builds(
    IndexRecord,
    st.just("s"),
    *[st.one_of(VALUES, st.just([]), st.just({"a": [1]}))] * (len(IndexRecord._fields) - 1),
)
IDS = st.sampled_from("abcdef")
KINDRED = st.dictionaries(
    IDS,
    st.builds(
        lambda parent, started, length, reason: SessionRecord(
            "?", "cli", None, parent, started, started + length, reason
        ),
        st.one_of(st.none(), IDS, st.just("gone")),
        st.floats(1, 100),
        st.floats(0, 100),
        st.sampled_from(["compression", "cli_close", "idle", None]),
    ),
)


@given(st.one_of(st.none(), AGENT), st.one_of(st.none(), WEB))
def test_whatever_two_sources_hold_a_row_is_made_that_json_can_say(
    agent: SessionRecord | None, web: IndexRecord | None
) -> None:
    """X3, P5"""
    joined = JoinedSession("s", "default", "cli", agent, web)

    row = freeze_row(make_row(joined))
    kept = Session(joined).row()

    assert row["session_id"] == "s"
    assert orjson.loads(row.encoded) == row
    assert (kept.encoded, kept.digest, kept.facts) == (row.encoded, row.digest, row.facts)


@given(
    st.one_of(st.none(), AGENT),
    st.one_of(st.none(), WEB),
    st.one_of(st.none(), st.builds(Routing, st.just("k"), st.none())),
    st.one_of(st.none(), AGENT),
    st.sampled_from(["cli", "webui", "telegram"]),
)
def test_a_session_stands_in_the_list_as_its_row_says(
    agent: SessionRecord | None,
    web: IndexRecord | None,
    routing: Routing | None,
    root: SessionRecord | None,
    tag: str,
) -> None:
    """X7"""
    joined = JoinedSession("s", "default", tag, agent, web, routing, root=root)

    row: Any = make_row(joined)
    standing = standing_of(joined)

    is_under_way = row["active_stream_id"] or row["has_pending_user_message"]
    assert standing.time_s == facts_of(row).time_s
    assert standing.is_native == (web is not None and not row["is_cli_session"])
    if not row["is_cli_session"]:
        assert standing.is_visible == bool(row["message_count"] or is_under_way)
    assert (standing.is_archived, standing.is_hidden) == (row["archived"], row["default_hidden"])


@given(KINDRED)
def test_every_session_is_shown_once_or_by_the_tip_of_its_chain(records: dict[str, SessionRecord]) -> None:
    """X7: for every graph of parents, rings and missing ones included."""
    lineage = trace(records)

    assert all(lineage.tip(lineage.tip(each)) == lineage.tip(each) for each in records)
    assert all(lineage.tip(lineage.root(each)) == lineage.tip(each) for each in records)
    assert {tip: list(lineage.tips.values()).count(tip) for tip in lineage.tips.values()} == lineage.segments
    assert all(chain[-1] == tip for tip, chain in lineage.chains.items())


TITLES = st.one_of(st.none(), st.text("xy", max_size=1))
PARTS = st.fixed_dictionaries(
    {
        "kindred": KINDRED,
        "titles": st.dictionaries(IDS, TITLES),
        "index": st.dictionaries(
            IDS, st.builds(lambda title, parent: IndexRecord("?", title, parent_session_id=parent), TITLES, IDS)
        ),
        "routing": st.dictionaries(IDS, st.builds(Routing, IDS, TITLES)),
        "jobs": st.sampled_from([{}, {"nightly": "Nightly"}]),
    }
)


def _records(parts: dict[str, Any]) -> ProfileRecords:
    titles = parts["titles"]
    sessions = {sid: record._replace(id=sid, title=titles.get(sid)) for sid, record in parts["kindred"].items()}
    return records_of(sessions, parts["index"], routing=parts["routing"], jobs=parts["jobs"], projects={})


def _joined(records: ProfileRecords, ids: Iterable[str]) -> dict[str, JoinedSession]:
    joined = {session_id: join(session_id, "default", records) for session_id in ids}
    return {session_id: each for session_id, each in joined.items() if each is not None}


@given(PARTS, PARTS, st.sets(st.sampled_from(["kindred", "titles", "index", "routing", "jobs"]), max_size=2))
def test_joining_what_moved_gives_what_joining_everything_gives(
    older: dict[str, Any], newer: dict[str, Any], changed: set[str]
) -> None:
    """X5: titles, parents, chains and peers come and go; each is seen wherever it shows."""
    before = _records(older)
    after = _records({**older, **{name: newer[name] for name in changed}})
    held = {sid: old for sid, new in after.agent.items() if (old := before.agent.get(sid)) == new}
    after = replace(after, agent={**after.agent, **held})
    known = _joined(before, {**before.agent, **before.index})

    anew = to_join(before, after)
    kept = {session_id: each for session_id, each in known.items() if session_id not in anew}

    assert kept | _joined(after, anew) == _joined(after, {**after.agent, **after.index})


@given(st.dictionaries(IDS, st.tuples(AGENT, AGENT)))
def test_a_session_that_stays_equal_stays_the_same_row(
    drawn: dict[str, tuple[SessionRecord, SessionRecord]],
) -> None:
    """X5"""
    before = {sid: Session(_agents(sid, old)) for sid, (old, _) in drawn.items()}

    after = {sid: Session(_agents(sid, new)).shared_with(before[sid]) for sid, (_, new) in drawn.items()}

    for session_id, session in after.items():
        old = before[session_id]
        assert (session.row() is old.row()) == (session.row().encoded == old.row().encoded)


@given(
    st.lists(AGENT, max_size=6), st.sets(st.sampled_from(["exclude_hidden", "visible_only"])), st.integers(0, 3)
)
def test_a_page_of_archived_rows_is_a_part_of_the_whole(
    agents: list[SessionRecord], asked: set[str], size: int
) -> None:
    """X4, X7"""
    sessions = [Session(_agents(str(number), agent)) for number, agent in enumerate(agents)]
    snapshot = Snapshot(tuple(newest_first(sessions)))
    flags: Any = {**dict.fromkeys(asked, True), "show_cli": True, "include_archived": True}

    whole: Any = view(snapshot, SessionListKey(**flags)).decoded()
    page: Any = view(snapshot, SessionListKey(**flags, archived_limit=size)).decoded()

    archived = [row for row in whole["sessions"] if row["archived"]]
    assert [row for row in page["sessions"] if row["archived"]] == archived[:size]
    assert [row for row in page["sessions"] if not row["archived"]] == [
        row for row in whole["sessions"] if not row["archived"]
    ]
    assert len(archived) == whole["archived_count"]


def _agents(session_id: str, agent: SessionRecord) -> JoinedSession:
    return JoinedSession(session_id, "default", "cli", agent)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6).filter(lambda name: name != "messages"), JSON, max_size=6), st.data())
def test_the_head_of_a_sidecar_is_read_true_wherever_it_is_cut(
    fields: dict[str, object], drawn: st.DataObject
) -> None:
    """X7"""
    try:
        text = orjson.dumps({**fields, "messages": [1]}, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return  # A lone surrogate, which no UTF-8 file holds.
    cut = drawn.draw(st.integers(0, len(text)))

    head = leading_fields(text[:cut])

    assert leading_fields(text) == fields
    assert list(head.items()) == list(fields.items())[: len(head)]
