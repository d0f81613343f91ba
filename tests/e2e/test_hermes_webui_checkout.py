"""The adapter inside a checkout of hermes-webui, which is not part of this project.

    HERMES_WEBUI_CHECKOUT=PATH HERMES_WEBUI_PYTHON=PYTHON pytest -m long tests/e2e/test_hermes_webui_checkout.py

PYTHON has what the program's requirements-dev.txt and this project need; without it, that of this run is taken.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEAM = re.compile(
    r"session_list_cache|_session_list_payload|publish_session_list_changed|session_events|/api/sessions[\"'?]"
)
REACH_INSIDE = {
    "test_request_diagnostics_cache.py::test_sessions_route_emits_cache_hit_diagnostic_stages",
    "test_route_session_list_cache_extraction.py::test_live_scalar_exports_follow_route_session_list_cache_state",
    (
        "test_session_sidebar_cache.py::"
        "test_session_list_cache_source_changed_owner_rebuilds_while_follower_reuses_stale"
    ),
    "test_session_sidebar_cache.py::test_session_list_cache_owner_returns_stale_and_rebuilds_in_background",
    "test_session_sidebar_cache.py::test_session_list_cache_stale_background_rebuild_failure_releases_owner",
}
"""Put payloads into the old cache by its private functions, or read its private counters."""


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_the_tests_of_the_program_pass_with_the_adapter(tmp_path: Path) -> None:
    # Proves W4.
    if not (given := os.environ.get("HERMES_WEBUI_CHECKOUT")):
        pytest.skip("set HERMES_WEBUI_CHECKOUT to the path of a checkout of hermes-webui")
    python = os.environ.get("HERMES_WEBUI_PYTHON", sys.executable)
    checkout = tmp_path / "checkout"
    shutil.copytree(given, checkout, ignore=shutil.ignore_patterns(".git"))
    wire_in = ROOT / "examples/gateways/hermes_webui/wire_in.py"
    subprocess.run([sys.executable, str(wire_in), str(checkout)], check=True)  # noqa: S603 -- ours
    # Its server looks here for modules, and is not given PYTHONPATH.
    (checkout / "hermes_cache").symlink_to(ROOT / "hermes_cache")
    tests = sorted((checkout / "tests").glob("test_*.py"))
    files = [f"tests/{test.name}" for test in tests if SEAM.search(test.read_text("utf-8"))]

    failed, said = run(checkout, python, files)
    others = sorted(failed - REACH_INSIDE)
    # Some wait for a second at most, or watch times of files: on a busy machine they need another try.
    still_failed = run(checkout, python, [f"tests/{name}" for name in others])[0] if others else set()

    assert failed >= REACH_INSIDE, said
    assert still_failed == set(), said
    assert re.search(r"\d{3,} passed", said)


def run(checkout: Path, python: str, tests: list[str]) -> tuple[set[str], str]:
    """Run tests of the checkout, and return which of them failed, and the end of what pytest says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    folder = checkout.parent
    result = subprocess.run(  # noqa: S603 -- the checkout that the caller named
        [python, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-p", "hermes_webui_old_names", *tests],
        cwd=checkout,
        env={
            **environment,
            "HOME": str(folder),
            "HERMES_WEBUI_TEST_STATE_ROOT": str(folder / "state"),
            "HERMES_WEBUI_PYTHON": python,
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", result.stdout, re.MULTILINE)
    return set(failed), result.stdout[-5_000:]
