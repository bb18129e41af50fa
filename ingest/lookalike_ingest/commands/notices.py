"""Messages on stderr that several subcommands of `ingest` share."""

from lookalike_core.cli.console import say

from lookalike_ingest.rebuild import RebuildReport
from lookalike_ingest.report import IngestReport

SHOWN = 20
"""How many skipped or removed images are named on stderr; the JSON names all."""


def warn_of_skipped(report: IngestReport | RebuildReport) -> None:
    """Says which images were skipped and why, and what to install to read them."""
    list_some("skipped", [f"{skipped.path!r}: {skipped.reason}" for skipped in report.skipped])
    for needed, count in report.needed.items():
        say(f"warning: {count} of the skipped images can be read once this is installed: {needed}")


def say_dropped_calibration(collection: str, dropped: bool) -> None:
    """Says that a collection has lost its calibration, and how to make it anew."""
    if dropped:
        say(
            f"the calibration of {collection} was dropped, since its images have changed; "
            f"make it anew with: search calibrate --collection {collection}"
        )


def list_some(verb: str, lines: list[str]) -> None:
    """Says each line behind the verb, up to `SHOWN` of them, and how many more there are."""
    for line in lines[:SHOWN]:
        say(f"{verb} {line}")
    if len(lines) > SHOWN:
        say(f"{verb} {len(lines) - SHOWN} more; --json lists them all")
