"""Rule E8: what a version says, and how it is read."""

import pytest

from hermes_cache.bus.feed_versions import FeedVersion


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (FeedVersion("feed", 7), "feed:7"),
        (FeedVersion("feed", 0, "journal", 0), "journal:0:feed:0"),
        (FeedVersion("feed", 7, "a:b", 12), "a:b:12:feed:7"),
        (FeedVersion("feed", 7, "a:b", 12, "life-1:3"), "a:b:12.life-1.3:feed:7"),
    ],
)
def test_a_version_is_read_as_it_was_written(version: FeedVersion, text: str) -> None:
    """E8"""
    assert str(version) == text
    assert FeedVersion.parse(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        ":7",
        "feed:",
        "feed:x",
        "feed:-1",
        "feed:²",
        f"feed:{'9' * 19}",
        "3:feed:7",
        ":3:feed:7",
        "journal:x:feed:7",
        "journal:3::7",
        "journal:3:feed:",
        "journal:3.:feed:7",
        "journal:3.life:feed:7",
        "journal:3.life.x:feed:7",
        "journal:.life.3:feed:7",
        f"journal:3.{'l' * 33}.3:feed:7",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    """E8"""
    with pytest.raises(ValueError, match=r"is no (version|number|mark)"):
        FeedVersion.parse(text)


@pytest.mark.parametrize("mark", ["a:b:3", "ü:3", "a.b:3", "a b:3", f"{'l' * 33}:3", "life:x"])
def test_a_mark_that_would_make_a_version_long_or_odd_is_left_out(mark: str) -> None:
    """E8"""
    assert str(FeedVersion("feed", 7, "journal", 12, mark)) == "journal:12:feed:7"


def test_a_version_stays_below_what_a_gateway_takes() -> None:
    """E8, W6: with names as long as they may be, and with more events than a journal ever has."""
    name, bus, number = "f" * 32, "b" * 64, 10**10 - 1

    assert len(str(FeedVersion(name, number, name, number, f"{bus}/{name}:{number}"))) <= 200
