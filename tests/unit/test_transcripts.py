"""Proves rules X11 and X12 for the lines of one transcript: what they tell, and what damage costs."""

import orjson
import pytest

from hermes_cache.stores.transcripts import Transcript

_AT = "2026-04-18T12:00:01Z"
_AT_S = 1_776_513_601.0


def _row(*records: object, redacts: bool = True) -> dict[str, object]:
    transcript = Transcript()
    for record in records:
        transcript.take(record if isinstance(record, bytes) else orjson.dumps(record))
    return transcript.row("claude_code_1", 5.0, redacts=redacts)


def _said(content: object, role: str = "user", **fields: object) -> dict[str, object]:
    return {"type": role, "timestamp": _AT, "message": {"role": role, "content": content}, **fields}


def test_a_row_has_the_fields_and_values_of_the_front_end() -> None:
    """X11"""
    row = _row(
        {"summary": "  A \n summary "}, _said("Hello", cwd="/home/u/x"), _said([{"text": "Hi"}], "assistant")
    )

    assert row == {
        "session_id": "claude_code_1", "title": "A summary", "workspace": "/home/u/x", "model": "claude-code",
        "message_count": 2, "created_at": _AT_S, "updated_at": _AT_S, "last_message_at": _AT_S, "pinned": False,
        "archived": False, "project_id": None, "profile": None, "source_tag": "claude_code",
        "raw_source": "claude_code", "session_source": "external_agent", "source_label": "Claude Code",
        "is_cli_session": True, "read_only": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("records", "title"),
    [
        ([_said("Hello")], "Hello"),
        ([_said("Hi", "assistant"), _said("First"), _said("Second")], "First"),
        ([_said("First"), {"title": "Given later"}], "Given later"),
        ([{"summary": " "}, {"summary": 7}, {"summary": ["x"]}, _said("First")], "First"),
        ([_said([{"type": "image"}, "one", {"text": "two"}, {"content": "three"}])], "one two three"),
        ([_said({"text": "part"})], "part"),
        ([{"type": "human", "message": {"content": "no role"}}], "no role"),
        ([{"role": "user", "content": "flat"}], "flat"),
        ([{"messages": [_said("in a list"), 3, _said("more")]}], "in a list"),
        ([_said("y" * 100)], "y" * 80),
        ([_said(" " * 9_999 + "late")], "late"),
        ([_said("Hi", "assistant")], "Claude Code Session"),
    ],
)
def test_the_title_is_the_summary_or_the_first_question(records: list[object], title: str) -> None:
    """X11"""
    assert _row(*records)["title"] == title


@pytest.mark.parametrize(
    "record",
    [
        b"", b"\xff\x00\x9c", b"{half", b"null", b"[]", b'"text"', b"{" * 100_000, {"summary": "no message"},
        _said(""), _said(" \n"), _said(None), _said([]), _said([{"type": "tool_use", "input": {"x": 1}}]),
        _said([{"type": "thinking", "thinking": "hm"}]), _said("x", "progress"),
        {"type": "user", "message": "text"}, {"messages": []},
    ],
)  # fmt: skip
def test_what_is_no_record_with_text_counts_as_no_message(record: object) -> None:
    """X11"""
    assert _row(record)["message_count"] == 0


def test_what_a_tool_returned_counts_as_a_message() -> None:
    """X11"""
    returned = [{"type": "tool_result", "content": [{"type": "text", "text": "done"}]}]

    assert _row(_said(returned))["message_count"] == 1


def test_broken_utf8_and_numbers_that_are_none_cost_nothing_else() -> None:
    """X11"""
    line = b'{"type":"user","cost":NaN,"message":{"role":"user","content":"caf\xe9 \\ud800"},"timestamp":"' + (
        _AT.encode() + b'"}'
    )

    row = _row(line)

    assert (row["title"], row["updated_at"]) == ("caf\ufffd ?", _AT_S)


@pytest.mark.parametrize("absurd", [-1, 0, 5e246, "soon", None, [], "9999999999999", "0001-01-01T00:00:00Z"])
def test_one_absurd_time_among_good_ones_costs_that_value_alone(absurd: object) -> None:
    """X11"""
    row = _row(_said("a") | {"timestamp": absurd}, _said("b"), _said("c") | {"timestamp": absurd})

    assert (row["created_at"], row["updated_at"], row["message_count"]) == (_AT_S, _AT_S, 3)


@pytest.mark.parametrize("depth", [900, 1_000, 1_020])
def test_content_nested_deeper_than_python_goes_costs_its_text_alone(depth: int) -> None:
    """X11"""
    nested = b"[" * depth + b"]" * depth
    line = b'{"type": "user", "message": {"role": "user", "content": [{"text": ' + nested + b'}, "and text"]}}'

    row = _row(line)

    assert (row["message_count"], str(row["title"])[-8:]) in [(1, "and text"), (1, "[" * 8)]


def test_without_any_time_the_files_own_stands_in() -> None:
    """X11"""
    row = _row({"role": "user", "content": "Hello"})

    assert (row["created_at"], row["last_message_at"]) == (5.0, 5.0)


def test_messages_are_counted_no_further_than_the_front_end_does() -> None:
    """X11: the time of the last one is told all the same."""
    later = [_said("more")] * 1_100 + [_said("last") | {"timestamp": _AT_S + 60}]

    row = _row(*later)

    assert (row["message_count"], row["updated_at"]) == (1_000, _AT_S + 60)


def test_secrets_are_masked_before_the_title_is_cut() -> None:
    """X12: so none is cut in two; the path keeps all but the value of its part."""
    records = [_said(f"{'x ' * 32}ghp_TestFakeCredential1234567890ab"), {"cwd": "/w/token=abc123/x"}]

    masked, plain = _row(*records), _row(*records, redacts=False)

    assert (masked["title"], masked["workspace"]) == (f"{'x ' * 32}ghp_Te...90ab", "/w/token=***/x")
    assert (plain["title"], plain["workspace"]) == (f"{'x ' * 32}ghp_TestFakeCred", "/w/token=abc123/x")
