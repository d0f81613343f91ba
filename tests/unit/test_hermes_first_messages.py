"""Proves rule X13: the beginning of a first message, on one line, with its secrets masked before it is cut."""

import json

import pytest

from hermes_cache.stores.hermes.first_messages import opening_of
from hermes_cache.stores.masking import mask

_PARTS = [{"type": "image_url", "image_url": "data:"}, {"type": "text", "text": "What is this?"}]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("Plan a trip\n\n to  Rome", "Plan a trip to Rome"),
        ("a" * 200, "a" * 80),
        ("\u202eoverride\u200b and\x00 NUL", "override and NUL"),
        ("\x00json:" + json.dumps(_PARTS), "What is this?"),
    ],
)
def test_the_beginning_of_a_message_is_one_line_of_80_signs_that_can_be_seen(content: str, shown: str) -> None:
    opening = opening_of(content.encode())

    assert opening is not None
    assert opening.text == opening.masked == shown


@pytest.mark.parametrize(
    "content",
    [None, b"", b" \n", 7, b"\x00json:[", b'\x00json:[{"text": "half', b'\x00json:[{"text": ' + b"[" * 3_900],
)
def test_what_cannot_be_read_has_no_beginning(content: object) -> None:
    assert opening_of(content) is None


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-" + "A" * 2_700,
        "postgresql://user:" + "p" * 250 + "@host/db and more " * 60,
        "https://" + "u" * 250 + ":" + "p" * 250 + "@host and more " * 60,
        "-----BEGIN PRIVATE KEY-----\n" + "MIIabc/" * 300 + "\n-----END PRIVATE KEY-----",
        "password='" + "Ab1 " * 200 + "'",
        "Authorization: Bearer " + "Ab1." * 500,
    ],
)
def test_a_secret_at_the_end_of_what_is_looked_at_is_masked_as_in_the_whole_text(secret: str) -> None:
    """X12"""
    text = " " * 590 + secret

    opening = opening_of(text.encode()[:4_000])

    assert opening is not None
    assert opening.masked == " ".join(mask(text)[:640].split())[:80].rstrip()
    assert opening.masked != opening.text


def test_a_secret_is_masked_before_the_text_is_cut() -> None:
    """X12"""
    secret = "sk-proj-" + "Ab1" * 20

    opening = opening_of(("x" * 60 + " " + secret).encode())

    assert opening is not None
    assert opening.text.endswith(secret[:19])
    assert secret[:12] not in opening.masked
