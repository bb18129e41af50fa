"""Tests the tests' shell: a command that runs in this process behaves as in its own, and leaves no trace."""

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
    """Returns the state of the process that a command could change."""
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
def test_a_command_in_this_process_behaves_as_in_its_own(words: tuple[str, ...], shell: Any) -> None:
    """It has the same exit code, and the same bytes on stdout and stderr."""
    assert shell(*words) == shell.process(*words)


def test_a_command_reads_the_given_standard_input(ingested: Any) -> None:
    """It reads the given bytes to their end, or nothing."""
    image = (ingested.folder / "query.png").read_bytes()
    answer, named = (
        ingested("search", "query", word, "--json", data=data)
        for word, data in (("-", image), ("query.png", None))
    )
    hits = [[hit["path"] for hit in done.json[0]["hits"]] for done in (answer, named)]
    assert hits[0] == hits[1] != []
    assert ingested("search", "query", "-").code == 4


def test_a_command_in_this_process_leaves_it_unchanged(ingested: Any) -> None:
    """This holds whether it succeeds or fails."""
    before = process_state()
    assert ingested("search", "query", "query.png", NO_COLOR="1").code == 0
    assert ingested("search", "query", "gone.png", "--verbose", TMPDIR="/nowhere").code != 0
    assert process_state() == before


def test_options_of_a_command_do_not_affect_the_next_one(shell: Any) -> None:
    """Only the first command was to show a traceback."""
    assert "Traceback" in shell("search", "query", "gone.png", "--verbose").err
    assert "Traceback" not in shell("search", "query", "gone.png").err
