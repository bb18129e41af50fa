"""Nearest neighbours of every image, on both stores, by the store and by numpy, against brute force."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from all_hits import all_hits
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ImagePoint, PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_search.analysis.all_neighbours import (
    ComparisonLimits,
    find_all_scenes,
    is_small,
)
from made_collections import STORES, collection_of, point_of, store_of

TOLERANCE = 1e-5

WAYS = pytest.mark.parametrize("exact", [False, True], ids=["store", "numpy"])


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Yields a store of each kind."""
    with store_of(request.param, tmp_path_factory.mktemp("qdrant")) as one:
        yield one


@pytest.fixture(scope="module")
def points() -> list[ImagePoint]:
    """Returns 60 points: two datasets, three classes and none, one image three times and one thirty times."""
    random = np.random.default_rng(5)
    vectors = random.normal(size=(60, 8)) + 1
    vectors[1:3] = vectors[0]
    vectors[31:] = vectors[30]
    copies = ["a" * 64 if row < 3 else "b" * 64 if row >= 30 else f"{row:064x}" for row in range(60)]
    names = ["cat", "dog", "", "fish"]
    return [
        point_of(
            f"{row:02}.jpg",
            vectors[row],
            sha256=copies[row],
            class_name=names[row % 4] or None,
            dataset="other" if row % 5 == 0 else "data",
        )
        for row in range(60)
    ]


@pytest.fixture(scope="module", params=list(Distance))
def collection(
    request: pytest.FixtureRequest, store: Store, points: list[ImagePoint]
) -> Iterator[Collection]:
    """Yields a collection of all points, for either distance."""
    datasets = {"data": "/data", "other": "/other"}
    with collection_of(store, points, distance=request.param, dimension=8, datasets=datasets) as one:
        yield one


def expected(asks: ImagePoint, points: list[ImagePoint], distance: Distance, *, copies: bool) -> list[float]:
    """Returns the scores of the ten nearest, in plain numpy."""
    scores = []
    for other in points:
        if other is asks or (not copies and other.payload.sha256 == asks.payload.sha256):
            continue
        one, two = asks.vector.astype(np.float64), other.vector.astype(np.float64)
        if distance is Distance.EUCLID:
            scores.append(float(np.linalg.norm(one - two)))
        else:
            scores.append(float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)))
    return sorted(scores, reverse=distance.higher_is_nearer)[:10]


@WAYS
@pytest.mark.parametrize("copies", [False, True])
def test_neighbours_equal_brute_force(
    collection: Collection,
    points: list[ImagePoint],
    exact: bool,
    copies: bool,
) -> None:
    """Each image is listed once, in order; never itself, and its exact duplicates only on request."""
    sevens = ComparisonLimits(at_once=7)
    found = all_hits(collection, limit=10, include_copies=copies, exact=exact, limits=sevens)
    by_id = {point.payload.id: point for point in points}
    assert [payload for payload, _ in found] == sorted(
        (point.payload for point in points), key=lambda payload: (payload.dataset, payload.path)
    )
    for payload, hits in found:
        scores = expected(by_id[payload.id], points, collection.manifest.distance, copies=copies)
        assert [hit.score for hit in hits] == pytest.approx(scores, abs=TOLERANCE)
        assert payload.id not in {hit.payload.id for hit in hits}
        assert len({hit.payload.id for hit in hits}) == len(hits)
        assert all(hit.payload == by_id[hit.payload.id].payload for hit in hits)
        if not copies:
            assert payload.sha256 not in {hit.payload.sha256 for hit in hits}


