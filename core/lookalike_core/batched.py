"""Batches of what comes one by one, as `itertools.batched` of Python 3.12 makes them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` consecutive items, the last of fewer, as they are asked for."""
    every = iter(items)
    while batch := list(islice(every, size)):
        yield batch
