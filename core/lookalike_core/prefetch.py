"""Prefetching in threads, bounded and in order: files are read and decoded while the network computes."""

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
    """Maps a function over items in threads and in order, at most `ahead` items before the consumer.

    One thread more than cores is used, unless `workers` is given. `items` are drawn in the consumer's thread;
    their exception is raised after the results of the items before it.
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
