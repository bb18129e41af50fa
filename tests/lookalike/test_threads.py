"""One index, several threads and several processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike import errors

Draw = Callable[..., list[Path]]


def test_threads_search_while_another_adds(
    tiny_model: lookalike.Model, images: Path, draw: Draw, tmp_path: Path
) -> None:
    """Every answer is complete, although the collection is closed and loaded in between."""
    folders = [tmp_path / f"more{number}" for number in range(4)]
    for seed, folder in enumerate(folders):
        draw(folder, *(f"new/{number}.png" for number in range(6)), seed=seed + 10)
    queries, done = sorted(images.rglob("*.png")), threading.Event()
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(images)

        def add() -> list[int]:
            try:
                return [index.add(folder).added for folder in folders]
            finally:
                done.set()

        def search(number: int) -> list[int]:
            counts = []
            while not done.is_set() or not counts:
                answer = index.search(queries[number], limit=5)
                assert [hit.rank for hit in answer] == [1, 2, 3, 4, 5]
                counts.append(len(index.vectors()[0]))
            return counts

        with ThreadPoolExecutor(5) as pool:
            adding = pool.submit(add)
            searching = [pool.submit(search, number) for number in range(4)]
            assert adding.result() == [6, 6, 6, 6]
            for each in searching:
                counts = each.result()
                assert counts == sorted(counts)
                assert set(counts) <= set(range(26, 51))
        assert len(index) == 50


def test_threads_that_add_wait_for_each_other(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """The first creates the collection; in the end it has all images."""
    folders = [tmp_path / f"folder{number}" for number in range(4)]
    for seed, folder in enumerate(folders):
        draw(folder, "1.png", "2.png", seed=seed)
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(index.add, folders))
        assert [report.added for report in reports] == [2, 2, 2, 2]
        assert len(index) == 8


def test_threads_embed_what_one_thread_embeds(tiny_weights: Path, images: Path) -> None:
    """The model is loaded once."""
    files = sorted(images.rglob("*.png"))
    expected = lookalike.Model("vgg16", weights=tiny_weights, layer="block1_conv1").embed(files)
    model = lookalike.Model("vgg16", weights=tiny_weights, layer="block1_conv1")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.embed(files), range(4)))
    for vectors in found:
        np.testing.assert_array_equal(vectors, expected)


def test_closing_waits_for_an_add_in_progress(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """All its images are in the index afterwards."""
    place = tmp_path / "photos.index"
    index = lookalike.open(place, model=tiny_model)
    index.add(images, max_per_class=1)
    with ThreadPoolExecutor(2) as pool:
        adding = pool.submit(index.add, images)
        while len(index) <= 3 and not adding.done():
            pass
        index.close()
        assert adding.result().added == 23
    with lookalike.open(place, model=tiny_model) as again:
        assert len(again) == 26


COUNT = """
import sys, lookalike
with lookalike.open(sys.argv[1], collection=sys.argv[2]) as index:
    print(len(index))
"""

OPEN_AT_ONCE = """
import pathlib, sys
from lookalike_core.stores.embedded import EmbeddedStore
EmbeddedStore(pathlib.Path(sys.argv[1]), lock_timeout_s=0).open(sys.argv[2])
"""


def test_another_process_can_open_a_closed_index(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """An embedded store belongs to one process at a time."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
        name = index.collection
    command = [sys.executable, "-c", COUNT, str(place), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "26\n"
    with lookalike.open(place, collection=name) as again:
        assert len(again) == 26


def test_an_error_names_the_process_that_holds_the_store(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """It is raised after the lock's timeout, which is zero here."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
        name = index.collection
        command = [sys.executable, "-c", OPEN_AT_ONCE, str(place), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert errors.StoreLockedError.__name__ in done.stderr
    assert f"in use by process {os.getpid()}" in done.stderr


def test_an_interrupted_add_is_resumed_by_the_next(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that were written stay, and the index can be searched at once."""
    from lookalike_core.stores.shared import SharedCollection

    upsert, calls = SharedCollection.upsert, []

    def interrupted(self: SharedCollection, points: list) -> None:  # type: ignore[type-arg]
        upsert(self, points)
        calls.append(len(points))
        raise KeyboardInterrupt

    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        with monkeypatch.context() as patch:
            patch.setattr(SharedCollection, "upsert", interrupted)
            with pytest.raises(KeyboardInterrupt):
                index.add(images, batch_size=4)
        assert len(index) == sum(calls) > 0
        report = index.add(images)
        assert (report.added, report.unchanged) == (26 - sum(calls), sum(calls))
