"""Rule L8: what a user installs works on each Python, with no extra and with each one alone."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.wheels import PYTHONS, ROOT, Environment, build_wheel, find_python, new_environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

_ALONE: Final = """
import hermes_cache, sys
from hermes_cache import Bus, Policy, SessionListCache, SessionListKey

cache = SessionListCache(lambda key: {"sessions": [{"session_id": "s1"}]}, policy=Policy(), bus=Bus())
with cache:
    assert cache.get(SessionListKey("work"))["sessions"][0]["session_id"] == "s1"
    assert cache.lookup(SessionListKey("work")).outcome == "hit"
    cache.invalidate("work")
    assert cache.render(SessionListKey("work")).lookup.reason == "event"
    assert cache.stats().outcomes == {"built": 2, "hit": 1}
print(hermes_cache.__version__)
"""

_OF_EXTRAS: Final = {
    "asgi": """
from hermes_cache import SessionListCache
from hermes_cache.integrations import asgi
assert asgi.session_routes(SessionListCache(lambda key: {"sessions": []}))
""",
    "flask": """
from hermes_cache.integrations.flask import HermesCache
HermesCache
""",
    "opentelemetry": """
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations.opentelemetry import HermesCacheInstrumentor
HermesCacheInstrumentor().instrument()
with SessionListCache(lambda key: {"sessions": []}) as cache:
    cache.get(SessionListKey())
""",
    "postgres": """
from hermes_cache import journal_at
import psycopg
journal_at("postgresql+psycopg://nobody@127.0.0.1:1/none")
""",
    "processes": """
import os
from hermes_cache import SessionListCache, SessionListKey

def build(key):
    return {"sessions": [], "pid": os.getpid()}

if __name__ == "__main__":
    with SessionListCache(build, executor="processes") as cache:
        assert cache.get(SessionListKey())["pid"] != os.getpid()
""",
    "prometheus": """
from prometheus_client import CollectorRegistry, generate_latest
from hermes_cache import SessionListCache
from hermes_cache.integrations.prometheus import CacheCollector
registry = CollectorRegistry()
registry.register(CacheCollector(SessionListCache(lambda key: {"sessions": []})))
assert b"hermes_cache_reads_total" in generate_latest(registry)
""",
    "serve": """
from hermes_cache import HermesHome, SessionListCache
from hermes_cache.gateway.app import create_app
home = HermesHome(".")
assert create_app(SessionListCache(home.builder, sources=home.sources), home)
""",
    "watch": """
from hermes_cache import HermesHome, SessionListCache
from hermes_cache.stores.hermes.notifications import LIBRARIES, library
home = HermesHome(".")
assert library() == LIBRARIES[0]
with SessionListCache(home.builder, sources=home.sources, watch=home.watch) as cache:
    assert cache.health().running
""",
    "zstd": """
from hermes_cache import SessionListCache, SessionListKey
with SessionListCache(lambda key: {"sessions": []}) as cache:
    assert cache.render(SessionListKey()).encoded("zstd").startswith(bytes.fromhex("28b52ffd"))
""",
}
"""A program for each extra that needs it, and nothing else."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return build_wheel(find_python("3.11"), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(params=PYTHONS)
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Environment]:
    """Makes environments of one Python."""
    python = find_python(request.param)
    return lambda: new_environment(python, tmp_path / "venv")


def test_the_wheel_alone_has_a_cache_and_a_command(wheel: Path, environment: Callable[[], Environment]) -> None:
    """L8"""
    empty = environment()
    empty.install(str(wheel))

    version = empty.run("python", "-W", "error", "-c", _ALONE).strip()
    helped = empty.run("hermes-cache", "--help")
    made = empty.run("hermes-cache", "sample-home", "home", "--sessions", "20")

    assert version == _PROJECT["version"]
    assert "serve" in helped
    assert made
    assert empty.run("hermes-cache", "--version").split()[-1] == version


def test_without_an_extra_what_needs_it_says_how_to_install_it(
    wheel: Path, environment: Callable[[], Environment]
) -> None:
    """L8"""
    empty = environment()
    empty.install(str(wheel))
    program = """
for name in ("prometheus", "opentelemetry"):
    try:
        __import__(f"hermes_cache.integrations.{name}")
    except ImportError as error:
        print(error)
"""

    told = empty.run("python", "-c", program)

    assert 'hermes-session-cache[prometheus]"' in told
    assert 'hermes-session-cache[opentelemetry]"' in told


@pytest.mark.parametrize("extra", sorted(_PROJECT["optional-dependencies"]))
def test_each_extra_alone_has_what_it_needs(
    wheel: Path, environment: Callable[[], Environment], extra: str
) -> None:
    """L8"""
    one = environment()
    one.install(f"{wheel}[{extra}]")
    program = one.folder / "program.py"
    program.write_text(_OF_EXTRAS[extra])

    one.run("python", "-W", "error", str(program))
    version = one.run("python", "-c", _ALONE).strip()

    assert version == _PROJECT["version"]
