"""Masks secrets in text that leaves the process: titles, previews, free text and paths.

The known forms are those that the front end masks: tokens with known beginnings, values behind names such as
`password=`, what stands in `Authorization:` headers, userinfo in URLs, private keys, web tokens, bot tokens and
phone numbers. Of a value of 18 signs or more the first 6 and the last 4 stay, the rest becomes `...`; a shorter
value becomes `***`. Masked text is masked to itself. Mask a text before it is cut or compared: half a token has no
known form.

How it works: one expression (`_HINT`) looks for the signs that a secret cannot do without, and most texts
end there. Each form then has one expression, whose time is proportional to the text, also for texts that were made
to be slow. No I/O here. Source: rule X12.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Final, TypeAlias


class _Expression:
    """A regular expression that is compiled at its first use: all of them take 25 ms, and few processes mask.

    Args:
        text: The expression.
        flags: As for `re.compile`.
    """

    def __init__(self, text: str, flags: int = 0) -> None:
        self._text = text
        self._flags = flags

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled expression."""
        return re.compile(self._text, self._flags)


_Form: TypeAlias = tuple[_Expression, str | Callable[[re.Match[str]], str]]

_SHORTEST_SHOWN: Final = 18
"""Of a shorter value, 10 signs would tell too much."""

_WORDS: Final = "A-Za-z0-9"
_SIGNS: Final = "A-Za-z0-9_-"
_BEGINS: Final = rf"(?:(?<![{_SIGNS}])|(?<=\\[nrt]))"
"""A token begins in no word's middle; behind an escaped line break it begins all the same."""

_WORD_TOKENS: Final = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "hf_", "npm_", "gsk_", "r8_", "dop_v1_", "doo_v1_", "sk_live_",
    "sk_test_", "rk_live_", "rk_test_", "exa_", "syt_", "retaindb_", "mem0_", "brv_", "ntn_", "pplx-", "tvly-",
    "hsk-", "fc-",
)  # fmt: skip
"""Followed by at least 10 letters and digits."""

_SIGN_TOKENS: Final = (
    "github_pat_", "fal_", "bb_live_", "pypi-", "xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "xoxe-", "glpat-",
    "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-", "glffct-",
    "glwt-", "SG.",
)  # fmt: skip
"""Followed by at least 10 letters, digits, `_` and `-`."""

_LONG_TOKENS: Final = ("xai-", "fw-", "fw_", "fpk_")
"""Followed by at least 30 of the same; they are words, too."""


def mask(text: str) -> str:
    """Return the text with its secrets masked; a text without one comes back as it is.

    Signs that nobody sees (controls, zero-width, bidi) may split a token. They are looked through: if a secret is
    found, the masked text has none of them.
    """
    if text.isprintable():
        return _masked(text, _FORMS) if _HINT.pattern.search(text) else text
    bare = _UNSEEN.pattern.sub("", text)
    if not _HINT.pattern.search(bare):
        return text
    masked = _masked(bare, _FORMS)
    return text if masked == bare else masked


def mask_path(path: str) -> str:
    """Return the path with its userinfo and the values of its `key=value` parts masked, and nothing else."""
    return _masked(path, _PATH_FORMS) if "=" in path or "@" in path else path


def _masked(text: str, forms: Iterable[_Form]) -> str:
    for expression, replacement in forms:
        text = expression.pattern.sub(replacement, text)
    return text


def _shown(secret: str) -> str:
    return f"{secret[:6]}...{secret[-4:]}" if len(secret) >= _SHORTEST_SHOWN else "***"


def _token(match: re.Match[str]) -> str:
    return _shown(match[0])


def _bearer(match: re.Match[str]) -> str:
    return match["head"] + _shown(match["value"])


def _phone(match: re.Match[str]) -> str:
    number = match[0]
    kept = 4 if len(number) > 8 else 2  # noqa: PLR2004 - of 8 signs, 4 at each end would be all
    return f"{number[:kept]}****{number[-kept:]}"


def _userinfo(match: re.Match[str]) -> str:
    user = match["user"]
    if match["password"] is not None:
        return f"//{_shown(user) if len(user) >= _SHORTEST_SHOWN else user}:***@"
    is_a_name = len(user) < 8 or _is_masked(user)  # noqa: PLR2004 - `git@` and its like
    return match[0] if is_a_name else f"//{_shown(user)}@"


def _authorization(match: re.Match[str]) -> str:
    value = match["value"]
    if _is_masked(value) or not (match["scheme"] or _is_opaque(value)):
        return match[0]
    return f"{match['head']}{match['scheme'] or ''}{_shown(value)}"


def _assignment(match: re.Match[str]) -> str:
    value = match["quoted"] or match["bare"]
    kept = value if match["quoted"] else value.rstrip(".,;:!?)]}>")
    if not kept or _is_masked(kept) or not _is_name(match) or not _is_secret(match, kept):
        return match[0]
    start, end = match.span("quoted" if match["quoted"] else "bare")
    before, after = match.string[match.start() : start], match.string[end : match.end()]
    return f"{before}{_shown(kept)}{value[len(kept) :]}{after}"


