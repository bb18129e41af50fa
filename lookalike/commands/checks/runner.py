"""Runs checks, each in a process of its own, so that none can hang, crash or disturb the others.

What a check loads may end its process: a library built for another processor, a driver that is broken.
"""

import json
import signal  # noqa: TID251 - for the names of signals that ended a check
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from lookalike.commands.checks.findings import Finding, Status, problem

CHILD = "lookalike.commands.checks.child"

AT_ONCE = 2
"""Processes that run at the same time: while one waits for a disk or a network, another one computes."""

_KILL_S = 1.0
"""How long a killed process is waited for; one that waits for a dead disk never ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: `function` is `MODULE:NAME`, and may take no longer than `timeout_s`.

    `offline` is the function where no network may be used, None where it is the same.
    """

    name: str
    function: str
    timeout_s: float = 30.0
    offline: str | None = None


def run_checks(
    checks: Sequence[Check], environment: Mapping[str, str], *, offline: bool = False
) -> Iterator[tuple[Check, Finding]]:
    """Yields the findings of each check, in the order of the checks.

    The first check is that of the environment: variables that it finds malformed are unset for the others,
    which would all fail because of them.
    """
    first, *others = checks
    running: set[subprocess.Popen[str]] = set()
    found = _run(first, environment=environment, offline=offline, running=running)
    yield from ((first, finding) for finding in found)
    malformed = {finding.variable for finding in found if finding.status is Status.PROBLEM}
    usable = {name: value for name, value in environment.items() if name not in malformed}
    run = partial(_run, environment=usable, offline=offline, running=running)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for check, findings in zip(others, pool.map(run, others), strict=True):
            yield from ((check, finding) for finding in findings)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in list(running):
            child.kill()


def _run(
    check: Check, *, environment: Mapping[str, str], offline: bool, running: set["subprocess.Popen[str]"]
) -> list[Finding]:
    function = check.offline if offline and check.offline is not None else check.function
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-P", "-m", CHILD, function],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    running.add(child)
    try:
        said, complaint = child.communicate(timeout=check.timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=_KILL_S)
        said = f"the check gave no result within {check.timeout_s:g} s"
        return [problem(said, "run lookalike doctor again when the machine is less busy")]
    finally:
        running.discard(child)
    try:
        return [Finding.from_json(each) for each in json.loads(said.splitlines()[-1])]
    except (IndexError, ValueError, TypeError, KeyError):
        return [problem(f"the check crashed: {_describe_end(child.returncode, complaint)}")]


def _describe_end(code: int, complaint: str) -> str:
    """Returns why a process ended: the signal that ended it, or the last line that it wrote to stderr."""
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return (complaint.strip().splitlines() or [f"exit code {code}"])[-1][:300]
