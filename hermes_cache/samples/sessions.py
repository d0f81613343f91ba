"""The sessions of a sample home, made from a seed, with no I/O.

The mix is that of the homes that users report: mostly cron runs, few ended sessions, some continuation chains,
delegates, parents that do not exist, and one pair in which each is the ancestor of the other. Source: rule X9.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

SPREAD_S: Final = 60 * 86_400.0
"""The homes that users report go back about two months."""

CRON_JOBS: Final = tuple(f"job_{number:02d}" for number in range(12))

_SHARES: Final = {
    "cron": 45, "webui": 20, "cli": 15, "telegram": 7, "discord": 4, "subagent": 4, "slack": 2, "webhook": 2,
    "kanban": 1,
}  # fmt: skip
_MESSAGING: Final = frozenset({"telegram", "discord", "slack"})
_CHAINED: Final = frozenset({"cli", "webui", "telegram"})
_CHAIN_CHANCE: Final = 0.08
_DANGLING_EVERY: Final = 97
_VERBS: Final = ("Fix", "Plan", "Review", "Explain", "Draft", "Debug", "Compare", "Summarise", "Port", "Test")
_OBJECTS: Final = (
    "the importer", "a trip to Lisbon", "the nightly report", "the parser", "my inbox", "the billing page",
    "a recipe", "the release notes", "the garden plan", "the flaky suite", "una migración", "ein Gedicht",
)  # fmt: skip
_MODELS: Final = (("claude-sonnet-4", "anthropic"), ("gpt-5", "openai"), ("hermes-4-405b", "nous"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSession:
    """One session as the agent keeps it; the names are those of its columns."""

    id: str
    source: str
    started_at: float
    title: str | None = None
    parent_session_id: str | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    message_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    billing_provider: str = ""
    model_config: str | None = None
    cwd: str | None = None
    estimated_cost_usd: float | None = None
    user_id: str | None = None
    chat_id: str | None = None
    chat_type: str | None = None
    display_name: str | None = None
    session_key: str | None = None
    archived: int = 0
    hidden: int = 0
    last_activity_at: float | None = None

    @property
    def last_message_at(self) -> float:
        """When its last message was written; the start of the session if it has no message."""
        return self.started_at + 7.0 * self.message_count


def sample_sessions(
    count: int, messages: int, *, profile: str, random: Random, now_s: float
) -> list[SampleSession]:
    """Make the sessions of one profile, oldest first.

    Args:
        count: The number of sessions.
        messages: The number of messages in all of them.
    """
    lengths = _lengths(count, messages, random)
    sessions: dict[str, SampleSession] = {}
    newest: dict[str, str] = {}
    for number, length in enumerate(lengths):
        started_s = now_s - SPREAD_S * (count - number) / (count + 1) - 7.0 * length
        session = _session(number, started_s, length, profile=profile, random=random)
        for linked in _linked(number, session, sessions.get(newest.get(session.source, "")), random):
            sessions[linked.id] = linked
        newest[session.source] = session.id
    return _with_a_cycle(list(sessions.values()))


def _lengths(count: int, messages: int, random: Random) -> list[int]:
    weights = [random.paretovariate(1.5) if random.random() > 0.05 else 0.0 for _ in range(count)]  # noqa: PLR2004 - one in twenty never got a message
    total = sum(weights) or 1.0
    lengths = [int(messages * weight / total) for weight in weights]
    for number in range(messages - sum(lengths)):
        lengths[number % count] += 1
    return lengths


def _session(number: int, started_s: float, length: int, *, profile: str, random: Random) -> SampleSession:
    source = random.choices(tuple(_SHARES), weights=tuple(_SHARES.values()))[0]
    model, provider = random.choice(_MODELS)
    title = f"{random.choice(_VERBS)} {random.choice(_OBJECTS)} {number}"
    session = SampleSession(
        id=_id(source, number, started_s, random),
        source=source,
        started_at=started_s,
        title=None if source == "cron" or random.random() < 0.1 else title,  # noqa: PLR2004 - one in ten untitled
        message_count=length,
        input_tokens=length * random.randrange(200, 2_000),
        output_tokens=length * random.randrange(20, 400),
        model=model,
        billing_provider=provider,
        model_config=f'{{"model":"{model}","max_tokens":32000,"temperature":0.7,"reasoning_effort":"medium"}}',
        cwd=f"/home/user/{random.choice(('shop', 'notes', 'site'))}" if source == "cli" else None,
        estimated_cost_usd=round(length * random.random() / 50, 6),
        archived=int(random.random() < 0.05),  # noqa: PLR2004 - one in twenty
        hidden=int(random.random() < 0.02),  # noqa: PLR2004 - one in fifty
        last_activity_at=started_s + 7.0 * length,
    )
    return _with_a_peer(session, profile, random) if source in _MESSAGING else session


def _id(source: str, number: int, started_s: float, random: Random) -> str:
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(started_s))
    if source == "cron":
        return f"cron_{CRON_JOBS[number % len(CRON_JOBS)]}_{stamp}"
    if source == "webui":
        return f"{random.getrandbits(28):07x}{number % 2**20:05x}"
    return f"{stamp}_{number % 2**24:06x}"


def _with_a_peer(session: SampleSession, profile: str, random: Random) -> SampleSession:
    peer = random.randrange(8)
    agent = "main" if profile == "default" else profile
    return replace(
        session,
        user_id=f"u{peer}",
        chat_id=f"c{peer}",
        chat_type="dm",
        display_name=f"Peer {peer} on {session.source.title()}",
        session_key=f"agent:{agent}:{session.source}:dm:c{peer}",
    )


def _linked(
    number: int, session: SampleSession, before: SampleSession | None, random: Random
) -> Iterator[SampleSession]:
    if number % _DANGLING_EVERY == _DANGLING_EVERY - 1:
        yield replace(session, parent_session_id=f"gone_{number}")
    elif before is None:
        yield session
    elif session.source == "subagent":
        yield replace(session, parent_session_id=before.id, model_config=f'{{"_delegate_from":"{before.id}"}}')
    elif session.source in _CHAINED and random.random() < _CHAIN_CHANCE and before.started_at < session.started_at:
        yield replace(before, ended_at=session.started_at, end_reason="compression")
        yield replace(session, parent_session_id=before.id)
    else:
        yield session


def _with_a_cycle(sessions: list[SampleSession]) -> list[SampleSession]:
    if len(sessions) < 100:  # noqa: PLR2004 - a small demo stays clean
        return sessions
    first, second, *rest = sessions
    return [replace(first, parent_session_id=second.id), replace(second, parent_session_id=first.id), *rest]
