"""Rules W1 and W6: what `hermes-cache serve` logs, in its worker processes too."""

from pathlib import Path

import pytest

from tests.e2e.gateway_process import served
from tests.e2e.process_log import AS_JSON, Line, log_of


def logged(*arguments: str) -> list[Line]:
    """Return what it logs from its start to its end."""
    with served(*arguments, *AS_JSON) as (process, _):
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

    (failed,) = [line for line in logged("--home", str(tmp_path)) if line.level == "warning"]

    assert failed.event == "hermes_cache.build_failed"
    assert "file is not a database" in str(failed.fields["error"])


@pytest.mark.parametrize("broken", ["webui/projects.json"])
def test_a_worker_process_logs_in_the_form_of_its_parent(home: Path, broken: str) -> None:
    """W1"""
    (home / broken).write_text("{no JSON")

    warnings = [line for line in logged("--home", str(home)) if line.level == "warning"]

    assert {line.event for line in warnings} == {"hermes_cache.file_ignored"}
    assert str(home / broken) in {line.fields["path"] for line in warnings}
