"""What a journal's row promises: a round trip for every event, a typed error for anything else (rules J1, J5)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.bus.codec import checksum, decode, encode, from_plain, to_plain
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalDamagedError, JournalError

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_WORDS = _TEXTS.filter(str.strip)
_COMMON = {
    "id": st.builds(
        EventId,
        _TEXTS.filter(bool),
        st.integers(0, 10**18 - 1),
        st.sampled_from(["sessions", "orders"]) | st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    ),
    "at_s": st.floats(allow_nan=False, allow_infinity=False),
}
_EVENTS: st.SearchStrategy[AppliedEvent] = st.one_of(
    st.builds(
        SessionListChanged,
        **_COMMON,
        reason=_WORDS,
        profile=st.none() | _TEXTS,
        session_id=st.none() | _TEXTS,
    ),
    st.builds(
        StreamStarted, **_COMMON, stream_id=_WORDS, profile=st.none() | _TEXTS, session_id=st.none() | _TEXTS
    ),
    st.builds(StreamStopped, **_COMMON, stream_id=_WORDS),
    st.builds(SettingsChanged, **_COMMON),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["session_list_changed", "stream_started", "stream_stopped", "later"]) | _JSON,
        "id": st.just("life:1") | _JSON,
        "at_s": st.just(1.0) | _JSON,
        "stream_id": _JSON,
        "profile": _JSON,
        "reason": _JSON,
    },
)


@given(_EVENTS, st.integers(1, 2**62))
def test_an_event_comes_back_as_it_went(event: AppliedEvent, seq: int) -> None:
    """J1"""
    body = encode(event)

    assert decode(seq, body, checksum(seq, body)) == event
    assert from_plain(to_plain(event)) == event


@given(_EVENTS, st.data())
def test_a_changed_byte_is_always_found_with_its_row(event: AppliedEvent, data: st.DataObject) -> None:
    """J5"""
    body = encode(event)
    at = data.draw(st.integers(0, len(body) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]

    with pytest.raises(JournalDamagedError, match="row 7") as raised:
        decode(7, changed, checksum(7, body))

    assert raised.value.seq == 7


@given(st.binary() | st.builds(lambda plain: json.dumps(plain, allow_nan=True).encode(), _JSON | _ALMOST))
def test_a_hostile_row_is_an_event_or_a_typed_error(body: bytes) -> None:
    """J5"""
    event: AppliedEvent | None
    try:
        event = decode(3, body, checksum(3, body))
    except JournalDamagedError as error:
        event, told = None, error.seq
    else:
        told = 3

    assert told == 3
    assert event is None or from_plain(to_plain(event)) == event


@pytest.mark.parametrize("body", [None, 1, "text", []])
def test_a_body_that_is_not_bytes_is_damage(body: object) -> None:
    """J5"""
    with pytest.raises(JournalDamagedError, match=r"row 2 .* not bytes"):
        decode(2, body, 0)


def test_a_row_under_the_number_of_another_is_damage() -> None:
    """J5"""
    body = encode(SettingsChanged(id=EventId("life", 1), at_s=1.0))

    with pytest.raises(JournalDamagedError, match="checksum"):
        decode(2, body, checksum(1, body))


@pytest.mark.parametrize("at_s", [float("nan"), float("inf")])
def test_what_could_not_be_read_back_is_not_written(at_s: float) -> None:
    """J5"""
    event = SettingsChanged(id=EventId("life", 1), at_s=at_s)

    with pytest.raises(JournalError, match="cannot be kept"):
        encode(event)
