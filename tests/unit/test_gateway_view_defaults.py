"""The settings file, and how closely it is followed."""

import logging
import os
from pathlib import Path

import orjson
import pytest

from hermes_cache.gateway.view_defaults import ViewDefaults, default_view


class Clock:
    """Seconds that move when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("settings", "shows"),
    [
        ({}, True),
        ({"onboarding_completed": True}, True),
        ({"sidebar_density": "compact"}, False),
        ({"sidebar_density": "compact", "show_cli_sessions": True}, True),
        ({"show_cli_sessions": False}, False),
    ],
)
def test_command_line_sessions_stay_out_where_an_older_file_does_not_name_them(
    settings: dict[str, object], *, shows: bool
) -> None:
    # Proves W1.
    view = default_view(settings)

    assert view.show_cli is shows


def test_each_switch_of_the_file_is_heeded() -> None:
    # Proves W1.
    names = ["cron", "webhook", "kanban", "previous_messaging", "claude_code"]
    settings: dict[str, object] = {f"show_{name}_sessions": name != "claude_code" for name in names}

    view = default_view(settings | {"agent_session_source_filter": "telegram"})

    assert (view.show_cron, view.show_webhook, view.show_kanban, view.show_previous_messaging) == (True,) * 4
    assert not view.show_claude_code
    assert view.source_filter == "telegram"
    assert view.visible_only


def test_a_switch_of_another_type_counts_as_absent() -> None:
    # Proves W1.
    view = default_view({"show_cron_sessions": "yes", "agent_session_source_filter": ["a"]})

    assert not view.show_cron
    assert view.source_filter is None


def test_a_changed_file_is_seen_within_a_second_and_looked_at_no_oftener(tmp_path: Path) -> None:
    # Proves W1.
    path, clock = tmp_path / "settings.json", Clock()
    path.write_bytes(orjson.dumps({"show_cron_sessions": False}))
    defaults = ViewDefaults(path, clock=clock)

    path.write_bytes(orjson.dumps({"show_cron_sessions": True}))
    clock.now_s += 0.9
    before = defaults.view()
    clock.now_s += 0.2
    after = defaults.view()

    assert not before.show_cron
    assert after.show_cron


def test_a_replaced_file_of_equal_size_and_time_is_seen(tmp_path: Path) -> None:
    # Proves W1.
    path, other, clock = tmp_path / "settings.json", tmp_path / "other", Clock()
    for each, content in ((path, b'{"show_cron_sessions":true }'), (other, b'{"show_cron_sessions":false}')):
        each.write_bytes(content)
        os.utime(each, ns=(10**18, 10**18))
    defaults = ViewDefaults(path, clock=clock)

    other.replace(path)
    clock.now_s += 1

    assert not defaults.view().show_cron


def test_a_half_written_file_leaves_the_view_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Proves W1.
    path, clock = tmp_path / "settings.json", Clock()
    path.write_bytes(orjson.dumps({"show_cron_sessions": True}))
    defaults = ViewDefaults(path, clock=clock)

    path.write_bytes(b'{"show_cron')
    with caplog.at_level(logging.WARNING):
        clock.now_s += 1
        first = defaults.view()
        clock.now_s += 1
        second = defaults.view()

    assert first.show_cron
    assert second.show_cron
    assert [record.message for record in caplog.records] == ["hermes_cache.settings_unreadable"]


def test_a_missing_file_means_the_defaults(tmp_path: Path) -> None:
    # Proves W1.
    path, clock = tmp_path / "settings.json", Clock()
    path.write_bytes(orjson.dumps({"show_cron_sessions": True}))
    defaults = ViewDefaults(path, clock=clock)

    path.unlink()
    clock.now_s += 1

    assert defaults.view() == default_view({})
