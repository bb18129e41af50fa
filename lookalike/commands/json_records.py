"""The records that `lookalike doctor --json` prints; the reference documents them."""

from collections.abc import Sequence
from typing import Literal, TypedDict


class CheckFinding(TypedDict):
    """One result of a check."""

    check: str
    """The name of the check."""
    status: Literal["ok", "warning", "problem"]
    """Whether anything needs to be done."""
    message: str
    """What was found."""
    remedy: str | None
    """A command or step that mends it, or gives more; null where there is none."""


class Doctor(TypedDict):
    """What the doctor found."""

    schema: int
    version: str
    """The version of Lookalike."""
    warnings: int
    """Number of findings with which Lookalike works, but not as well as it could."""
    problems: int
    """Number of findings with which something does not work; the exit code is 1 if there is one."""
    findings: Sequence[CheckFinding]
    """All findings, in the order of the checks."""


LINES = {"doctor": [(Doctor,)]}
"""Subcommand -> the possible records of a line."""