def _is_name(match: re.Match[str]) -> bool:
    """Say whether the name stands for itself in the word that it ends: in `clientSecret`, not in `monkey`."""
    before = match.string[max(0, match.start() - 1) : match.start()]
    if not before.isalpha() or (before.islower() and match["name"][0].isupper()):
        return True
    return before.isupper() and match["name"].isupper()


def _is_secret(match: re.Match[str], value: str) -> bool:
    """Say whether the value behind a secret's name is one; weak names such as `key` have other values, too."""
    name, suffix = match["name"], match["suffix"]
    if _REFERENCE.pattern.fullmatch(value) and not (value[0] == "$" and _PASSWORD.pattern.fullmatch(name)):
        return False
    is_qualified = suffix.strip("_-0123456789") and not (name + suffix).isupper()
    if is_qualified or _WEAK.pattern.fullmatch(name):
        return _is_opaque(value)
    if ":" not in match["sign"] or match["quote"] or match["open"] or _is_opaque(value):
        return True
    # In prose a colon may stand behind the word: only a single word until the line's end is a value.
    return match.end() == len(match.string) or match.string[match.end()] in "\r\n"


def _is_opaque(value: str) -> bool:
    if len(value) >= 16:  # noqa: PLR2004 - longer than nearly all words
        return not value.isdigit()
    return len(value) >= 6 and _MIXED.pattern.search(value) is not None  # noqa: PLR2004 - `v2`, `x86`, `3.11b`


def _is_masked(value: str) -> bool:
    return _MASKED.pattern.fullmatch(value) is not None


_UNSEEN: Final = _Expression(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_MIXED: Final = _Expression(r"(?=\D*\d)[^a-zA-Z]*[a-zA-Z]|[a-z][A-Z]")
_MASKED: Final = _Expression(r"\*{3}.*|.{6}\.{3}.{4}")
_REFERENCE: Final = _Expression(
    r"\$\{?[A-Za-z_]\w*\}?|\$\(.*|<[\w .-]*>?|\{\{?[\w .]*\}?\}?|(?:os\.(?:getenv|environ)|process\.env|\$ENV\{).*"
)
"""What names a value and is none."""

_PASSWORD: Final = _Expression(r"pass\w*|pwd?", re.IGNORECASE)
_WEAK: Final = _Expression(r"key|token|auth|sig|signature|jwt|id[ _.-]?token", re.IGNORECASE)
"""Also the names of sort keys, of counts of tokens, of ways to sign in."""

_NAME: Final = (
    r"(?:api|auth|access|refresh|session|client|private|secret|signing|encryption|bearer|id)[ _.-]?"
    r"(?:key|token|secret)"
    r"|key|token|secrets?|passw(?:or)?ds?|passphrase|pass|pwd?|credentials?|auth|bearer|signature|sig|jwt"
)
_SUFFIX: Final = r"(?-i:[_-][A-Z0-9_-]{1,32}|\d{1,4})?"
_SIGN: Final = r"(?:\\{0,4}[\"'])?\]?[ \t]{0,4}(?::=|=>|=(?!=)|:)[ \t]{0,4}"
_QUOTED: Final = r"(?P<quote>\\{0,4}[\"'])(?P<quoted>[^\"'\n\\]+)(?P=quote)"
_OPEN: Final = r"(?P<open>\\{0,4}[\"']|)"
"""A text that was cut has a quote that nothing closes."""


def _assignments(bare: str) -> _Expression:
    """Compile `name=value` and `name: value`; a value in no quotes is made of `bare`."""
    name = rf"(?P<name>{_NAME})(?P<suffix>{_SUFFIX})(?P<sign>{_SIGN})"
    return _Expression(rf"{name}(?:{_QUOTED}|{_OPEN}(?P<bare>{bare}))", re.IGNORECASE)


def _either(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words))


