"""Query parameters, checked one by one."""

import pytest

from hermes_cache.integrations.view_query import (
    VIEW_PARAMETERS,
    ParameterError,
    ignored_parameters,
    key_of,
    parameters_in,
)
from hermes_cache.sessions.keys import SessionListKey

DEFAULT = SessionListKey(show_cli=True, visible_only=True, source_filter="slack")


def test_an_absent_parameter_means_what_the_default_view_says() -> None:
    # Proves W1.
    key = key_of({}, DEFAULT)

    assert key == DEFAULT


def test_every_field_of_a_view_can_be_asked_for() -> None:
    # Proves W1.
    flags = [
        "all_profiles", "show_cli", "show_previous_messaging", "show_cron", "show_webhook", "show_kanban",
        "show_claude_code", "include_archived", "exclude_hidden", "visible_only",
    ]  # fmt: skip
    query = {name: ["1"] for name in flags} | {
        "profile": ["work"],
        "source_filter": ["telegram"],
        "sidebar_source": ["cli"],
        "archived_limit": ["2000"],
        "archived_offset": ["200000"],
        "agent_limit": ["50"],
    }

    key = key_of(query, SessionListKey())

    assert key == SessionListKey(
        profile="work", all_profiles=True, show_cli=True, show_previous_messaging=True, show_cron=True,
        show_webhook=True, show_kanban=True, show_claude_code=True, include_archived=True, exclude_hidden=True,
        visible_only=True, source_filter="telegram", sidebar_source="cli", archived_limit=2000,
        archived_offset=200_000, agent_limit=50,
    )  # fmt: skip


def test_all_terminals_sessions_can_be_asked_for() -> None:
    """W1, K1"""
    default = SessionListKey(agent_limit=20)

    assert key_of({}, default).agent_limit == 20
    assert key_of({"agent_limit": ["all"]}, default).agent_limit is None
    assert key_of({"agent_limit": ["0"]}, default).agent_limit == 0


@pytest.mark.parametrize("text", ["0", "false", "no", "No", " FALSE "])
def test_a_flag_can_be_switched_off(text: str) -> None:
    # Proves W1.
    key = key_of({"show_cli": [text]}, DEFAULT)

    assert not key.show_cli


def test_a_blank_filter_switches_the_default_filter_off() -> None:
    # Proves W1.
    key = key_of({"source_filter": [""]}, DEFAULT)

    assert key.source_filter is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("show_cron", ["maybe"]),
        ("show_cron", [""]),
        ("show_cron", ["1", "0"]),
        ("archived_limit", ["2001"]),
        ("archived_limit", ["-1"]),
        ("archived_limit", ["ten"]),
        ("archived_limit", ["1e3"]),
        ("archived_limit", ["\u0663"]),
        ("archived_offset", ["200001"]),
        ("archived_offset", ["9" * 10_000]),
        ("profile", ["../other"]),
        ("profile", ["a" * 65]),
        ("profile", ["Work"]),
        ("sidebar_source", ["tui"]),
        ("source_filter", ["x" * 201]),
    ],
)
def test_a_bad_parameter_is_refused_by_name(name: str, values: list[str]) -> None:
    # Proves W1.
    with pytest.raises(ParameterError) as refused:
        key_of({name: values}, DEFAULT)

    assert refused.value.field == name
    assert name in str(refused.value)


def test_what_lifts_a_limit_is_named_where_it_is_mistyped() -> None:
    # Proves W1.
    with pytest.raises(ParameterError, match="must be all, or a whole number from 0 to 1000000"):
        key_of({"agent_limit": ["ALL"]}, DEFAULT)


def test_too_many_parameters_are_refused_with_how_many_there_may_be() -> None:
    # Proves W6.
    with pytest.raises(ParameterError, match=r"^query is 'a0=&a1=.*; it must be of at most 64 parameters$"):
        parameters_in("&".join([f"a{number}=" for number in range(65)]))


def test_a_parameter_of_a_front_end_changes_nothing() -> None:
    # Proves W1: front ends add their own.
    strange = {"show_crons": ["1"], "extra": ["1", "2"]}

    assert key_of(strange, SessionListKey()) == key_of({}, SessionListKey())
    assert ignored_parameters({**strange, "show_cli": ["1"]}, VIEW_PARAMETERS) == "show_crons, extra"
    assert ignored_parameters({"show_cli": ["1"]}, VIEW_PARAMETERS) is None
    # A value of a header must not end in a blank.
    assert ignored_parameters({"%": ["1"], "": ["1"]}, VIEW_PARAMETERS) == "%25"