@WAYS
@pytest.mark.parametrize(
    "where",
    [
        PointFilter(dataset="other"),
        PointFilter(classes=frozenset({"dog"})),
        PointFilter(classes=frozenset({""})),
    ],
)
def test_a_filter_applies_to_queries_and_hits(
    collection: Collection, points: list[ImagePoint], exact: bool, where: PointFilter
) -> None:
    """A filter by one dataset, one class, or no class leaves out all other queries and hits."""
    fitting = [
        point
        for point in points
        if where.dataset in (None, point.payload.dataset)
        and (not where.classes or (point.payload.class_name or "") in where.classes)
    ]
    found = all_hits(collection, limit=10, where=where, exact=exact)
    assert {payload.id for payload, _ in found} == {point.payload.id for point in fitting}
    by_id = {point.payload.id: point for point in fitting}
    for payload, hits in found:
        scores = expected(by_id[payload.id], fitting, collection.manifest.distance, copies=False)
        assert [hit.score for hit in hits] == pytest.approx(scores, abs=TOLERANCE)


@WAYS
@pytest.mark.parametrize("copies", [False, True])
def test_folding_equals_a_plain_loop(
    collection: Collection, points: list[ImagePoint], exact: bool, copies: bool
) -> None:
    """Near-duplicates are folded over each image's whole ranking; without a threshold none are."""
    units = {each.payload.id: each.vector / np.linalg.norm(each.vector) for each in points}
    whole = all_hits(collection, limit=60, include_copies=copies, exact=exact)
    folded = find_all_scenes(collection, limit=5, above=0.9, include_copies=copies, exact=exact)
    for (asks, hits), (payload, scenes) in zip(whole, folded, strict=True):
        assert payload == asks
        standing: list[list[str]] = []
        for hit in hits:
            own = units[hit.payload.id]
            near = [scene for scene in standing if units[scene[0]] @ own > 0.9]
            if near:
                near[0].append(hit.payload.id)
            elif len(standing) == 5:
                break
            else:
                standing.append([hit.payload.id])
        found = [[scene.hit.payload.id, *(hit.payload.id for hit in scene.near)] for scene in scenes]
        assert [sorted(scene) for scene in found] == [sorted(scene) for scene in standing]
    plain = find_all_scenes(collection, limit=5, above=None, include_copies=copies, exact=exact)
    assert not any(scene.near for _, scenes in plain for scene in scenes)


@WAYS
def test_few_images_have_few_neighbours(store: Store, exact: bool) -> None:
    """An empty collection has no queries, a single image no neighbours, and each of two images has one."""
    for count in range(3):
        points = [point_of(f"{row}.jpg", [1, row]) for row in range(count)]
        with collection_of(store, points) as collection:
            found = all_hits(collection, limit=10, exact=exact)
            assert [len(hits) for _, hits in found] == [count - 1] * count


@WAYS
def test_points_deleted_during_a_search_are_left_out(store: Store, exact: bool) -> None:
    """A deleted point is neither a query nor a hit."""

    class Forgetful:
        """A collection whose scan still has an image that has gone."""

        def __init__(self, collection: Collection) -> None:
            self._collection = collection

        def __getattr__(self, name: str) -> object:
            return getattr(self._collection, name)

        def scan(self, where: PointFilter) -> Iterator[object]:
            yield from self._collection.scan(where)
            yield replace(point_of("gone.jpg", [1, 1]).payload)

    points = [point_of(f"{row}.jpg", [1, row]) for row in range(3)]
    with collection_of(store, points) as collection:
        found = all_hits(Forgetful(collection), limit=10, exact=exact)  # type: ignore[arg-type]
    assert [(payload.path, len(hits)) for payload, hits in found] == [(f"{row}.jpg", 2) for row in range(3)]


def test_large_collections_are_searched_by_the_store(store: Store) -> None:
    """The store is searched where there are too many images, or bytes of vectors, for brute force."""
    with collection_of(store, [point_of(f"{row}.jpg", [1, row]) for row in range(3)]) as collection:
        assert is_small(collection)
        too_large = ComparisonLimits(exact_bytes=3 * 2 * 4 - 1)
        assert not is_small(collection, limits=too_large)
        assert is_small(collection, PointFilter(dataset="other"), limits=too_large)
        assert is_small(collection, limits=ComparisonLimits(exact_bytes=3 * 2 * 4, exact_images=3))
        assert not is_small(collection, limits=ComparisonLimits(exact_images=2))
