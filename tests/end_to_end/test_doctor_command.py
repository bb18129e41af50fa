"""`lookalike doctor` as users run it: each check in a process of its own."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_a_working_installation_has_no_problem(shell: Any) -> None:
    """Every check has a finding; each remedy is shown below its finding."""
    done = shell("lookalike", "doctor", "--offline")
    assert done.code == 0, done.out
    assert done.err == ""
    names = {line[9:21].strip() for line in done.out.splitlines()[:-1] if line[:8].strip()}
    assert names == {
        "environment",
        "python",
        "runtime",
        "cuda",
        "openvino",
        "extras",
        "home",
        "weights",
        "store",
        "model test",
        "store test",
    }
    assert done.out.splitlines()[-1].startswith("0 problems, ")
    assert not (shell.folder / "home").exists()


def test_problems_are_the_exit_code(shell: Any) -> None:
    """A malformed variable is one problem, and not one for each check."""
    file = Path(shell.folder) / "file"
    file.touch()
    done = shell("lookalike", "doctor", "--offline", "--json", LOOKALIKE_HOME=str(file))
    (record,) = done.json
    assert (done.code, record["problems"]) == (1, 1), record
    (found,) = (each for each in record["findings"] if each["status"] == "problem")
    assert (found["check"], found["remedy"]) == ("environment", "unset LOOKALIKE_HOME")
