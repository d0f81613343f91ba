"""A finding: one thing that is wrong, or that could be better, and what to do about it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Subject: TypeAlias = Literal["environment", "home", "journal", "policy"]
"""What a finding is about. The environment is this machine, its user and its Python."""

Gravity: TypeAlias = Literal["wrong", "hint"]
"""Whether something does not work or is in danger, or works worse than it could."""

SUBJECTS: Final[tuple[Subject, ...]] = get_args(Subject)
"""The order in which findings are printed."""

GRAVITIES: Final[tuple[Gravity, ...]] = get_args(Gravity)
"""What is wrong comes first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        subject: What it is about.
        gravity: How bad it is.
        name: Its name, which does not change with the data.
        what: What is so, in words.
        todo: What to do about it, in words.
    """

    subject: Subject
    gravity: Gravity
    name: str
    what: str
    todo: str

    @property
    def sentence(self) -> str:
        """Both in one sentence."""
        return f"{self.what}; {self.todo}"
