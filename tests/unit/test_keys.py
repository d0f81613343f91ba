"""Keys, rule by rule."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hermes_cache.arguments import session_list_changed, stream_started
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey, profile_name

FLAGS = [
    "all_profiles",
    "show_cli",
    "show_previous_messaging",
    "show_cron",
    "show_webhook",
    "show_kanban",
    "show_claude_code",
    "include_archived",
    "exclude_hidden",
    "visible_only",
]


def key(**fields: Any) -> SessionListKey:
    """Make a key from what a request holds, whatever its type."""
    return SessionListKey(**fields)


def test_a_key_cannot_be_changed() -> None:
    """K1"""
    view = SessionListKey("work")

    with pytest.raises(FrozenInstanceError):
        view.profile = "play"  # type: ignore[misc]

    assert view == SessionListKey("work")


def test_the_hash_of_a_key_is_computed_once() -> None:
    """K1"""
    hashed: list[str] = []

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            hashed.append(self)
            return super().__hash__()

    view = SessionListKey(extra=(("view", Counted("compact")),))
    at_birth = len(hashed)

    again = {hash(view) for _ in range(10)}

    assert again == {hash(view)}
    assert len(hashed) == at_birth


@pytest.mark.parametrize("name", FLAGS)
def test_each_flag_makes_another_view(name: str) -> None:
    """K1"""
    assert key(**{name: True}) != SessionListKey()


@pytest.mark.parametrize(
    "fields",
    [
        {"profile": "work"},
        {"source_filter": "cli"},
        {"sidebar_source": "cli"},
        {"archived_limit": 0},
        {"archived_offset": 1},
        {"extra": (("density", "compact"),)},
    ],
)
def test_each_field_makes_another_view(fields: dict[str, Any]) -> None:
    """K1"""
    assert key(**fields) != SessionListKey()


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(("given", "kept"), [(1, True), ("yes", True), (0, False), ("", False), (None, False)])
def test_flags_become_bool(name: str, given: object, *, kept: bool) -> None:
    """K2"""
    view = key(**{name: given})

    assert getattr(view, name) is kept
    assert view == key(**{name: kept})


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (5, 5),
        (5.9, 5),
        ("7", 7),
        (" 7 ", 7),
        (0, 0),
        (-3, 0),
        (-0.5, 0),
        ("-3", 0),
        (True, 1),
        (10**400, 10**400),
        (None, None),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
        ("many", None),
        ("", None),
        ([], None),
    ],
)
def test_an_archived_page_is_a_whole_number_of_at_least_0(given: object, limit: int | None) -> None:
    """K2"""
    view = key(archived_limit=given, archived_offset=given)

    assert (view.archived_limit, view.archived_offset) == (limit, limit or 0)
    assert type(view.archived_offset) is int


@pytest.mark.parametrize("name", ["source_filter", "sidebar_source"])
@pytest.mark.parametrize("blank", [None, "", "  ", "\t\n"])
def test_a_blank_filter_is_none(name: str, blank: str | None) -> None:
    """K2"""
    assert key(**{name: blank}) == SessionListKey()


@pytest.mark.parametrize("name", ["profile", "source_filter", "sidebar_source"])
def test_a_text_field_that_is_no_text_is_refused_by_name(name: str) -> None:
    """K2"""
    with pytest.raises(TypeError, match=f"{name} is 7; it must be a str or None"):
        key(**{name: 7})


def test_extra_fields_are_sorted_by_name() -> None:
    """K2"""
    one = SessionListKey(extra=(("b", 1), ("a", 2)))
    other = key(extra={"a": 2, "b": 1})

    assert one == other
    assert one.extra == (("a", 2), ("b", 1))


@pytest.mark.parametrize("extra", [5, None, "ab", [("a", 1, 2)], [None]])
def test_extra_fields_that_are_no_pairs_are_refused_by_name(extra: Any) -> None:
    """K1"""
    with pytest.raises(TypeError, match=r"^extra is .*; it must be pairs of a name and a value$"):
        SessionListKey(extra=extra)


def test_extra_fields_of_kinds_that_do_not_compare_are_sorted_too() -> None:
    """K2"""
    assert SessionListKey(extra=(("b", "x"), ("a", 2))).extra == (("a", 2), ("b", "x"))


@pytest.mark.parametrize("pairs", [(("a", 1), ("a", 2)), (("a", 1), ("b", 2), ("a", 1))])
def test_a_name_given_twice_is_refused(pairs: tuple[tuple[str, int], ...]) -> None:
    """K2"""
    with pytest.raises(ValueError, match="extra gives 'a' twice"):
        SessionListKey(extra=pairs)


@pytest.mark.parametrize(("pairs", "told"), [((("a", []),), "hashable"), (((1, 2),), "the name 1")])
def test_an_extra_field_that_no_key_can_carry_is_refused(pairs: object, told: str) -> None:
    """K1"""
    with pytest.raises(TypeError, match=told):
        key(extra=pairs)


@pytest.mark.parametrize("missing", [None, "", "  ", "\n"])
def test_a_missing_profile_is_the_default_one(missing: str | None) -> None:
    """K3"""
    assert SessionListKey(missing).profile_name == profile_name(missing) == DEFAULT_PROFILE == "default"


@pytest.mark.parametrize(
    ("profile", "demand"),
    [
        ("a\0b", "free of NUL characters"),
        ("a\ud800", "free of lone surrogates"),
        ("a" * 256, "of at most 255 characters"),
    ],
)
def test_keys_and_events_refuse_the_same_profiles(profile: str, demand: str) -> None:
    """K3"""
    with pytest.raises(ValueError, match=f"^profile is .*; it must be {demand}$"):
        SessionListKey(profile)
    with pytest.raises(ValueError, match=f"^profile is .*; it must be {demand}; nothing was published$"):
        session_list_changed(profile=profile)
    with pytest.raises(ValueError, match=f"^profile is .*; it must be {demand}; nothing was published$"):
        stream_started(stream_id="turn", profile=profile)


@pytest.mark.parametrize("profile", ["a" * 255, f" {'a' * 255} ", "\U0001f600" * 255, "../\n\t\x7f"])
def test_keys_and_events_take_the_same_profiles(profile: str) -> None:
    """K3, K4"""
    assert session_list_changed(profile=profile)["profile"] == profile
    assert SessionListKey(profile).profile_name == profile.strip()


@pytest.mark.parametrize("name", ["source_filter", "sidebar_source", "extra"])
@pytest.mark.parametrize("odd", ["a\0b", "a\ud800", "a" * 10_000])
def test_a_filter_that_no_row_can_match_is_a_view_all_the_same(name: str, odd: str) -> None:
    """K2: an empty list answers it."""
    view = key(**{name: (("view", odd),) if name == "extra" else odd})

    assert pickle.loads(pickle.dumps(view)) == view != SessionListKey()  # noqa: S301  # our own bytes
    assert str(view).encode()


def test_profiles_match_when_they_are_equal_once_normalised() -> None:
    """K4"""
    assert SessionListKey(" work ") == SessionListKey("work")
    assert SessionListKey("Work") != SessionListKey("work")


def test_a_key_is_given_for_another_profile() -> None:
    """K3"""
    view = SessionListKey("kin", show_cron=True)

    canonical = view.with_profile("default")

    assert canonical == SessionListKey(show_cron=True)
    assert canonical.with_profile("default") is canonical


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda view: pickle.loads(pickle.dumps(view))])  # noqa: S301  # our own bytes
def test_copies_and_pickles_are_equal_keys(copied: Any) -> None:
    """K1"""
    view = SessionListKey("work", show_cli=True, archived_limit=3, extra=(("a", 1),))

    twin = copied(view)

    assert twin == view
    assert hash(twin) == hash(view)


def test_a_key_names_what_differs_from_the_default_view() -> None:
    """K1"""
    assert str(SessionListKey()) == "profile default"
    assert str(SessionListKey("work", show_cli=True)) == "profile work with show_cli"


def test_a_key_is_equal_to_no_other_kind_of_value() -> None:
    """K1"""
    assert SessionListKey() != "default"


def test_a_key_is_equal_to_itself() -> None:
    """K1"""
    view = SessionListKey("work")

    same = view.with_profile("work")

    assert same == view
