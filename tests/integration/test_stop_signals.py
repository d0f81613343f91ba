"""Rule W4: event streams on WSGI end when a signal tells their server to stop."""

import signal
import threading
from collections.abc import Iterator

import pytest

from hermes_cache import Bus, Policy, SessionListCache
from hermes_cache.integrations import wsgi

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that the server got; it handles them as gunicorn does."""
    got: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: got.append(number)) for number in NUMBERS}
    yield got
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def streams() -> Iterator[wsgi.EventStreams]:
    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), policy=Policy(stop_timeout=2.0)) as cache:
        yield wsgi.EventStreams(cache)


def opened(streams: wsgi.EventStreams) -> Iterator[bytes]:
    body = streams.changes({"REQUEST_METHOD": "GET"}).body
    assert isinstance(body, wsgi.EventStream)
    return iter(body)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_to_stop_ends_streams_and_reaches_the_server_too(
    number: signal.Signals, signals: list[int], streams: wsgi.EventStreams
) -> None:
    # Proves W4: a server waits for its open answers, and a stream has no end of its own.
    stream = opened(streams)
    wsgi.end_at_stop_signals(streams)
    hello = next(stream)

    signal.raise_signal(number)
    rest = list(stream)
    refused = streams.changes({"REQUEST_METHOD": "GET"})

    assert b"event: hello" in hello
    assert len(rest) <= 2
    assert refused.code == 503
    assert signals == [number]


def test_what_nobody_handles_and_other_threads_are_left_alone(
    signals: list[int], streams: wsgi.EventStreams
) -> None:
    # Proves W4: a signal with its default effect ends the process by itself.
    handlers = [signal.getsignal(number) for number in NUMBERS]
    thread = threading.Thread(target=wsgi.end_at_stop_signals, args=(streams,))
    thread.start()
    thread.join(30)
    beside = [signal.getsignal(number) for number in NUMBERS]
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)

    wsgi.end_at_stop_signals(streams)

    assert beside == handlers
    assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_DFL] * 3
    assert signals == []
