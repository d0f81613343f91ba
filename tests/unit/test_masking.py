"""Proves rule X12 for single texts: known secrets are masked, what only looks like one is not."""

import pytest

from hermes_cache.stores.masking import mask, mask_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my token is ghp_TestFakeCredential1234567890ab bye", "my token is ghp_Te...90ab bye"),
        ("sk-TestFakeOpenAIKey1234567890abcdef", "sk-Tes...cdef"),
        ("sk-ant-api03-abcdefghijklmnop-qrst_uvwx.", "sk-ant...uvwx."),
        ("(github_pat_11ABCDEFG0abcdefghij_klmnop)", "(github...mnop)"),
        ("see AKIAIOSFODNN7EXAMPLE.", "see AKIAIO...MPLE."),
        ("xoxb-123456789012-abcdefghijkl", "xoxb-1...ijkl"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSy...stuv"),
        ("SG.abcdefghijklmnop.qrstuvwxyz0123456789", "SG.abc...6789"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbG...dXJl"),
        ("sk_live_abcdefghij", "sk_liv...ghij"),
        ("hf_abcdefghij", "***"),
        ("ghs_abcdefghij0123456789-and-more-of-it", "ghs_ab...f-it"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "Authorization: Bearer abcdef...wxyz"),
        ("authorization: bearer xyz", "authorization: bearer ***"),
        ("Bearer abcdefghij1234567890abc", "Bearer abcdef...0abc"),
        ("password=hunter2, then", "password=***, then"),
        ("PASSWORD = correct", "PASSWORD = ***"),
        ("OPENAI_API_KEY=abcdefghijklmnopqrstuvwx", "OPENAI_API_KEY=abcdef...uvwx"),
        ("API_KEY_PROD = abcdefgh", "API_KEY_PROD = ***"),
        ("SECRET_2=foo", "SECRET_2=***"),
        ("clientSecret=foo", "clientSecret=***"),
        ("token=abc123", "token=***"),
        ("?key=AbC123xyz&page=2", "?key=***&page=2"),
        ("password: hunter2", "password: ***"),
        ("password: correcthorse", "password: ***"),
        ('api_key: "abcdefgh12345678901', 'api_key: "abcdef...8901'),
        ('{"apiKey": "two words"}', '{"apiKey": "***"}'),
        ("{'API_KEY': 'opaque-value'}", "{'API_KEY': '***'}"),
        ("x-api-key: abcdefgh12345", "x-api-key: ***"),
        ("https://user:pass@host/x", "https://user:***@host/x"),
        ("https://abcdefghijklmnopqrst@github.com/x", "https://abcdef...qrst@github.com/x"),
        (f"https://{'u' * 17}:{'p' * 250}@host", f"https://{'u' * 17}:***@host"),
        ("postgres://u:p/w@h/db", "postgres://u:***@h/db"),
        ("https://x-access-token:ghs_abcdefghijklmnopqrst@github.com", "https://x-access-token:***@github.com"),
        ("bot123456789:AAEhBOweik6ad9r_QXMENQjcrbGa32kcrSo", "bot123456789:***"),
        ("call +14155552671 now", "call +141****2671 now"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "[REDACTED PRIVATE KEY] end"),
        ("-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNza", "[REDACTED PRIVATE KEY]"),
    ],
)  # fmt: skip
def test_a_known_secret_is_masked(text: str, expected: str) -> None:
    """X12"""
    assert mask(text) == expected
    assert mask(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "Fix the importer", "risk-assessment-of-the-project", "task-list", "sk-learn pipeline",
        "ghp_ tokens", "hf_transformers_tutorial", "npm_config_registry", "the key to success",
        "password reset", "key=value", "sort key=created_at", "token=100", "max_tokens=128000",
        "monkey=banana1", "keyboard=qwerty123", "author=Smith1999", "tokenizer: cl100k_base",
        "Secretary: J.Smith2", "if token == value2:", "C++1234567", "Password: how to choose one",
        "secret: santa plans", "Authorization: required for admins", "eyJ is base64",
        "-----BEGIN CERTIFICATE-----", "ssh://git@github.com/x", "https://host:8080/p?x=a@b", "at 10:30: a b1",
        "https://medium.com/@user/x", "api_key=$API_KEY", "key=os.getenv('K3Y')", "token=<your-token>",
        "bearer of news", "2026-11-28 12:00:00", "password=***", "api_key=abcdef...wxyz", "AKIA",
        "commit 2eeaa3b0f1", "a=b", "x := y1",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    """X12"""
    assert mask(text) == text


@pytest.mark.parametrize("sign", ["\x00", "\u200b", "\u202e", "\u2066", "\xad", "\ufeff", "\x1b"])
def test_signs_that_nobody_sees_hide_no_secret(sign: str) -> None:
    """X12: neither within the beginning nor within the rest."""
    text = f"use s{sign}k-TestFakeOpenAI{sign}Key1234567890{sign}abcdef"

    assert mask(text) == "use sk-Tes...cdef"
    assert mask(f"left{sign}right") == f"left{sign}right"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/user/shop", "/home/user/shop"),
        ("/srv/sk-TestFakeOpenAIKey1234567890abcdef", "/srv/sk-TestFakeOpenAIKey1234567890abcdef"),
        ("/srv/token=abcdef123456/repo", "/srv/token=***/repo"),
        ("ssh://me:hunter2@host/repo", "ssh://me:***@host/repo"),
        ("/home/me@work/key=value", "/home/me@work/key=value"),
    ],
)
def test_of_a_path_only_userinfo_and_named_values_are_masked(path: str, expected: str) -> None:
    """X12"""
    assert mask_path(path) == expected


_LARGE = 2**20


@pytest.mark.parametrize(
    "unit",
    [
        "a", "a ", "A:", "A=1", "= ", "sk-", "-", "_", ":", "=", "password=", "password='", 'password="', "key:", "://",
        "redis://a:", "https://a:b@", "eyJ", "ghp_", "1", "12345678:", "+1", "-----BEGIN A-----", "A_", "aA",
        "bearer ", "\x00", ".", "authorization: ", "gAAAA", "\u200bs", "token.", "$", "AKIA",
        "0123456789abcdef0123456789abcdef.",
    ],
)  # fmt: skip
def test_a_text_of_a_megabyte_takes_no_longer_than_its_length_asks(unit: str) -> None:
    """X12: a form that goes over the same signs again and again takes hours; the suite's time limit ends it."""
    text = unit * (_LARGE // len(unit))

    assert mask(text)
    assert mask_path(text)
