"""The tests' shell: a command in this process does what it does in one of its own, and leaves no trace."""

import logging
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest


def process_state() -> dict[str, object]:
    """What a command could leave changed of the process that it ran in."""
    log = logging.getLogger("lookalike")
    return {
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "arguments": [*sys.argv],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "interrupt": signal.getsignal(signal.SIGINT),
        "temporary": tempfile.gettempdir(),
        "warnings": [*warnings.filters],
        "logging": ([*log.handlers], log.level, log.propagate),
    }


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "status", "--json"),
        ("search", "query", "gone.png"),
        ("search", "query", "--limit", "ten", "gone.png"),
        ("exporter",),
    ],
    ids=" ".join,
)
def test_a_command_here_does_what_it_does_in_a_process(words: tuple[str, ...], shell: Any) -> None:
    """Its exit code, and every byte of its stdout and its stderr."""
    assert shell(*words) == shell.process(*words)


def test_standard_input_is_what_a_command_is_given(ingested: Any) -> None:
    """Bytes, to their end; or nothing."""
    image = (ingested.folder / "query.png").read_bytes()
    answer, named = (
        ingested("search", "query", word, "--json", data=data)
        for word, data in (("-", image), ("query.png", None))
    )
    hits = [[hit["path"] for hit in done.json[0]["hits"]] for done in (answer, named)]
    assert hits[0] == hits[1] != []
    assert ingested("search", "query", "-").code == 4


def test_a_command_here_leaves_the_process_as_it_was(ingested: Any) -> None:
    """Whether it succeeds or fails."""
    before = process_state()
    assert ingested("search", "query", "query.png", NO_COLOR="1").code == 0
    assert ingested("search", "query", "gone.png", "--verbose", TMPDIR="/nowhere").code != 0
    assert process_state() == before


def test_a_command_does_not_hear_how_the_one_before_was_called(shell: Any) -> None:
    """Only the first was to show where it failed."""
    assert "Traceback" in shell("search", "query", "gone.png", "--verbose").err
    assert "Traceback" not in shell("search", "query", "gone.png").err
