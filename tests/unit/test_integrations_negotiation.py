"""What a client has and can read."""

import pytest

from hermes_cache.integrations.negotiation import accepted_encodings, has_tag, tag_of


@pytest.mark.parametrize(
    "header", ['"a"', 'W/"a"', '"b", "a"', '"b" ,W/"a",', '"b, c", "a"', "*", " * ", 'junk "a"']
)
@pytest.mark.parametrize("tag", ['"a"', 'W/"a"'])
def test_a_tag_is_found_in_a_list_weak_or_strong(header: str, tag: str) -> None:
    # Proves W1.
    assert has_tag(header, tag)


@pytest.mark.parametrize("header", [None, "", '"b"', "a", '"a', 'W/"b", "c"', '"*"', '"x, "a" y"'])
def test_another_tag_is_not_found(header: str | None) -> None:
    # Proves W1.
    assert not has_tag(header, '"a"')


def test_each_encoding_has_a_tag_of_its_own() -> None:
    # Proves W1, O7: a cache between must not hand a compressed body to a client that cannot read it.
    plain, packed = tag_of("a", "identity"), tag_of("a", "gzip")

    assert (plain, packed) == ('"a"', 'W/"a-gzip"')
    assert not has_tag(packed, plain)
    assert not has_tag(plain, packed)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("br, GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip ; q=0.000", "identity"),
        ("gzip;q=0.001", "gzip"),
        ("br", "identity"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0, identity;q=0.5", "identity"),
        ("identity;q=0", None),
        ("identity;q=0, *", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0, gzip;q=0", None),
        ("gzip;q=0.5, identity;q=0.9", "identity"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip;q=0, *", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=-1", "identity"),
        ("gzip;level=9", "identity"),
        (",,;q=1,", "identity"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0.5, gzip;q=0.1, identity;q=0.9", "identity"),
        ("identity;q=0, zstd", "zstd"),
    ],
)
def test_the_encoding_is_one_that_the_client_can_read(header: str | None, encoding: str | None) -> None:
    # Proves W1.
    assert next(iter(accepted_encodings(header)), None) == encoding
