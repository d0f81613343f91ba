"""Who is connected to a topic: what `connect` refuses, what `disconnect` undoes, what goes by itself (E2, E4)."""

import asyncio
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from hermes_cache import Bus
from hermes_cache.bus.connections import Connections
from hermes_cache.bus.topic import PublishedTopic


class _Receiver:
    """Counts what it hears; can be held weakly, and told apart from another."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def __call__(self, sender: object, event: object) -> None:  # noqa: ARG002
        self.heard.append(sender)

    def method(self, sender: object, event: object) -> None:  # noqa: ARG002
        self.heard.append(sender)


class _Sender:
    """Has weak references."""


@pytest.fixture
def topic(bus: Bus) -> PublishedTopic:
    return bus.settings_changed


@pytest.mark.parametrize("make_sender", [_Sender, lambda: "a name", lambda: 7, lambda: None, lambda: 1.5])
@pytest.mark.parametrize("weak", [False, True])
def test_disconnecting_from_its_one_sender_lets_a_receiver_go(
    bus: Bus, make_sender: Callable[[], object], *, weak: bool
) -> None:
    """E4: the journal would be watched closely for a receiver that is none."""
    receiver, sender = _Receiver(), make_sender()
    gone = weakref.ref(receiver)

    bus.settings_changed.connect(receiver, sender, weak=weak)
    connected = bus.has_receivers
    bus.settings_changed.disconnect(receiver, sender)
    bus.settings_changed.send(sender)
    heard = receiver.heard
    del receiver

    assert connected
    assert not bus.has_receivers
    assert heard == []
    assert gone() is None


def test_a_receiver_that_is_disconnected_from_one_sender_stays_with_another(topic: PublishedTopic) -> None:
    """E4"""
    receiver, one, other = _Receiver(), _Sender(), _Sender()
    topic.connect(receiver, one)
    topic.connect(receiver, other)

    topic.disconnect(receiver, one)
    topic.send(one)
    topic.send(other)

    assert receiver.heard == [other]


@pytest.mark.parametrize("any_first", [False, True])
def test_a_receiver_of_one_and_of_all_senders_hears_once_and_each_is_undone_alone(
    topic: PublishedTopic, *, any_first: bool
) -> None:
    """E4"""
    receiver, sender = _Receiver(), _Sender()
    if any_first:
        topic.connect(receiver)
    topic.connect(receiver, sender)
    if not any_first:
        topic.connect(receiver)

    topic.send(sender)
    topic.disconnect(receiver, sender)
    topic.send(sender)
    topic.send("other")
    heard = list(receiver.heard)
    topic.connect(receiver, sender)
    topic.disconnect(receiver)
    topic.send(sender)

    assert heard == [sender, sender, "other"]
    assert receiver.heard == heard
    assert not topic.has_receivers


def test_disconnecting_whoever_is_not_connected_is_no_error(topic: PublishedTopic) -> None:
    """E4"""
    receiver = _Receiver()
    topic.connect(receiver, "a")

    topic.disconnect(receiver, "b")
    topic.disconnect(_Receiver())
    topic.disconnect(receiver, _Sender())
    topic.disconnect(receiver, (1, 2))

    assert topic.has_receivers


def test_a_bound_method_is_known_again(topic: PublishedTopic) -> None:
    """E4"""
    receiver, sender = _Receiver(), _Receiver()
    topic.connect(receiver.method, sender.method, weak=True)

    topic.send(sender.method)
    heard = len(receiver.heard)
    topic.disconnect(receiver.method, sender.method)

    assert heard == 1
    assert not topic.has_receivers


@pytest.mark.parametrize("attribute", ["receiver", "sender"])
def test_a_connection_goes_with_its_weak_receiver_or_its_sender(topic: PublishedTopic, attribute: str) -> None:
    """E4"""
    held: dict[str, Any] = {"receiver": _Receiver(), "sender": _Sender()}
    topic.connect(held["receiver"], held["sender"], weak=True)

    del held[attribute]

    assert not topic.has_receivers


@pytest.mark.parametrize("sender", [(1, 2), [], {}, object(), b"bytes"])
def test_a_sender_that_may_be_taken_for_another_is_refused_and_still_sends(
    topic: PublishedTopic, sender: object
) -> None:
    """E4"""
    receiver = _Receiver()
    topic.connect(receiver)

    with pytest.raises(TypeError, match="cannot be a sender to connect to"):
        topic.connect(_Receiver(), sender)
    topic.send(sender)

    assert receiver.heard == [sender]


@pytest.mark.parametrize(("one", "same"), [("a", "".join("a")), (7, 7.0), (1.5, Decimal("1.5")), (None, None)])
def test_values_are_known_by_what_they_are(topic: PublishedTopic, one: object, same: object) -> None:
    """E4"""
    receiver = _Receiver()
    topic.connect(receiver, one)

    topic.send(same)
    topic.send("another")

    assert len(receiver.heard) == 1


def test_no_sender_is_taken_for_one_that_is_gone(topic: PublishedTopic) -> None:
    """E4; memory that becomes free is used again at once."""
    receiver = _Receiver()

    for _ in range(3_000):
        topic.connect(receiver, _Sender())
        topic.send(_Sender())
        topic.send((1, _Sender()))

    assert receiver.heard == []
    assert not topic.has_receivers


def _waits() -> Iterator[tuple[str, object]]:
    async def receive(sender: object, event: object) -> None: ...

    async def generate(sender: object, event: object) -> Any:
        yield sender, event

    class Asynchronous:
        async def __call__(self, sender: object, event: object) -> None: ...

    @functools.wraps(receive)
    def wrapper(*args: object, **fields: object) -> object:
        return receive(*args, **fields)

    yield "function", receive
    yield "generator", generate
    yield "object", Asynchronous()
    yield "method", Asynchronous().__call__
    yield "partial", functools.partial(receive)
    yield "partial of an object", functools.partial(Asynchronous())
    yield "wrapper", wrapper
    yield "library", asyncio.sleep


@pytest.mark.parametrize("receiver", [pytest.param(each, id=name) for name, each in _waits()])
def test_a_coroutine_function_is_refused_by_name_of_the_topic(topic: PublishedTopic, receiver: Any) -> None:
    """E4"""
    with pytest.raises(TypeError, match="the receiver of settings_changed"):
        topic.connect(receiver)

    assert not topic.has_receivers


def test_what_cannot_be_called_cannot_receive(topic: PublishedTopic) -> None:
    """E4"""
    with pytest.raises(TypeError, match="cannot receive settings_changed"):
        topic.connect("receiver")  # type: ignore[type-var]


def test_a_receiver_that_returns_an_awaitable_failed_and_nobody_has_to_await_it(
    topic: PublishedTopic, caplog: pytest.LogCaptureFixture
) -> None:
    """E4; a coroutine that is let go without having been closed warns, which fails this test."""

    async def answer() -> None: ...

    heard = _Receiver()
    topic.connect(lambda _sender, event: answer())  # noqa: ARG005
    topic.connect(heard)

    answers = topic.send("s")
    gc.collect()

    assert answers == [(heard, None)]
    assert heard.heard == ["s"]
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.receiver_failed"]


class _Reconnects:
    """Is collected in the middle of something, and then connects and disconnects others."""

    def __init__(self, topic: PublishedTopic, other: _Receiver) -> None:
        self.itself = self
        self._topic = topic
        self._other = other

    def __call__(self, sender: object, event: object) -> None: ...

    def __del__(self) -> None:
        self._topic.connect(self._other, "from a finalizer")
        self._topic.disconnect(self._other, "from a finalizer")
        self._topic.connect(self._other, weak=True)


def test_weak_receivers_that_are_collected_while_others_connect_disturb_nothing(topic: PublishedTopic) -> None:
    """E4"""
    other, stays = _Receiver(), _Receiver()
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for number in range(300):
            topic.connect(_Reconnects(topic, other), weak=True)
            topic.connect(stays, f"sender {number}")
            topic.connect(_Reconnects(topic, other), _Sender(), weak=True)
            topic.send(f"sender {number}")
            topic.disconnect(stays, f"sender {number}")
    finally:
        gc.set_threshold(*before)
    gc.collect()
    topic.disconnect(other)

    assert len(stays.heard) == 300
    assert not topic.has_receivers


def test_a_proxy_that_stands_for_nothing_may_send(topic: PublishedTopic) -> None:
    """E4; as a web framework's context does outside of a request."""

    class Proxy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("working outside of a context")

    receiver, proxy = _Receiver(), Proxy()
    topic.connect(receiver, proxy)

    topic.send(proxy)

    assert len(receiver.heard) == 1


def test_receivers_that_the_garbage_collector_takes_in_the_middle_of_a_send_do_not_end_it() -> None:
    """E4: on Python 3.11 it runs wherever something is allocated, and with it what ends connections."""
    connections, going, steady = Connections(), [_Receiver() for _ in range(300)], _Receiver()
    for receiver in (*going, steady):
        connections.connect(receiver)
    del receiver

    def let_one_go(phase: str, _info: dict[str, int]) -> None:
        if phase == "start" and going:
            going.pop()

    often = gc.get_threshold()
    gc.callbacks.append(let_one_go)
    gc.set_threshold(1, 1, 1)
    try:
        receivers = list(connections.receivers_for(None))
    finally:
        gc.set_threshold(*often)
        gc.callbacks.remove(let_one_go)

    assert receivers[-1] is steady
