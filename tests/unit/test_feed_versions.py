"""Rule E8: what a version says, and how it is read."""

import pytest

from hermes_cache.core.feed_versions import FeedVersion


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (FeedVersion("feed", 7), "feed:7"),
        (FeedVersion("feed", 0, "journal", 0), "journal:0:feed:0"),
        (FeedVersion("feed", 7, "a:b", 12), "a:b:12:feed:7"),
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
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    """E8"""
    with pytest.raises(ValueError, match=r"is no (version|number)"):
        FeedVersion.parse(text)
