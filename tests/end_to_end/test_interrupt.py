"""Tests Ctrl-C from the first moment on: one line and exit code 130, even while libraries are imported."""

import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT as a terminal does")

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
WORDS = {
    "exporter": ["list"],
    "ingest": ["status"],
    "search": ["query", "x.png"],
    "lookalike": ["ingest", "status"],
}

BEFORE_IMPORTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""
"""A program that sends SIGINT to itself when it searches for a module."""


def program_words(command: str, before: str = "") -> list[str]:
    """Returns the call of a command as its installed script makes it, after some lines of ours."""
    module, function = SCRIPTS[command].split(":")
    return [
        sys.executable,
        "-c",
        f"{before}\nimport re, sys\nfrom {module} import {function}\nsys.exit({function}())",
    ]


@pytest.mark.parametrize("module", ["typer", "numpy", "lookalike_core.settings", "platformdirs"])
@pytest.mark.parametrize("command", SCRIPTS)
def test_an_interrupt_during_imports_exits_130_with_one_line(command: str, module: str, shell: Any) -> None:
    """SIGINT comes at the import of a module, of which the last is imported while the command runs."""
    environment = {name: value for name, value in shell.environment.items() if name != "LOOKALIKE_HOME"}
    done = subprocess.run(
        [*program_words(command, BEFORE_IMPORTING.format(module=module)), *WORDS[command]],
        cwd=shell.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert re.fullmatch(r"error: interrupted; run the same command again( to start over)?\n", done.stderr)


@pytest.mark.parametrize("command", SCRIPTS)
def test_an_interrupt_at_any_moment_shows_no_traceback(command: str, shell: Any) -> None:
    """SIGINT comes later each time, until the command ends first; Python's start may show one, or fail."""
    codes, delay_s, done = [], 0.02, False
    while not done:
        with subprocess.Popen(
            [*program_words(command), *WORDS[command]],
            cwd=shell.folder,
            env=shell.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                process.wait(delay_s)
                done = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            said = process.communicate()[1]
        assert "run_command" not in said
        if "Traceback" not in said and "Fatal Python error: init" not in said:  # of a start without frames
            codes.append(process.returncode)
        delay_s *= 1.5
    assert 130 in codes
    assert set(codes) <= {130, -signal.SIGINT, 0, 6}


def test_an_ignored_interrupt_stays_ignored(shell: Any) -> None:
    """Shells ignore SIGINT for background jobs: Ctrl-C is for the foreground job."""
    before = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = subprocess.run(
        [*program_words("exporter", before + BEFORE_IMPORTING.format(module="numpy")), "list"],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_can_be_run_as_a_module(shell: Any) -> None:
    """`python -m lookalike_ingest` runs the command, where scripts are not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "lookalike_ingest", "status"],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("no collections yet")
