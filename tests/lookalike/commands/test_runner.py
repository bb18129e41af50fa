"""Checks run in processes of their own: none can hang, crash or disturb the others."""

import os
import time
from pathlib import Path

import pytest

from lookalike.commands.checks.findings import Finding, Status
from lookalike.commands.checks.runner import Check, run_checks

SUPPORT = Path(__file__).parents[2] / "support"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SUPPORT), "LOOKALIKE_PROVIDER": "cpu"}


def run(*names: str, offline: bool = False, timeout_s: float = 60.0, **other: str) -> list[Finding]:
    """Returns the findings of functions of `doctor_checks`."""
    checks = [
        Check(name=name, function=f"doctor_checks:{name}", timeout_s=timeout_s, offline=other.get(name))
        for name in names
    ]
    return [finding for _, finding in run_checks(checks, ENVIRONMENT, offline=offline)]


def test_findings_come_in_order_whatever_libraries_print() -> None:
    """A check that fails keeps what it found before; an error of ours has its remedy."""
    first, second, third, failed, refused = run("check_well", "fail", "refuse")
    assert (first.message, second.message, second.remedy) == ("first", "second", "do this")
    assert (third.message, failed.status) == ("first", Status.PROBLEM)
    assert failed.message == "the check failed: RuntimeError: boom"
    assert (refused.status, refused.message) == (
        Status.PROBLEM,
        "no store, or use another store with --store",
    )


def test_a_crash_is_a_finding() -> None:
    """The message names the signal, or the last line on stderr, and later checks run."""
    crashed, left, well, _ = run("crash", "leave", "check_well")
    assert crashed.status == left.status == Status.PROBLEM
    assert crashed.message == "the check crashed: it was ended by SIGSEGV"
    assert left.message == "the check crashed: the last line"
    assert well.message == "first"


def test_a_check_that_hangs_ends_at_its_limit() -> None:
    """Its process is killed."""
    begun = time.monotonic()
    (hung,) = run("hang", timeout_s=0.5)
    assert hung.message == "the check gave no result within 0.5 s"
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(("first", "seen"), [("find_malformed", "unset"), ("check_well", "cpu")])
def test_malformed_variables_are_unset_for_other_checks(first: str, seen: str) -> None:
    """All of them would fail because of one, and the doctor would tell one thing ten times."""
    assert run(first, "check_variable")[-1].message == seen


def test_checks_of_the_network_are_replaced_offline() -> None:
    """Others run as they are."""
    named = {"hang": "doctor_checks:check_variable"}
    assert [each.message for each in run("check_variable", "hang", offline=True, **named)] == ["cpu", "cpu"]
