"""The places of requests: a bounded number waits or is worked on, and the others are sent away at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from lookalike_search.serving.problems import Code, RefusedError


class Places:
    """So many places, of which each request takes one; `gauge` shows how many are taken."""

    def __init__(self, count: int, gauge: Gauge) -> None:
        self._count, self._gauge = count, gauge
        self._taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Takes a place for the length of a block.

        Raises:
            RefusedError: all are taken.
        """
        if self._taken >= self._count:
            raise RefusedError(Code.BUSY, f"{self._taken} requests are waiting already; try again later")
        self._taken += 1
        self._gauge.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.set(self._taken)
