"""Standard input as an image to ask with."""

import io
import sys
from collections.abc import Sequence

from lookalike_core.errors import UsageError

from lookalike_search.asking.query_sources import QueryInput, Source

STDIN = "-"
"""What stands for standard input in the place of an image's name."""


def require_one_stdin(names: Sequence[str], advice: str) -> None:
    """Refuses to read standard input twice.

    Raises:
        UsageError: it is named several times.
    """
    if names.count(STDIN) > 1:
        raise UsageError(f"standard input can be read once; {advice}")


def query_of(name: str) -> QueryInput:
    """Returns a name as it is, and for `-` standard input, which is not read yet."""
    if name != STDIN:
        return name
    return Source(
        name=STDIN,
        called="standard input",
        content=sys.stdin.buffer if sys.stdin is not None else io.BytesIO(),
    )
