"""Rule W4: the extension for Flask."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, request
from flask.wrappers import Response

from hermes_cache import Policy, PolicyError, SessionListKey
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.integrations.flask import HermesCache
from hermes_cache.integrations.settings import SettingError, settings_in
from tests.waiting import PROCESS_S


def build(key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [{"session_id": "s1", "title": f"{key.profile_name} of {current_app.name}"}]}


def app_of(name: str, extension: HermesCache, **config: object) -> Flask:
    app = Flask(name)
    app.config.update(config, HERMES_CACHE_TTL=60)
    extension.init_app(app)
    return app


def stop(app: Flask, extension: HermesCache) -> None:
    with app.app_context():
        extension.cache.stop()


@pytest.fixture
def sessions() -> HermesCache:
    return HermesCache(builder=build, path="/api/sessions")


@pytest.fixture
def app(sessions: HermesCache) -> Iterator[Flask]:
    made = app_of("garden", sessions)
    yield made
    stop(made, sessions)


def test_each_application_has_a_cache_of_its_own_and_builders_run_in_its_context(
    app: Flask, sessions: HermesCache
) -> None:
    # Proves W4, B2.
    other = app_of("kitchen", sessions)
    try:
        titles = [each.test_client().get("/api/sessions?profile=work").get_json() for each in (app, other)]
        with app.app_context():
            here = sessions.cache
        with other.app_context():
            there = sessions.cache
    finally:
        stop(other, sessions)

    assert [title["sessions"][0]["title"] for title in titles] == ["work of garden", "work of kitchen"]
    assert here is not there


def test_a_view_of_ones_own_answers_with_the_list_and_with_304(app: Flask, sessions: HermesCache) -> None:
    # Proves W4, O7.
    @app.get("/mine")
    def mine() -> Response:
        return sessions.respond(SessionListKey(request.args["who"]), envelope={"server_time": 1.5})

    client = app.test_client()

    first = client.get("/mine?who=ann")
    again = client.get("/mine?who=ann", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, again.status_code) == (200, 304)
    assert first.get_json()["server_time"] == 1.5
    assert first.headers["ETag"].startswith('W/"')


def test_the_answer_to_head_has_the_headers_of_the_answer_to_get(app: Flask) -> None:
    # Proves W4; RFC 9110, section 9.3.2.
    client = app.test_client()
    client.get("/api/sessions")

    got, head = client.get("/api/sessions"), client.head("/api/sessions")

    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(got.data))
    assert {**head.headers, "Age": "0"} == {**got.headers, "Age": "0"}


def test_two_caches_of_one_application_have_settings_and_commands_of_their_own(app: Flask) -> None:
    # Proves W4.
    app.config["TODOS_CACHE_TTL"] = 7
    todos = HermesCache(
        app,
        make=lambda **given: ListCache(lambda _key: {"todos": []}, profile_of=str, **given),
        key_of=lambda asked: asked.args["of"],
        path="/todos",
        prefix="TODOS_CACHE",
    )

    answer = app.test_client().get("/todos?of=ann")
    printed = app.test_cli_runner().invoke(args=["todos-cache", "settings"]).output
    stop(app, todos)

    assert answer.get_json() == {"todos": []}
    assert "TODOS_CACHE_TTL=7" in printed
    assert "hermes-cache" in app.cli.commands


def test_two_caches_of_one_application_with_one_prefix_are_refused(app: Flask) -> None:
    # Proves W4: settings, bus and commands would be those of both.
    with pytest.raises(ValueError, match="with the prefix 'HERMES_CACHE' already; give each its own"):
        HermesCache(app, lambda _key: {"sessions": []}, path="/others")


def test_without_an_application_the_extension_says_what_to_do(sessions: HermesCache) -> None:
    # Proves W4.
    with Flask("bare").app_context(), pytest.raises(RuntimeError, match=r"call init_app\(app\) first"):
        _ = sessions.cache


def test_what_a_command_publishes_reaches_the_application_through_the_journal(
    sessions: HermesCache, tmp_path: Path
) -> None:
    # Proves W4, J3.
    journal = f"sqlite:///{tmp_path / 'journal.db'}"
    app = app_of("garden", sessions, HERMES_CACHE_JOURNAL=journal)
    other = app_of("garden", sessions, HERMES_CACHE_JOURNAL=journal)
    try:
        with app.app_context():
            sessions.cache.get(SessionListKey("work"))
            result = other.test_cli_runner().invoke(args=["hermes-cache", "publish", "--profile", "work"])
            found = sessions.cache.lookup(SessionListKey("work"), at_least=result.output.strip())
    finally:
        stop(app, sessions)

    assert (result.exit_code, found.reason) == (0, "event")


def test_publish_without_a_journal_says_what_to_set(app: Flask) -> None:
    # Proves W4.
    result = app.test_cli_runner().invoke(args=["hermes-cache", "publish"])

    assert result.exit_code == 1
    assert "set HERMES_CACHE_JOURNAL" in result.output


def test_the_application_counts_before_the_environment() -> None:
    # Proves W4.
    config: dict[str, Any] = {"HERMES_CACHE_TTL": 9, "OTHER": object()}
    environment = {
        "HERMES_CACHE_TTL": "5",
        "HERMES_CACHE_MAX_ENTRIES": "7",
        "HERMES_CACHE_EXECUTOR": "processes",
        "HERMES_CACHE_JOURNAL": " ",
        "HERMES_CACHE_UNKNOWN": "is somebody else's",
    }

    settings = settings_in(config, environment)

    assert settings.policy == Policy(ttl=9, max_entries=7)
    assert (settings.executor, settings.journal) == ("processes", None)
    assert settings_in({}, {"HERMES_CACHE_STRICT": "yes"}).policy == Policy.strict()


@pytest.mark.parametrize(
    ("config", "environment", "error", "reason"),
    [
        ({"HERMES_CACHE_TTLS": 1}, {}, SettingError, "did you mean HERMES_CACHE_TTL"),
        ({"HERMES_CACHE_EXECUTOR": "gpu"}, {}, SettingError, "threads or processes"),
        ({}, {"HERMES_CACHE_TTL": "soon"}, SettingError, "must be a number"),
        ({}, {"HERMES_CACHE_POOL_SIZE": "1.5"}, SettingError, "must be a whole number"),
        ({}, {"HERMES_CACHE_STRICT": "of course"}, SettingError, "must be 1, true or yes, or 0, false or no"),
        ({"HERMES_CACHE_MAX_STREAMS": -1}, {}, SettingError, "must be a whole number, 0 for none"),
        ({}, {"HERMES_CACHE_POOL_SIZE": "-1"}, PolicyError, "pool_size"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(
    config: dict[str, object], environment: dict[str, str], error: type[Exception], reason: str
) -> None:
    # Proves W4.
    with pytest.raises(error, match=reason):
        settings_in(config, environment)


def test_what_is_for_every_framework_imports_none() -> None:
    # Proves W4, L8.
    program = (
        "import sys, hermes_cache.integrations.wsgi; print({'flask', 'starlette', 'django'} & set(sys.modules))"
    )

    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)  # noqa: S603 - ours

    assert result.stdout == "set()\n"
