"""Embeds images of several requests together: those that arrive within milliseconds share one run."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

from lookalike_core.arrays import FloatVector, Pixels

from lookalike_search.serving.problems import Code, RefusedError

Embed = Callable[[Sequence[Pixels]], Awaitable[Sequence[FloatVector | None]]]
"""Embeds images together, each uint8 `[224, 224, 3]`, and returns float32 `[D]` for each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    pixels: Pixels
    result: "asyncio.Future[FloatVector | None]"
    since: float


class Batches:
    """Collects images of one model for `embed`, at most `size` at a time.

    An idle model waits `gather_s` for more images before it runs; what arrives while it runs goes into the
    next run. Images whose request was given up are left out, and those that have waited longer than
    `most_wait_s` are refused, so that a model that is too slow answers those that came lately. `on_run` is
    told for each image of a run how long it waited, in seconds. All methods are those of one event loop.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        size: int,
        gather_s: float,
        most_wait_s: float = inf,
        on_run: Callable[[Sequence[float]], None] = lambda _waited: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._embed, self._clock = embed, clock
        self._size, self._gather_s, self._on_run = size, gather_s, on_run
        self._most_wait_s = most_wait_s
        self._waiting: deque[_Waiting] = deque()
        self._runs: asyncio.Task[None] | None = None

    async def embed(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """Returns float32 `[D]` for each image; None for a vector that cannot be compared.

        Raises:
            RefusedError: the model had no time for them.
        """
        loop, now = asyncio.get_running_loop(), self._clock()
        mine = [_Waiting(pixels=each, result=loop.create_future(), since=now) for each in pixels]
        self._waiting.extend(mine)
        if self._runs is None or self._runs.done():
            self._runs = asyncio.create_task(self._run())
        try:
            return [await each.result for each in mine]
        finally:
            for each in mine:
                each.result.cancel()

    async def _run(self) -> None:
        await asyncio.sleep(self._gather_s)
        while together := self._next():
            started = self._clock()
            self._on_run([started - each.since for each in together])
            try:
                vectors = await self._embed([each.pixels for each in together])
            except Exception as error:  # noqa: BLE001 - each request has its own
                for each in together:
                    if not each.result.done():
                        each.result.set_exception(error)
                continue
            for each, vector in zip(together, vectors, strict=True):
                if not each.result.done():
                    each.result.set_result(vector)

    def _next(self) -> list[_Waiting]:
        together: list[_Waiting] = []
        while self._waiting and len(together) < self._size:
            each = self._waiting.popleft()
            if each.result.done():
                continue
            if self._clock() - each.since > self._most_wait_s:
                each.result.set_exception(_no_time_left(self._most_wait_s))
            else:
                together.append(each)
        return together


def _no_time_left(seconds: float) -> RefusedError:
    return RefusedError(
        Code.BUSY, f"the model had no time for this image within {seconds:g} s; try again later"
    )
