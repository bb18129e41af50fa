"""The process of one check: `python -m lookalike.commands.checks.child MODULE:FUNCTION` prints its findings.

Whatever libraries print goes to stderr.
"""

import json
import os
import sys
from pkgutil import resolve_name

from lookalike_core import own_process
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError

from lookalike.commands.checks.findings import Finding, problem


def main(function: str) -> None:
    """Runs a check and writes its findings as one line of JSON to stdout."""
    own_process.claim()
    result = os.dup(1)
    os.dup2(2, 1)
    line = json.dumps([finding.to_json() for finding in run(function)])
    with os.fdopen(result, "w", encoding="utf-8") as stream:
        stream.write(f"{line}\n")


def run(function: str) -> list[Finding]:
    """Returns the findings of a check; an error is one of them."""
    found: list[Finding] = []
    try:
        found.extend(resolve_name(function)())
    except LookalikeError as error:
        found.append(problem(full_message(error)))
    except Exception as error:  # noqa: BLE001 - whatever fails is what the doctor is to tell
        found.append(problem(f"the check failed: {type(error).__name__}: {error}"))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
