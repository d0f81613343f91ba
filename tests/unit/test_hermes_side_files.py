"""Proves rules W1, X7 and X12 for what a settings file says of a sidebar, however it is written."""

import json
from pathlib import Path

import pytest

from hermes_cache.stores.hermes.side_files import projects_by_tag, read_view_settings, redacts_secrets


@pytest.mark.parametrize(
    ("content", "is_shown"),
    [
        ({}, True),
        ({"onboarding_completed": False}, True),
        ({"onboarding_completed": True}, False),
        ({"theme": "dark"}, False),
        ({"theme": "dark", "show_cli_sessions": True}, True),
        ({"show_cli_sessions": "false"}, False),
        ({"show_cli_sessions": None}, False),
        ({"show_cli_sessions": 1}, True),
    ],
)
def test_terminals_sessions_are_shown_to_who_chose_it_or_is_new(
    tmp_path: Path, content: dict[str, object], *, is_shown: bool
) -> None:
    """W1"""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(content))

    assert read_view_settings(path).show_cli is is_shown


@pytest.mark.parametrize(
    ("said", "source"), [("cron", "cron"), ("  CRON ", "cron"), ("", None), ("  ", None), (None, None), ([], None)]
)
def test_a_source_filter_is_found_however_it_is_written(tmp_path: Path, said: object, source: str | None) -> None:
    """X7"""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"agent_session_source_filter": said}))

    assert read_view_settings(path).source_filter == source


@pytest.mark.parametrize(
    ("content", "is_masked"),
    [
        ({}, True), (None, True), ([], True), ({"api_redact_enabled": True}, True),
        ({"api_redact_enabled": "false"}, True), ({"api_redact_enabled": None}, True),
        ({"api_redact_enabled": False}, False), ({"api_redact_enabled": 0}, False),
    ],
)  # fmt: skip
def test_only_a_plain_no_turns_masking_off(content: object, *, is_masked: bool) -> None:
    """X12"""
    assert redacts_secrets(content) is is_masked


@pytest.mark.parametrize(
    ("profile", "projects"), [("default", {"cron": "a", "webhook": "w"}), ("work", {"cron": "b"}), ("home", {})]
)
def test_the_first_project_of_a_name_and_of_the_profile_is_taken(profile: str, projects: dict[str, str]) -> None:
    """X7: one without a profile, or with an alias of the root profile, is the root profile's."""
    content = [
        None, {"name": "Cron Jobs", "project_id": 5}, {"name": ["Cron Jobs"], "project_id": "x"},
        {"name": "Cron Jobs", "profile": "renamed root", "project_id": "a"},
        {"name": "Cron Jobs", "profile": "work", "project_id": "b"}, {"name": "Cron Jobs", "project_id": "c"},
        {"name": "Webhooks", "project_id": "w"}, {"name": "Other", "project_id": "o"},
    ]  # fmt: skip

    def owner(name: str | None) -> str:
        return name if name in {"work", "home"} else "default"

    assert projects_by_tag(content, profile, owner) == projects
