"""Images of several requests share runs of a model."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_search.serving.batches import Batches
from lookalike_search.serving.problems import Code, RefusedError


class Model:
    """Stands in for a model: counts its runs, and gives each image's first value as its vector.

    One that is `held` ends no run until it is released.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.released = asyncio.Event()
        if not held:
            self.released.set()
        self.runs: list[int] = []

    async def embed(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """Returns the vectors of images; a value of 13 makes the run fail."""
        self.runs.append(len(pixels))
        await self.released.wait()
        values = [int(each[0]) for each in pixels]
        if 13 in values:
            raise ValueError("13")
        return [np.array([value], dtype=np.float32) if value else None for value in values]


def image(value: int) -> Pixels:
    """Returns a stand-in for an image."""
    return np.array([value], dtype=np.uint8)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test to its end."""
    asyncio.run(asyncio.wait_for(main(), 60))


async def begin(model: Model, batches: Batches) -> "asyncio.Task[list[FloatVector | None]]":
    """Returns a request once the model runs for it."""
    first = asyncio.create_task(batches.embed([image(1)]))
    while not model.runs:  # noqa: ASYNC110 - a model has no event for its runs
        await asyncio.sleep(0)
    return first


async def add(batches: Batches, *values: int) -> "asyncio.Task[list[FloatVector | None]]":
    """Returns a request once its images wait."""
    added = asyncio.create_task(batches.embed([image(value) for value in values]))
    await asyncio.sleep(0)
    return added


def test_images_that_arrive_together_share_a_run() -> None:
    """Each request has its own vectors, in its order."""
    model = Model()

    async def main() -> None:
        batches = Batches(model.embed, size=8, gather_s=0.02)
        found = await asyncio.gather(*(batches.embed([image(each), image(each + 1)]) for each in (1, 3, 5)))
        assert [[int(vector[0]) for vector in each] for each in found] == [[1, 2], [3, 4], [5, 6]]

    run(main)
    assert model.runs == [6]


def test_images_that_arrive_during_a_run_share_the_next() -> None:
    """At most so many at a time."""
    model, waited = Model(held=True), []

    async def main() -> None:
        batches = Batches(model.embed, size=4, gather_s=0, on_run=waited.append)
        first = await begin(model, batches)
        others = [await add(batches, each) for each in range(2, 8)]
        model.released.set()
        await asyncio.gather(first, *others)

    run(main)
    assert model.runs == [1, 4, 2]
    assert [len(each) for each in waited] == [1, 4, 2]


def test_an_image_that_waited_too_long_is_refused() -> None:
    """The next one is embedded: it came while the model had fallen behind."""
    model, now = Model(held=True), 0.0

    async def main() -> None:
        nonlocal now
        batches = Batches(model.embed, size=1, gather_s=0, most_wait_s=0.1, clock=lambda: now)
        first = await begin(model, batches)
        early = await add(batches, 2)
        now = 0.2
        added = await add(batches, 3)
        model.released.set()
        [late] = await added
        with pytest.raises(RefusedError, match=r"within 0\.1 s; try again later") as refused:
            await early
        assert refused.value.code is Code.BUSY
        assert (late is not None and int(late[0]), len(await first)) == (3, 1)

    run(main)
    assert model.runs == [1, 1]


def test_an_image_whose_request_was_given_up_is_left_out() -> None:
    """Its place is that of another."""
    model = Model(held=True)

    async def main() -> None:
        batches = Batches(model.embed, size=4, gather_s=0)
        first = await begin(model, batches)
        given_up = await add(batches, 2, 3)
        kept = await add(batches, 4)
        given_up.cancel()
        await asyncio.sleep(0)
        model.released.set()
        await asyncio.gather(first, kept)

    run(main)
    assert model.runs == [1, 1]


def test_a_failed_run_fails_its_requests_and_no_others() -> None:
    """The next run is as if nothing had been."""
    model = Model()

    async def main() -> None:
        batches = Batches(model.embed, size=2, gather_s=0)
        outcomes = await asyncio.gather(
            *(batches.embed([image(each)]) for each in (13, 1, 2, 0)), return_exceptions=True
        )
        assert [type(each) for each in outcomes] == [ValueError, ValueError, list, list]
        assert outcomes[3] == [None]
        assert len(await batches.embed([image(7)])) == 1

    run(main)
    assert model.runs == [2, 2, 1]


def test_a_request_that_fails_has_no_results_left() -> None:
    """An exception that nobody asks for would be reported by the event loop."""
    model, reported = Model(), []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        batches = Batches(model.embed, size=2, gather_s=0)
        with suppress(ValueError):
            await batches.embed([image(13), image(13), image(1)])
        await asyncio.sleep(0.05)
        del batches
        gc.collect()

    run(main)
    assert reported == []