_PRIVATE_KEY: Final = _Expression(
    # To the end of a text that was cut before the block's end.
    r"-----BEGIN (?!CERTIFICATE|PUBLIC)[A-Z0-9 ]{1,64}-----(?s:.*?)(?:-----END [A-Z0-9 ]{1,64}-----|\Z)"
)
_TOKEN: Final = _Expression(
    rf"{_BEGINS}(?:"
    rf"sk-[{_SIGNS}](?:\.?[{_SIGNS}]){{9,}}+"
    rf"|(?:{_either(_WORD_TOKENS)})"
    # A name such as `hf_transformers_tutorial` goes on, and has neither a digit nor a capital.
    rf"(?:[{_WORDS}]{{10,}}+(?![{_SIGNS}])|(?=[a-z]*+[A-Z0-9])[{_WORDS}]{{10,}}[{_SIGNS}]*+)"
    rf"|(?:{_either(_SIGN_TOKENS)}|xapp-\d{{1,2}}-|GR1348941)[{_SIGNS}]{{10,}}+(?:\.[{_SIGNS}]++)*+"
    rf"|sk_(?=[A-Za-z_]*+\d)[{_SIGNS}]{{10,}}+"
    rf"|am_(?:org_)?(?=[A-Za-z]*+\d)[{_WORDS}]{{20,}}+"
    rf"|(?:{_either(_LONG_TOKENS)}|AIza)[{_SIGNS}]{{30,}}+"
    rf"|ASIA[A-Z0-9]{{16}}"
    rf"|gAAAA[={_SIGNS}]{{20,}}+"
    rf"|[0-9a-f]{{32}}\.[{_WORDS}]{{16,}}+"
    rf")|AKIA[A-Z0-9]{{16}}|eyJ[{_SIGNS}]{{10,}}+(?:\.[={_SIGNS}]{{4,}}+){{0,4}}"
)
_AUTHORIZATION: Final = _Expression(
    r"(?P<head>authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?)"
    r"(?P<scheme>(?:bearer|basic|bot|token|digest|negotiate|apikey)[ \t]{1,4})?(?P<value>[^\s\"',]+)",
    re.IGNORECASE,
)
_BEARER: Final = _Expression(
    r"(?<![A-Za-z])(?P<head>bearer[ \t]{1,4})(?P<value>(?=[A-Za-z._~+/-]*\d)[\w.~+/-]{20,}=*)", re.IGNORECASE
)
_BOT_TOKEN: Final = _Expression(r"(?<!\d)(\d{8,16}:)[-\w]{30,}+", re.ASCII)
_DATABASE: Final = _Expression(
    r"((?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?)(?:\+\w{1,16})?://[^:\s/@]{0,256}:)[^@\s]{1,256}@",
    re.IGNORECASE,
)
_USERINFO: Final = _Expression(
    r"(?<=:)//(?P<user>[^\s:@/?#]{1,256})(?::(?P<password>[^\s@/?#]{0,256}(?:@[^\s@/?#]{1,256})*))?@"
)
_PHONE: Final = _Expression(rf"(?<![\d+])\+[1-9]\d{{6,14}}(?![{_WORDS}])", re.ASCII)

_FORMS: Final[tuple[_Form, ...]] = (
    (_PRIVATE_KEY, "[REDACTED PRIVATE KEY]"),
    (_TOKEN, _token),
    (_AUTHORIZATION, _authorization),
    (_BEARER, _bearer),
    (_BOT_TOKEN, r"\1***"),
    (_DATABASE, r"\1***@"),
    (_USERINFO, _userinfo),
    (_assignments(r"[^\s&\"'`]+"), _assignment),
    (_PHONE, _phone),
)
_PATH_FORMS: Final[tuple[_Form, ...]] = (
    (_DATABASE, r"\1***@"),
    (_USERINFO, _userinfo),
    (_assignments(r"[^\s&\"'/]+"), _assignment),
)


def _behind_beginnings(sign: str) -> str:
    """Return what is true behind the beginnings that end with a sign; an expression looks back by fixed widths."""
    words = (*_WORD_TOKENS, *_SIGN_TOKENS, *_LONG_TOKENS, "sk-", "sk_", "am_", "am_org_")
    ending = [word for word in words if word.endswith(sign)]
    alike = [[word for word in ending if len(word) == width] for width in sorted(set(map(len, ending)))]
    return "|".join(f"(?<={_either(words)})" for words in alike)


def _behind_names() -> str:
    """Return what is true behind a secret's name, what may close it (a quote, a blank), and `=` or a colon."""
    names = ("pw", "key|ken|ret|ord|swd|ass|ase|pwd|ial|uth|rer|ure|sig|jwt|ets|rds|als", "authorization")
    closers = ("", r"[\"' \]]", r"[\\\"'][\"' \]]")
    behind = "|".join(f"(?<=(?i:{name}){closer}[:=])" for name in names for closer in closers)
    return rf"(?<=[ydnNYDTtsSeElLhHrRgGwW\"' \]][:=])(?:{behind})"


_HINT: Final = _Expression(
    rf"-(?:(?=[.{_SIGNS}]{{9}})(?:{_behind_beginnings('-')}|(?<=xapp-\d-)|(?<=xapp-\d\d-))|(?=BEGIN )(?<=-----))"
    rf"|_(?=[{_SIGNS}]{{10}})(?:{_behind_beginnings('_')})"
    rf"|\.(?=[{_SIGNS}]{{10}})(?:{_behind_beginnings('.')}|(?<=[0-9a-f]{{32}}\.))"
    r"|K(?=IA)(?<=AK)|z(?<=AIz)|J(?<=eyJ)|A(?=AAA)|S(?=IA)(?<=AS)|G(?=R1348941)|[bB](?=(?i:earer[ \t]))"
    r"|\+(?=[1-9]\d{6})"
    r"|:(?:(?=//[^\s@]{1,513}@)|(?=[-\w]{30})(?<=\d{8}:))"
    rf"|[:=](?=[ \t=>]{{0,8}}\S)"
    rf"(?:{_behind_names()}|(?<=[A-Z0-9_-][:=])(?=\d{{0,64}}[^\s\d]|\s\S{{0,64}}\d)|(?<=[A-Z0-9_] =))"
)
"""Finds something in every text that a form changes, and in few others; the first sign decides nearly always."""
