"""Makes sample transcripts of Claude Code, the same for the same seed, and writes on in one of them.

For demos, tests and benchmarks. The records are of the kinds that real transcripts hold: a summary, questions,
answers with uses of tools, what the tools returned, subagents' turns. Source: rule X11.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import time
from typing import Final

import orjson

_FOLDERS: Final = 40
_SPREAD_S: Final = 60 * 86_400.0
_TURN_S: Final = 20.0
_TASKS: Final = (
    "Fix the importer that drops the last line", "Plan the move to the new parser", "Explain how the retry works",
    "Why is the nightly report empty?", "Rename the settings page", "Escribe una prueba para el calendario",
)  # fmt: skip
_TEXT: Final = "The function reads the file line by line and keeps what it needs; a broken line is passed over. "
_SUMMARY_CHANCE: Final = 0.3
_TOOL_CHANCE: Final = 0.4
_SIDE_CHANCE: Final = 0.05


def make_transcripts(
    path: str | Path, *, sessions: int = 100, size_bytes: int = 2**20, seed: int = 0, now_s: float | None = None
) -> list[Path]:
    """Make transcripts in a folder of projects that is empty or not there yet.

    Args:
        path: The folder of the projects.
        sessions: How many transcripts.
        size_bytes: About how large they are in all; a few are much larger than the others.
        seed: Says which.
        now_s: The moment that all times lead up to, in epoch seconds; None for the present moment.

    Returns:
        The transcripts, oldest first.

    Raises:
        FileExistsError: The folder is not empty.
    """
    root = Path(path).absolute()
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty; name a new folder for the sample transcripts")
    random = Random(f"{seed}/claude_code")  # noqa: S311 - a sample needs no cryptography
    now = time() if now_s is None else now_s
    weights = [random.paretovariate(2.0) for _ in range(sessions)]
    made: list[Path] = []
    for number, weight in enumerate(weights):
        folder = root / f"-home-user-project-{number % _FOLDERS:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        began_s = now - _SPREAD_S * (sessions - number) / (sessions + 1)
        file = folder / f"{random.getrandbits(128):032x}.jsonl"
        file.write_bytes(b"".join(_lines(file, began_s, int(size_bytes * weight / sum(weights)), random)))
        made.append(file)
    return made


def append_message(path: Path, text: str, *, role: str = "user", at_s: float | None = None) -> None:
    """Write one more record to a transcript, as the agent does.

    Args:
        path: The transcript.
        text: What is said.
        role: The role of its author: `user` or `assistant`.
        at_s: When, in epoch seconds; None for the present moment.
    """
    with path.open("ab") as file:
        file.write(_record(path, role, [{"type": "text", "text": text}], time() if at_s is None else at_s))


def _lines(file: Path, began_s: float, size_bytes: int, random: Random) -> Iterator[bytes]:
    left = size_bytes
    if random.random() < _SUMMARY_CHANCE:
        summary = {"type": "summary", "summary": f"{random.choice(_TASKS)} ({random.randrange(100)})"}
        yield orjson.dumps(summary) + b"\n"
    yield _record(file, "user", random.choice(_TASKS), began_s)
    turn = 0
    while left > 0:
        turn += 1
        line = _turn(file, turn, began_s + _TURN_S * turn, random)
        left -= len(line)
        yield line


def _turn(file: Path, turn: int, at_s: float, random: Random) -> bytes:
    side = random.random() < _SIDE_CHANCE
    if turn % 2:
        parts: list[object] = [{"type": "text", "text": _TEXT * random.randrange(1, 40)}]
        if random.random() < _TOOL_CHANCE:
            parts = [{"type": "tool_use", "id": f"t{turn}", "name": "Read", "input": {"file_path": f"{turn}.py"}}]
        return _record(file, "assistant", parts, at_s, side=side)
    result = {"type": "tool_result", "tool_use_id": f"t{turn - 1}", "content": _TEXT * random.randrange(1, 60)}
    return _record(file, "user", [result], at_s, side=side)


def _record(file: Path, role: str, content: object, at_s: float, *, side: bool = False) -> bytes:
    moment = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {
        "parentUuid": None,
        "isSidechain": side,
        "cwd": f"/home/user/{file.parent.name[-10:]}",
        "sessionId": file.stem,
        "version": "2.0.14",
        "gitBranch": "main",
        "type": role,
        "message": {"role": role, "content": content},
        "timestamp": moment,
    }
    return orjson.dumps(record) + b"\n"
