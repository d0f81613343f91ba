"""The store of Claude Code keeps the contract (rules X11, X12)."""

import os
from pathlib import Path

import pytest

from hermes_cache.samples.claude_code import append_message
from hermes_cache.stores import ClaudeCode, SessionStore
from hermes_cache.testing import ManualClock, SessionStoreContract


class TestClaudeCode(SessionStoreContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "projects"
        self.clock = ManualClock()

    def open_store(self) -> SessionStore:
        return ClaudeCode(self.folder, clock=self.clock)

    def pass_time(self, span_s: float) -> None:
        self.clock.advance(span_s)

    def write_session(self, name: str, title: str) -> None:
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        append_message(file, title, at_s=self.clock.wall_s())

    def remove_session(self, name: str) -> None:
        self._file(name).unlink()

    def damage_session(self, name: str) -> None:
        self._file(name).write_bytes(os.urandom(100_000))

    def _file(self, name: str) -> Path:
        return self.folder / "project" / f"{name}.jsonl"
