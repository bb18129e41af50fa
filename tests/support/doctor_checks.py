"""Checks of the doctor that find things, print, fail, crash and hang, for processes of their own."""

import ctypes
import os
import time
from collections.abc import Iterator

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Hint

from lookalike.commands.checks.findings import Finding, Status, ok, warning


def check_well() -> Iterator[Finding]:
    """Yields two findings, and prints as libraries do."""
    print("a library speaks")  # noqa: T201
    yield ok("first")
    os.write(1, b"another one does\n")
    yield warning("second", "do this")


def check_variable() -> Iterator[Finding]:
    """Yields what is in a variable."""
    yield ok(os.environ.get("LOOKALIKE_PROVIDER", "unset"))


def find_malformed() -> Iterator[Finding]:
    """Yields that a variable is malformed."""
    yield Finding(status=Status.PROBLEM, message="wrong", variable="LOOKALIKE_PROVIDER")


def fail() -> Iterator[Finding]:
    """Yields a finding, then fails."""
    yield ok("first")
    raise RuntimeError("boom")


def refuse() -> Iterator[Finding]:
    """Raises an error of ours with a hint."""
    raise UsageError("no store", hint=Hint(Action.CHANGE_STORE))
    yield


def crash() -> Iterator[Finding]:
    """Ends its process as a broken library does."""
    ctypes.string_at(0)
    yield ok("never")


def leave() -> Iterator[Finding]:
    """Ends its process without a result."""
    os.write(2, b"some line\nthe last line\n")
    os._exit(3)
    yield ok("never")


def hang() -> Iterator[Finding]:
    """Never ends."""
    while True:
        time.sleep(60)
    yield ok("never")
