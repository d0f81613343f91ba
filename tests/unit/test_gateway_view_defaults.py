"""The settings of a home, and how closely they are followed."""

import html
import threading
from importlib.resources import files

from hermes_cache.gateway.view_defaults import PAGE_QUERY, ViewDefaults
from hermes_cache.integrations.view_query import key_of, parameters_in
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.side_files import ViewSettings
from hermes_cache.testing import ManualClock
from tests.waiting import WAIT_S


class Settings:
    """Settings that change when told, and count how often they were read."""

    def __init__(self) -> None:
        self.now = ViewSettings()
        self.reads = 0

    def __call__(self) -> ViewSettings:
        self.reads += 1
        return self.now


def test_what_a_request_leaves_open_is_as_the_settings_say() -> None:
    # Proves W1.
    settings = Settings()
    settings.now = ViewSettings(show_cli=False, show_kanban=True, source_filter="telegram")

    view = ViewDefaults(settings).view()

    assert view == SessionListKey(
        show_kanban=True, show_claude_code=True, source_filter="telegram", visible_only=True
    )


def test_changed_settings_are_seen_within_a_second_and_read_no_oftener() -> None:
    # Proves W1.
    settings, clock = Settings(), ManualClock()
    defaults = ViewDefaults(settings, clock=clock.monotonic_s)

    settings.now = ViewSettings(show_cron=True)
    clock.advance(0.9)
    before, reads_before = defaults.view(), settings.reads
    clock.advance(0.2)
    after, again = defaults.view(), defaults.view()

    assert (before.show_cron, reads_before) == (False, 1)
    assert (after.show_cron, again.show_cron, settings.reads) == (True, True, 2)


def test_a_settings_file_that_hangs_holds_up_one_thread_alone() -> None:
    # Proves W6: the others get what was read before, from memory.
    clock, begins, goes_on = ManualClock(), threading.Event(), threading.Event()
    answers = iter([ViewSettings(), ViewSettings(show_cron=True)])

    def read() -> ViewSettings:
        settings = next(answers)
        if settings.show_cron:
            begins.set()
            goes_on.wait(WAIT_S)
        return settings

    defaults = ViewDefaults(read, clock=clock.monotonic_s)
    clock.advance(2)
    reading = threading.Thread(target=defaults.view)
    reading.start()
    assert begins.wait(WAIT_S)

    meanwhile = (defaults.kept(), defaults.view())
    goes_on.set()
    reading.join()
    after = defaults.kept()

    assert [view is not None and view.show_cron for view in (*meanwhile, after)] == [False, False, True]
    assert meanwhile[0] is meanwhile[1]


def test_the_page_follows_the_view_that_is_warmed_for_it() -> None:
    """X14, W2"""
    page = files("hermes_cache.gateway").joinpath("page", "index.html").read_text("utf-8")

    assert f'data-view="{html.escape(PAGE_QUERY)}"' in page
    view = key_of(parameters_in(PAGE_QUERY), SessionListKey())
    assert (view.all_profiles, view.include_archived, view.agent_limit) == (True, True, None)
