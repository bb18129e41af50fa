"""Messages on stderr that several subcommands of `ingest` share."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lookalike_core.cli.console import say
from lookalike_core.cli.named_store import advised
from lookalike_core.logs import ROOT

from lookalike_ingest.rebuild import RebuildReport
from lookalike_ingest.report import IngestReport

SHOWN = 20
"""Number of skipped or removed images listed on stderr; the JSON lists all."""


def warn_of_skipped(report: IngestReport | RebuildReport) -> None:
    """Prints which images were skipped and why, and what to install to read them."""
    list_some("skipped", [f"{skipped.path!r}: {skipped.reason}" for skipped in report.skipped])
    for needed, count in report.needed.items():
        say(f"warning: {count} of the skipped images can be read once this is installed: {needed}")


def say_dropped_calibration(collection: str, dropped: bool) -> None:
    """Prints that a collection has lost its calibration, and the command to calibrate again."""
    if dropped:
        say(
            f"the calibration of {collection} was dropped, since its images have changed; "
            f"calibrate it again with: {advised('search calibrate')} --collection {collection}"
        )


def list_some(verb: str, lines: list[str]) -> None:
    """Prints each line after the verb, up to `SHOWN` of them, and the number of remaining ones."""
    for line in lines[:SHOWN]:
        say(f"{verb} {line}")
    if len(lines) > SHOWN:
        say(f"{verb} {len(lines) - SHOWN} more; --json lists them all")


@contextmanager
def saying_once() -> Iterator[Callable[[], None]]:
    """Omits log messages that were shown before, for the length of a block; for runs that repeat themselves.

    Yields a function to call after each run: messages that it did not log are shown again.
    """
    shown: set[str] = set()
    logged: set[str] = set()
    decided: tuple[logging.LogRecord, bool] | None = None

    def is_new(record: logging.LogRecord) -> bool:
        nonlocal decided
        if decided is None or decided[0] is not record:  # each handler asks
            message = record.getMessage()
            decided = (record, message not in shown)
            logged.add(message)
            shown.add(message)
        return decided[1]

    def forget() -> None:
        shown.intersection_update(logged)
        logged.clear()

    handlers = logging.getLogger(ROOT).handlers
    for handler in handlers:
        handler.addFilter(is_new)
    try:
        yield forget
    finally:
        for handler in handlers:
            handler.removeFilter(is_new)
