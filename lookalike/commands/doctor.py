"""`lookalike doctor`: check this installation, and name the remedy of each problem."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer
from lookalike_core import __version__
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import JsonOption
from lookalike_core.text import format_count

from lookalike.commands.checks.all_checks import CHECKS
from lookalike.commands.checks.findings import Finding, Status
from lookalike.commands.checks.runner import Check, run_checks
from lookalike.commands.json_records import CheckFinding, Doctor


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask whether weights can be fetched.")
    ] = False,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Check this installation, and name the remedy of each problem."""
    found: list[tuple[Check, Finding]] = []
    for check, finding in run_checks(CHECKS, os.environ, offline=offline):
        found.append((check, finding))
        if not as_json:
            show(*_lines(check, finding))
    counts = Counter(finding.status for _, finding in found)
    if as_json:
        show_json(_record(found, counts))
    else:
        show(f"{_count(counts, Status.PROBLEM)}, {_count(counts, Status.WARNING)}")
    if counts[Status.PROBLEM]:
        raise typer.Exit(1)


def _lines(check: Check, finding: Finding) -> Iterator[str]:
    yield f"{finding.status:<8} {check.name:<12} {finding.message}"
    if finding.remedy is not None:
        yield f"{'':<21} -> {finding.remedy}"


def _count(counts: Counter[Status], status: Status) -> str:
    return format_count(counts[status], status)


def _record(found: list[tuple[Check, Finding]], counts: Counter[Status]) -> Doctor:
    findings: list[CheckFinding] = [
        {
            "check": check.name,
            "status": finding.status.value,
            "message": finding.message,
            "remedy": finding.remedy,
        }
        for check, finding in found
    ]
    return {
        "schema": 1,
        "version": __version__,
        "warnings": counts[Status.WARNING],
        "problems": counts[Status.PROBLEM],
        "findings": findings,
    }
