"""What a check found, and its remedy."""

import shlex
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    """Nothing needs to be done."""
    WARNING = "warning"
    """Lookalike works, but slower or with less than it could."""
    PROBLEM = "problem"
    """Something that Lookalike needs does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check; `remedy` is a command or a step, None where there is nothing to do.

    `variable` is the environment variable that is malformed, if one is.
    """

    status: Status
    message: str
    remedy: str | None = None
    variable: str | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Returns the finding that `to_json` described."""
        return cls(**{**data, "status": Status(data["status"])})

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as JSON, for another process."""
        return asdict(self)


def ok(message: str, remedy: str | None = None) -> Finding:
    """Returns a finding of which nothing needs to be done; `remedy` says how to get more."""
    return Finding(status=Status.OK, message=message, remedy=remedy)


def warning(message: str, remedy: str | None = None) -> Finding:
    """Returns a finding with which Lookalike works, but not as well as it could."""
    return Finding(status=Status.WARNING, message=message, remedy=remedy)


def problem(message: str, remedy: str | None = None) -> Finding:
    """Returns a finding with which something does not work."""
    return Finding(status=Status.PROBLEM, message=message, remedy=remedy)


def pip(*words: str) -> str:
    """Returns the command that runs pip for this very Python, ready to be copied."""
    return " ".join([shlex.quote(sys.executable), "-m pip", *(shlex.quote(word) for word in words)])
