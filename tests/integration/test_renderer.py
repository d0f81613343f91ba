"""What the renderer remembers, and signal handlers that render beside it (O1, O6, L6)."""

import signal
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import pytest

from hermes_cache.payload.content import Content
from hermes_cache.rendering import views
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.overlay import Live, LiveSession
from hermes_cache.sessions.renderer import Renderer
from hermes_cache.sessions.rows import freeze
from tests.contents import content_of
from tests.integration.thrown import AlarmError, EndOfTask

_NONE = Live()


def _content(name: str) -> Content:
    return content_of(freeze({"sessions": [{"session_id": name}]}))


def test_the_bodies_of_the_keys_that_were_rendered_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """O6"""
    renderer = Renderer(None, most=2)
    keys = [SessionListKey(name) for name in "abcd"]
    contents = {key: _content(key.profile_name) for key in keys}
    bodies = {key: renderer.render(key, contents[key], _NONE).response.body for key in keys[:3]}

    again = [renderer.render(key, contents[key], _NONE).response.body is bodies[key] for key in keys[:3]]
    monkeypatch.setattr(views, "_MAX_BODY_BYTES", 1)
    renderer.render(keys[3], contents[keys[3]], _NONE)

    assert again == [False, False, False]
    assert list(renderer._views._views) == [keys[3]]


@dataclass(frozen=True)
class _StrikingKey:
    """A key whose look-up lets a signal in, as any bytecode may."""

    armed: list[bool]

    def __hash__(self) -> int:
        if self.armed and self.armed.pop():
            signal.raise_signal(signal.SIGUSR1)
        return 7


@pytest.mark.parametrize("looks", range(1, 6))
def test_a_signal_handler_may_render_wherever_it_strikes(looks: int) -> None:
    """L6"""
    renderer = Renderer(None, most=1)
    inner = SessionListKey("inner")
    rendered: list[bytes] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        rendered.append(renderer.render(inner, _content("inner"), _NONE).response.body)

    key = _StrikingKey([True, *[False] * (looks - 1)])
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        body = renderer.render(key, _content("outer"), _NONE).response.body
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert b"outer" in body
    assert all(b"inner" in each for each in rendered)


@pytest.mark.parametrize("error", [AlarmError, EndOfTask, KeyboardInterrupt])
def test_what_strikes_inside_live_sessions_is_its_failure_or_the_callers(error: type[BaseException]) -> None:
    """L6, O1"""
    strikes = [True]

    def live() -> dict[str, LiveSession]:
        if strikes.pop():
            signal.raise_signal(signal.SIGUSR1)
        return {}

    def handle(_number: int, _frame: FrameType | None) -> NoReturn:
        raise error

    renderer = Renderer(live, most=2)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        raised = _raised_by(renderer)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert raised is (None if error is AlarmError else error)


def _raised_by(renderer: Renderer) -> type[BaseException] | None:
    try:
        renderer.render(SessionListKey(), _content("a"), _NONE)
    except BaseException as error:  # noqa: BLE001 - which one is what is asked
        return type(error)
    return None


def test_live_sessions_of_another_kind_count_as_none() -> None:
    """O1"""
    renderer = Renderer(lambda: {"a": "not a LiveSession"}, most=2)  # type: ignore[dict-item]

    rows = renderer.overlay([{"session_id": "a", "is_streaming": False}], _NONE)

    assert rows == [{"session_id": "a", "is_streaming": False}]
    assert renderer.is_failing
