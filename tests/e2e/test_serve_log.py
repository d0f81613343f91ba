"""Rules W1 and W6: what `hermes-cache serve` logs, in its worker processes too."""

from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache.log_output import MOST_A_MINUTE
from tests.e2e.gateway_process import connect, served
from tests.e2e.process_log import AS_JSON, Line, log_of
from tests.waiting import PROCESS_S, until


def logged(*arguments: str, path: str = "/api/ready", status: int = 200) -> list[Line]:
    """Return what it logs from its start to its end, which comes once a path is answered with a status."""
    with served(*arguments, *AS_JSON) as (process, url):
        until(lambda: asked(url, path) == status, within_s=PROCESS_S)
        process.terminate()
        return log_of(process)


def test_it_logs_its_start_with_its_address_and_its_stop(home: Path) -> None:
    """W1"""
    with served("--home", str(home), *AS_JSON) as (process, url):
        process.terminate()
        started, *others = log_of(process)

    assert started == Line("hermes_cache.serving", "info", {"address": url, "home": str(home)})
    assert [line.event for line in others] == ["hermes_cache.stopping", "hermes_cache.stopped"]


def test_a_level_leaves_out_what_is_below_it(home: Path) -> None:
    """W1"""
    assert not logged("--home", str(home), "--log-level", "warning")


def test_it_logs_why_a_list_could_not_be_built(tmp_path: Path) -> None:
    """W1, R7: served worse than asked."""
    (tmp_path / "state.db").write_bytes(b"no database at all")

    lines = logged("--home", str(tmp_path), path="/api/health", status=503)

    warnings = [line for line in lines if line.level == "warning"]

    # One for each view that was begun before the stop: a failure is logged once.
    views = [line.fields["key"] for line in warnings]
    assert len(views) == len(set(views))
    assert {line.event for line in warnings} == {"hermes_cache.build_failed"}
    assert all("file is not a database" in str(line.fields["error"]) for line in warnings)


@pytest.mark.parametrize("broken", ["webui/projects.json"])
def test_a_worker_process_logs_in_the_form_of_its_parent(home: Path, broken: str) -> None:
    """W1"""
    (home / broken).write_text("{no JSON")

    warnings = [line for line in logged("--home", str(home)) if line.level == "warning"]

    assert {line.event for line in warnings} == {"hermes_cache.file_ignored"}
    assert str(home / broken) in {line.fields["path"] for line in warnings}


def asked(url: str, path: str, method: str = "GET", **headers: str) -> int:
    with closing(connect(url)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): each for name, each in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_it_logs_refusals_but_not_what_is_let_in(home: Path) -> None:
    """W1"""
    with served("--home", str(home), *AS_JSON) as (process, url):
        statuses = [
            asked(url, "/api/sessions"),
            asked(url, "/api/sessions?show_cli=perhaps"),
            asked(url, "/api/sessions", Host="evil.example"),
            asked(url, "/api/sessions", Sec_Fetch_Site="cross-site"),
            asked(url, "/nothing"),
        ]
        process.terminate()
        refused = [line for line in log_of(process) if line.event == "hermes_cache.request_refused"]

    assert statuses == [200, 400, 421, 403, 404]
    assert [line.fields["status"] for line in refused] == [400, 421, 403]
    assert refused[0].fields == {
        "status": 400, "reason": "parameter show_cli", "peer": "127.0.0.1", "method": "GET",
        "path": "/api/sessions",
    }  # fmt: skip
    assert "--allow-host" in str(refused[1].fields["reason"])


def test_checks_of_health_are_no_refusals_also_below_a_prefix(tmp_path: Path) -> None:
    """W1"""
    (tmp_path / "state.db").write_bytes(b"no database at all")
    with served("--home", str(tmp_path), "--root-path", "/hermes", *AS_JSON) as (process, url):
        statuses = [asked(url, path) for path in ("/hermes/api/ready", "/api/ready", "/hermes/api/health")]
        process.terminate()
        logged = log_of(process)

    assert statuses == [503, 503, 503]
    assert "hermes_cache.request_refused" not in {line.event for line in logged}


def test_an_attack_does_not_fill_the_log(home: Path) -> None:
    """W6"""
    with served("--home", str(home), *AS_JSON) as (process, url):
        statuses = {asked(url, "/api/sessions", Host="evil.example") for _ in range(200)}
        process.terminate()
        logged = log_of(process)

    refused = [line for line in logged if line.event == "hermes_cache.request_refused"]
    left_out = [line.fields for line in logged if line.event == "hermes_cache.lines_left_out"]
    assert statuses == {421}
    # A slow machine may need more than a minute.
    assert len(refused) <= (len(left_out) + 1) * MOST_A_MINUTE
    assert {each["left_out"] for each in left_out} == {"hermes_cache.request_refused"}
    assert sum(each["count"] for each in left_out if isinstance(each["count"], int)) == 200 - len(refused)


def test_an_access_log_has_each_request(home: Path) -> None:
    """W1"""
    with served("--home", str(home), "--access-log", *AS_JSON) as (process, url):
        asked(url, "/api/sessions?show_cli=1")
        asked(url, "/nothing")
        process.terminate()
        listed, missing = [line for line in log_of(process) if line.event == "hermes_cache.request"]

    assert (listed.fields["path"], listed.fields["status"], listed.fields["peer"]) == (
        "/api/sessions",
        200,
        "127.0.0.1",
    )
    assert isinstance(listed.fields["size_bytes"], int)
    assert listed.fields["size_bytes"] > 100
    assert (missing.fields["path"], missing.fields["status"]) == ("/nothing", 404)


def test_a_token_never_stands_in_the_log_wherever_it_is_put(home: Path) -> None:
    """W1, W5"""
    token = "correct-horse-battery-staple"  # noqa: S105 -- a token of the tests
    arguments = ("--home", str(home), "--token", token, "--access-log", "--log-level", "debug")
    with served(*arguments, *AS_JSON) as (process, url):
        asked(url, f"/api/sessions?token={token}")
        asked(url, f"/api/sessions?show_cli={token}", Authorization=f"Bearer {token}")
        asked(url, f"/{token}", Authorization=f"Bearer {token}")
        asked(url, "/api/sessions", Cookie=f"hermes_cache={token}")
        asked(url, "/sign-in", "POST", Authorization=f"Bearer {token}", Origin="http://evil.example")
        asked(url, f"/{'a' * 185}{token}", Authorization=f"Bearer {token}")
        for host in (token, token.upper(), f"{'a' * 85}{token}"):
            asked(url, "/", Host=host)
            asked(url, "/", Origin=f"http://{host}")
        process.terminate()
        logged = log_of(process)

    assert len([line for line in logged if line.event == "hermes_cache.request"]) == 12
    # Not even half of it, as if a text was cut in its midst.
    assert token[:9] not in repr(logged).lower()


def test_a_client_that_goes_before_its_request_is_whole_is_no_failure(home: Path) -> None:
    """W1, W6"""
    with served("--home", str(home), *AS_JSON) as (process, url):
        with closing(connect(url)) as connection:
            connection.putrequest("POST", "/sign-in")
            connection.putheader("Content-Length", "100")
            connection.endheaders(b"token=")
        assert asked(url, "/api/ready") in {200, 503}
        process.terminate()
        logged = log_of(process)

    assert [line.event for line in logged if line.level == "error"] == []
