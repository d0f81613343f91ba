"""The order in which held keys are evicted (P4, W6)."""

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.core.use_order import UseOrder


def order_of(window_s: float, *uses: tuple[str, float]) -> UseOrder:
    order = UseOrder(window_s)
    for key, at_s in uses:
        order.add(key)
        order.use(key, at_s)
    return order


def test_the_least_recently_used_goes_first() -> None:
    # Proves P4.
    order = order_of(0, ("a", 1), ("b", 2), ("a", 3), ("c", 4))

    assert list(order) == ["b", "a", "c"]


def test_what_nobody_has_used_yet_goes_before_all_others() -> None:
    # Proves P4.
    order = order_of(60, ("a", 1))
    order.add("new")

    assert list(order) == ["new", "a"]


def test_what_was_used_once_goes_before_what_was_used_twice() -> None:
    # Proves W6.
    order = order_of(60, ("polled", 1), ("polled", 6), ("odd", 7), ("odder", 8))

    assert list(order) == ["odd", "odder", "polled"]


def test_what_was_used_twice_long_ago_has_no_right_any_more() -> None:
    # Proves W6.
    order = order_of(60, ("left", 1), ("left", 2), ("odd", 50), ("odder", 63))

    assert list(order) == ["left", "odd", "odder"]


def test_two_uses_that_are_far_apart_count_as_one() -> None:
    # Proves W6.
    order = order_of(60, ("rare", 1), ("rare", 62), ("odd", 63))

    assert list(order) == ["rare", "odd"]


def test_many_uses_that_were_counted_together_are_many() -> None:
    # Proves W6: hits are counted when the next message comes.
    order = order_of(60, ("odd", 2))
    order.add("polled")
    order.use("polled", 3, times=2)
    order.use("odder", 4)

    assert list(order) == ["odd", "polled"]


@given(
    uses=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 50)), max_size=40),
    later_s=st.integers(0, 90),
    window_s=st.sampled_from([0, 20, 60]),
)
def test_keys_go_by_their_last_use_but_those_that_are_repeated_go_last(
    uses: list[tuple[str, int]], later_s: int, window_s: int
) -> None:
    # Proves P4, W6.
    order, now_s = UseOrder(window_s), 0
    moments: dict[str, list[int]] = {}
    for key, pause_s in uses:
        now_s += pause_s
        order.add(key)
        order.use(key, now_s)
        moments.setdefault(key, []).append(now_s)
    order.now_s = now_s = now_s + later_s

    def rank(key: str) -> tuple[bool, int]:
        last_s, *before = reversed(moments[key])
        is_again = bool(window_s and before and last_s - before[0] <= window_s)
        return is_again and now_s - last_s <= window_s, last_s

    found = list(map(str, order))
    assert sorted(found) == sorted(moments)
    assert [rank(key) for key in found] == sorted(map(rank, moments))
    assert [rank(str(key)) for key in reversed(order)] == sorted(map(rank, moments), reverse=True)


def test_a_key_that_is_gone_is_not_named() -> None:
    # Proves P4.
    order = order_of(60, ("a", 1), ("a", 2), ("b", 3))

    order.drop("a")
    order.drop("b")

    assert list(order) == []
    assert "a" not in order


def test_a_copy_says_the_same_and_goes_its_own_way() -> None:
    """P4: also of keys that are used again and again"""
    order = UseOrder(60.0)
    for at_s, key in enumerate("abcab"):
        order.add(key)
        order.use(key, float(at_s))

    copied = order.copy()
    assert list(copied) == list(order) == ["c", "a", "b"]

    copied.use("c", 5.0)
    assert list(order) == ["c", "a", "b"]


def test_a_copy_is_made_anew_if_its_order_changes_meanwhile() -> None:
    """P4: any thread may ask which keys are held"""

    class Meddling:
        """A key whose hash changes the order for the first time that it is asked for."""

        meddles = False

        def __hash__(self) -> int:
            if self.meddles:
                self.meddles = False
                order.add("meanwhile")
            return 7

    order, key = UseOrder(0.0), Meddling()
    order.add("other")
    order.add(key)
    key.meddles = True

    assert set(order.copy()) == {"other", "meanwhile", key}
