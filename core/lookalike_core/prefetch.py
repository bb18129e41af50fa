"""Bounded look-ahead in threads, in order: files are read and decoded while the network is busy."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from lookalike_core.cpu_count import count_cores

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R],
    items: Iterator[T],
    *,
    ahead: int | Callable[[], int],
    workers: int | None = None,
) -> Generator[R, None, None]:
    """Maps in threads and in order, never more than `ahead` items in front of the consumer.

    As many threads as cores and one, unless `workers` says how many. `items` are taken in the consumer's own;
    an error of theirs is raised when what they gave before has been handed on.
    """
    with ThreadPoolExecutor(workers or min(32, count_cores() + 1)) as pool:
        waiting: deque[Future[R]] = deque()

        def fill() -> None:
            room = (ahead() if callable(ahead) else ahead) - len(waiting)
            try:
                waiting.extend(pool.submit(function, item) for item in islice(items, max(0, room)))
            except Exception as error:  # noqa: BLE001 - it waits for its turn
                failed: Future[R] = Future()
                failed.set_exception(error)
                waiting.append(failed)

        try:
            fill()
            while waiting:
                result = waiting.popleft().result()
                fill()
                yield result
        finally:
            for future in waiting:
                future.cancel()
