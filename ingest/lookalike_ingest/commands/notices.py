"""Messages on stderr that several subcommands of `ingest` share."""

from lookalike_core.cli.console import say

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
            f"calibrate it again with: search calibrate --collection {collection}"
        )


def list_some(verb: str, lines: list[str]) -> None:
    """Prints each line after the verb, up to `SHOWN` of them, and the number of remaining ones."""
    for line in lines[:SHOWN]:
        say(f"{verb} {line}")
    if len(lines) > SHOWN:
        say(f"{verb} {len(lines) - SHOWN} more; --json lists them all")
