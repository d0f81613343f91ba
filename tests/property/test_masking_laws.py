"""Laws of masking (X12), over secrets and texts that are made up."""

import string
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.stores import masking
from hermes_cache.stores.masking import mask

_WORDS = string.ascii_letters + string.digits
_SIGNS = _WORDS + "_-"
_WORD_FORMS = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "hf_", "npm_", "gsk_", "r8_", "dop_v1_", "sk_live_", "sk_test_",
    "rk_live_", "pplx-", "tvly-", "hsk-",
)  # fmt: skip
_SIGN_FORMS = (
    "sk-", "sk-proj-", "github_pat_", "pypi-", "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "SG.", "glpat-",
)  # fmt: skip
_NAMED_FORMS = (
    "OPENAI_API_KEY=", "password=", "secret=", "token=", "key=", 'api_key: "', "Authorization: Bearer ",
)  # fmt: skip
_CONTEXTS = (
    "{}", "use {} here", "key is {}.", "({})", "`{}`", "fix {}, then", "a\n{}\nb", "日本 {} 語", "\u202e{}\x00!",
)  # fmt: skip
_FRAGMENTS = (
    *_WORD_FORMS, *_SIGN_FORMS, *_NAMED_FORMS, "AKIA", "AIza", "eyJ", "-----BEGIN X KEY-----", "://", "@", ":",
    "=", "+1", "\x00", "\u200b", " ", '"', "'", "\n", "abcdef", "0123456789", "ABCDEFGH", ".", "_", "-", "bearer",
    "pw", "\\", "KEY", "Secret", "_2", "_PROD", " = ", "***", "...",
)  # fmt: skip
_MAKERS: tuple[Callable[[Random], str], ...] = (
    lambda random: random.choice(_WORD_FORMS) + _some(random, _WORDS, 20, 60),
    lambda random: random.choice(_SIGN_FORMS) + _some(random, _SIGNS, 20, 90),
    lambda random: f"{random.choice(_NAMED_FORMS)}a1B{_some(random, _WORDS + '+/', 20, 40)}",
    lambda random: "AKIA" + _some(random, string.ascii_uppercase + string.digits, 16, 16),
    lambda random: ".".join(
        ("eyJ" + _some(random, _SIGNS, 20, 40), *(_some(random, _SIGNS, 20, 80) for _ in "ab"))
    ),
    lambda random: f"https://me:{_some(random, _WORDS, 20, 30)}@host/x",
    lambda random: f"{random.randrange(10**8, 10**10)}:{_some(random, _SIGNS, 30, 40)}",
)


def _some(random: Random, signs: str, least: int, most: int) -> str:
    return "".join(random.choices(signs, k=random.randint(least, most)))


@pytest.mark.parametrize("seed", range(5))
def test_of_a_random_secret_only_its_ends_are_left(seed: int) -> None:
    random = Random(seed)
    for _ in range(200):
        secret = random.choice(_MAKERS)(random)
        text = random.choice(_CONTEXTS).format(secret)

        masked = mask(text)

        windows = {secret[start : start + 12] for start in range(len(secret) - 11)}
        kept = [window for window in windows if window in masked and not _is_public(window, secret)]
        assert kept == [], (text, masked)
        assert mask(masked) == masked


def _is_public(window: str, secret: str) -> bool:
    """Say whether a piece is of what stands in front of the secret, and the 6 signs that may be seen of it."""
    heads = (*_NAMED_FORMS, "https://me:", "@host/x")
    return any(window in f"{head}{secret[len(head) : len(head) + 6]}" for head in heads if head in secret)


@given(st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=4), max_size=14).map("".join))
def test_masked_text_is_masked_to_itself_and_the_first_look_overlooks_nothing(text: str) -> None:
    bare = masking._UNSEEN.pattern.sub("", text)

    masked = mask(text)

    assert mask(masked) == masked
    assert masked == (text if (found := masking._masked(bare, masking._FORMS)) == bare else found)
