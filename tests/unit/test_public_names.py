"""The public names: loaded when they are used, and no more than that (L8)."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hermes_cache
from tests.waiting import PROCESS_S

_HEAVY = ("sqlalchemy", "psycopg", "loky", "cloudpickle", "starlette", "uvicorn", "click")
_CACHE_ALONE = """
import json, sys
from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
with SessionListCache(lambda key: {"sessions": []}, bus=Bus()) as cache:
    cache.get(SessionListKey())
print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))
"""


def test_a_cache_alone_loads_nothing_that_only_homes_journals_workers_and_servers_need() -> None:
    """L8"""
    command = [sys.executable, "-c", _CACHE_ALONE, *_HEAVY]

    loaded = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)  # noqa: S603 - our own

    assert json.loads(loaded.stdout) == []


def test_type_checkers_and_the_interpreter_know_the_same_public_names() -> None:
    stub = ast.parse(Path(hermes_cache.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {
        (node.module, name.name) for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names
    }

    assert {name for _, name in typed} == set(hermes_cache.__all__)
    for module, name in typed:
        assert getattr(hermes_cache, name) is getattr(import_module(str(module)), name)


def test_a_name_that_is_not_public_is_named_in_the_error() -> None:
    with pytest.raises(AttributeError, match="'hermes_cache' has no attribute 'SessionList'"):
        hermes_cache.SessionList  # type: ignore[attr-defined]  # noqa: B018 - looked up
