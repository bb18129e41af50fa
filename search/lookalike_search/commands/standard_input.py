"""Standard input as a query image."""

import io
import sys
from collections.abc import Sequence

from lookalike_core.errors import UsageError

from lookalike_search.asking.query_sources import QueryInput, Source

STDIN = "-"
"""The name of standard input on the command line."""


def require_one_stdin(names: Sequence[str], advice: str) -> None:
    """Refuses to read standard input twice.

    Raises:
        UsageError: `-` is given several times.
    """
    if names.count(STDIN) > 1:
        raise UsageError(f"standard input can be read only once; {advice}")


def query_of(name: str) -> QueryInput:
    """Returns the query of a name; `-` is standard input, which is not read yet."""
    if name != STDIN:
        return name
    return Source(
        name=STDIN,
        called="standard input",
        content=sys.stdin.buffer if sys.stdin is not None else io.BytesIO(),
    )
