"""Work in threads keeps the snapshots that it uses, whatever becomes of the request that it is for."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import ImageError
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.snapshots import open_snapshot
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving import service as serving
from lookalike_search.serving import warm_collections
from lookalike_search.serving.limits import LIMITS
from lookalike_search.serving.metrics import Metrics
from lookalike_search.serving.query_fields import ExplanationRequest, QueryRequest, Upload
from lookalike_search.serving.service import Service
from lookalike_search.serving.thumbnail_cache import ThumbnailCache
from lookalike_search.serving.warm_collections import WarmCollections
from made_collections import point_of
from waiting import wait_until

IMAGES = {"cat/1.png": [1.0, 0.0], "cat/2.png": [0.9, 0.1], "dog/1.png": [0.0, 1.0]}
ID = point_of("cat/1.png", [1.0, 0.0]).payload.id


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Returns an empty store, whose locks are not waited for."""
    return EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0)


@pytest.fixture
def service(store: EmbeddedStore, home: Settings, tmp_path: Path) -> Iterator[Service]:
    """Returns a service over the store, and closes it."""
    one = Service(
        WarmCollections(store, settings=home),
        limits=LIMITS,
        metrics=Metrics(),
        thumbnails=ThumbnailCache(tmp_path / "thumbnails", most_bytes=0),
        shows_files=True,
    )
    yield one
    one.close()


def ask(service: Service, name: str, image: Upload | str, **options: Any) -> Coroutine[Any, Any, Any]:
    """Returns a query by an image and an indexed one."""
    request = QueryRequest(
        image=image, positives=[ID], negatives=[], collections=[name], options=QueryOptions(**options)
    )
    return service.query(request)


def explanation_of(name: str) -> ExplanationRequest:
    """Returns an explanation of an indexed image."""
    return ExplanationRequest(image=ID, neighbour=ID, collection=name, region=None)


REQUESTS: dict[str, tuple[Any, str, Callable[[Service, str], Coroutine[Any, Any, Any]]]] = {
    "an image": (serving.indexed_images, "find_payload", lambda service, name: service.image(ID, [name])),
    "a query": (serving, "read_examples", lambda service, name: ask(service, name, ID)),
    "places": (serving, "locate_neighbours", lambda service, name: ask(service, name, ID, locate=True)),
    "an explanation": (serving, "find_pair", lambda service, name: service.explain(explanation_of(name))),
    "a list": (
        serving.indexed_images,
        "list_images",
        lambda service, name: service.images([name], serving.indexed_images.Wanted()),
    ),
    "an order": (
        serving,
        "ImageOrder",
        lambda service, name: service.images([name], serving.indexed_images.Wanted()),
    ),
    "a refused upload": (
        serving,
        "read_examples",
        lambda service, name: ask(service, name, Upload(name="a.png", content=b"no image")),
    ),
}
"""What is asked for, and the function that a thread is stopped in."""


@pytest.mark.parametrize("is_retired_before", [False, True])
@pytest.mark.parametrize("asked", REQUESTS)
def test_a_snapshot_is_closed_after_the_thread_that_uses_it(
    store: EmbeddedStore,
    service: Service,
    fill: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    is_retired_before: bool,
) -> None:
    """Its client went away, or an upload was refused while a thread still read the other images."""
    name = fill(store, IMAGES)
    warm = service.warm
    started, goes_on, closed = threading.Event(), threading.Event(), threading.Event()
    counted: list[int] = []
    with warm.lease([name]) as [network]:
        collection = network.collection
    close = collection.__exit__

    def stop(*_: Any, **__: Any) -> Any:
        started.set()
        assert goes_on.wait(60)
        assert not closed.is_set()
        counted.append(collection.count())
        raise ImageError("enough")

    def note(*words: Any) -> None:
        close(*words)
        closed.set()

    def retire() -> None:
        with store.open(name) as writer:
            writer.upsert([point_of("new.png", [1.0, 1.0])])
        warm.refresh()

    place, function, request = REQUESTS[asked]
    monkeypatch.setattr(place, function, stop)
    monkeypatch.setattr(collection, "__exit__", note, raising=False)

    async def end_early() -> None:
        task = asyncio.create_task(request(service, name))
        assert await asyncio.to_thread(started.wait, 60)
        if is_retired_before:
            await asyncio.to_thread(retire)
        if asked != "a refused upload":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(end_early())
    if not is_retired_before:
        retire()
    service._opening.submit(int).result(60)  # noqa: SLF001 - the thread that closes has nothing left to do
    is_early = closed.is_set()
    goes_on.set()
    assert closed.wait(60)
    assert not is_early
    assert counted == [len(IMAGES)]


def test_collections_are_counted_once_for_each_version(
    store: EmbeddedStore, service: Service, fill: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a copy that is closed again, unless they are open; a locked one has the last numbers, if any."""
    name = fill(store, IMAGES)
    opened: list[str] = []

    def note(store: EmbeddedStore, name: str, *, timeout_s: float | None = None) -> Any:
        opened.append(name)
        return open_snapshot(store, name, timeout_s=timeout_s)

    monkeypatch.setattr(warm_collections, "open_snapshot", note)

    def points() -> int | None:
        return asyncio.run(service.collections())["collections"][0]["points"]

    service.warm._timeout_s = 0  # noqa: SLF001 - as after `warm_up`
    with store.open(name):
        assert points() is None
    assert [points(), points(), opened] == [3, 3, [name] * 2]
    with store.open(name) as writer:
        writer.upsert([point_of("new.png", [1.0, 1.0])])
        writer.flush()
        assert points() == 3
    assert [points(), points(), opened] == [4, 4, [name] * 4]
    assert service.warm.take_open([name]) is None


def test_others_have_the_model_between_two_located_neighbours(
    album: Any, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload waits for one image, not for all of a page."""
    image = Path(album.folder / "album" / "cat" / "1.png").read_bytes()
    runs: list[str] = []
    started, goes_on = threading.Event(), threading.Event()
    features, embed = SearchedCollection.features, SearchedCollection.embed

    def wait(network: SearchedCollection, pixels: Any) -> Any:
        runs.append("features")
        started.set()
        assert goes_on.wait(60)
        return features(network, pixels)

    def count(network: SearchedCollection, pixels: Any) -> Any:
        runs.append("embed")
        return embed(network, pixels)

    asked = {"path": "cat/1.png", "limit": 4, "locate": True}
    with start_serving(album.folder / "home") as served, ExitStack() as stack:
        monkeypatch.setattr(SearchedCollection, "features", wait)
        monkeypatch.setattr(SearchedCollection, "embed", count)
        one, other, third = (stack.enter_context(served.client()) for _ in range(3))
        with ThreadPoolExecutor(2) as pool:
            located = pool.submit(one.post, "/api/v1/query", json=asked)
            assert started.wait(60)
            header = {"content-type": "image/png"}
            found = pool.submit(other.post, "/api/v1/query", content=image, headers=header)
            wait_until(lambda: "lookalike_batch_images_count 1.0" in third.get("/metrics").text)
            goes_on.set()
            assert (located.result().status_code, found.result().status_code) == (200, 200)
    assert runs == ["features", "embed", *["features"] * 3]
