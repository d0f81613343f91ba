"""Laws of keys, for fields of any shape."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.sessions.keys import SessionListKey

_TEXTS = st.none() | st.text(max_size=4)
_COUNTS = st.none() | st.integers() | st.floats() | st.text(max_size=4)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "profile": _TEXTS.filter(lambda text: not text or "\0" not in text),
        "all_profiles": st.booleans() | st.integers(0, 2),
        "show_cli": st.booleans() | st.text(max_size=1),
        "source_filter": _TEXTS,
        "sidebar_source": _TEXTS,
        "archived_limit": _COUNTS,
        "archived_offset": _COUNTS,
        "extra": st.dictionaries(st.text(max_size=2), st.none() | st.integers() | st.text(max_size=2), max_size=4),
    },
)
_NAMES = [
    "profile",
    "all_profiles",
    "show_cli",
    "source_filter",
    "sidebar_source",
    "archived_limit",
    "archived_offset",
    "extra",
]


@given(_FIELDS)
def test_normalising_twice_is_normalising_once(fields: dict[str, Any]) -> None:
    """K2"""
    view = SessionListKey(**fields)

    again = SessionListKey(**{name: getattr(view, name) for name in _NAMES})

    assert again == view
    assert hash(again) == hash(view)


@given(_FIELDS, _FIELDS)
def test_keys_are_equal_exactly_where_their_fields_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """K1, K2"""
    left, right = SessionListKey(**one), SessionListKey(**other)

    fields_agree = all(getattr(left, name) == getattr(right, name) for name in _NAMES)

    assert (left == right) is fields_agree
    assert not fields_agree or hash(left) == hash(right)


@given(_FIELDS)
def test_every_page_is_bounded_below(fields: dict[str, Any]) -> None:
    """K2"""
    view = SessionListKey(**fields)

    assert view.archived_limit is None or view.archived_limit >= 0
    assert view.archived_offset >= 0


@given(st.dictionaries(st.text(max_size=2), st.integers(), max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_extra_fields_does_not_matter(extra: dict[str, int], order: Any) -> None:
    """K2"""
    shuffled = list(extra.items())
    order.shuffle(shuffled)

    assert SessionListKey(extra=tuple(shuffled)) == SessionListKey(extra=tuple(extra.items()))
