"""A search finds the same as NumPy, in both stores.

The server is a real one if `QDRANT_URL` is set; otherwise the client's in-memory mode stands in for it, which
tests our use of the client and not Qdrant.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload, PointFilter, SearchHit
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.stores.server import ServerStore
from made_collections import manifest_of
from numpy.typing import NDArray

QDRANT_URL = os.environ.get("QDRANT_URL")
DIMENSION = 3

SCORE_TOLERANCE = 1e-5
"""Relative to the largest possible score: float32 sums are in another order than NumPy's float64."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

Vector = tuple[float, ...]
VALUES = st.integers(-6_400, 6_400).map(lambda value: value / 64)
VECTORS = st.tuples(VALUES, VALUES, VALUES).filter(any)
"""Vectors that float32 represents exactly, and their differences too."""

LENGTHS = st.sampled_from([1, 1e-4, 1e-30, 1e18, 1e30])
"""Lengths whose squares float32 can and cannot represent; for cosine, the length does not matter."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of a collection."""

    vector: Vector
    class_name: str | None
    dataset: str
    content: int

    def payload(self, number: int) -> Payload:
        """Returns the payload of the `number`-th image of its dataset."""
        return Payload(
            dataset=self.dataset,
            path=f"{number}.png",
            class_name=self.class_name,
            sha256=sha256(self.content),
            width=1,
            height=1,
            bytes=1,
            mtime_ns=1,
            ingested_at="2026-01-01T00:00:00+00:00",
        )

    def fits(self, where: PointFilter) -> bool:
        """Returns whether a filter matches, following the documentation of `PointFilter`."""
        return (
            where.class_name in (None, self.class_name or "")
            and where.dataset in (None, self.dataset)
            and sha256(self.content) not in where.excluded_sha256
        )


def sha256(content: int) -> str:
    """Returns a SHA-256 in hex."""
    return hashlib.sha256(bytes([content])).hexdigest()


IMAGES = st.lists(
    st.builds(
        Shown,
        VECTORS,
        st.sampled_from([None, "cat", "dog"]),
        st.sampled_from(["one", "two"]),
        st.integers(0, 3),
    ),
    max_size=12,
)
FILTERS = st.builds(
    PointFilter,
    class_name=st.sampled_from([None, "", "cat", "bird"]),
    dataset=st.sampled_from([None, "one"]),
    excluded_sha256=st.frozensets(st.builds(sha256, st.integers(0, 3)), max_size=3),
)


@pytest.fixture(scope="module", params=["embedded", "server" if QDRANT_URL else "server-stand-in"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Opens the store under test."""
    one: Store = (
        EmbeddedStore(tmp_path_factory.mktemp("qdrant")) if request.param == "embedded" else server_store()
    )
    yield one
    one.close()


def server_store() -> ServerStore:
    """Returns the real server if there is one, else the client's in-memory mode as a stand-in."""
    if QDRANT_URL:
        return connect(QDRANT_URL, api_key=os.environ.get("QDRANT_API_KEY"))
    from qdrant_client import QdrantClient

    return ServerStore(QdrantClient(":memory:"), label="the client's in-memory mode")


@pytest.fixture(scope="module")
def filled(store: Store) -> Iterator[Callable[[Distance, Sequence[Shown]], Collection]]:
    """Yields a function that fills a collection with exactly these images; makes one for each distance."""
    collections: dict[Distance, Collection] = {}

    def fill(distance: Distance, images: Sequence[Shown]) -> Collection:
        if distance not in collections:
            manifest = manifest_of(distance, DIMENSION, {"one": "/one", "two": "/two"})
            store.create(manifest)
            collections[distance] = store.open(manifest.collection)
        collection = collections[distance]
        collection.delete([payload.id for payload in collection.scan()])
        collection.upsert(
            [
                ImagePoint(payload=image.payload(i), vector=np.asarray(image.vector, np.float32))
                for i, image in enumerate(images)
            ]
        )
        return collection

    yield fill
    for collection in collections.values():
        with collection:
            pass
        store.delete(collection.name)


@settings(max_examples=60)
@given(
    distance=st.sampled_from(Distance),
    images=IMAGES,
    query=VECTORS,
    where=FILTERS,
    limit=st.integers(1, 15),
    exact=st.booleans(),
    lengths=st.tuples(LENGTHS, LENGTHS),
)
@example(
    distance=Distance.COSINE,
    images=[Shown((1, 1, 0), None, "one", 0)],
    query=(1, 0, 0),
    where=PointFilter(),
    limit=1,
    exact=True,
    lengths=(1e-4, 1),
)
def test_a_search_finds_the_same_as_numpy(
    filled: Callable[[Distance, Sequence[Shown]], Collection],
    distance: Distance,
    images: list[Shown],
    query: Vector,
    where: PointFilter,
    limit: int,
    exact: bool,
    lengths: tuple[float, float],
) -> None:
    """The hits match the filter, with right scores and number, and they are the best ones, best first."""
    if distance is Distance.COSINE:
        images = [replace(image, vector=scaled(image.vector, lengths[0])) for image in images]
        query = scaled(query, lengths[1])
    hits = filled(distance, images).query(
        np.asarray(query, np.float32), limit=limit, where=where, exact=exact
    )
    fitting = {p.payload(i).id: p for i, p in enumerate(images) if p.fits(where)}
    expected = dict(zip(fitting, scores(distance, query, list(fitting.values())), strict=True))
    tolerance = SCORE_TOLERANCE * (1 if distance is Distance.COSINE else 500)
    assert len(hits) == len({hit.payload.id for hit in hits}) == min(limit, len(fitting))
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.payload.id], rel=0, abs=tolerance)
    assert_best_first(hits, expected, distance, tolerance)


def scaled(vector: Vector, by: float) -> Vector:
    """Returns a vector multiplied by a factor."""
    return tuple(value * by for value in vector)


def assert_best_first(
    hits: Sequence[SearchHit], expected: dict[str, float], distance: Distance, tolerance: float
) -> None:
    """Checks that hits are sorted, and that no image left out is nearer than the last of them."""
    sign = -1 if distance.higher_is_nearer else 1
    found = [sign * hit.score for hit in hits]
    assert found == sorted(found)
    shown = {hit.payload.id for hit in hits}
    left_out = [sign * score for key, score in expected.items() if key not in shown]
    assert not hits or all(score >= found[-1] - tolerance for score in left_out)


def scores(distance: Distance, query: Vector, images: Sequence[Shown]) -> NDArray[np.float64]:
    """Returns cosine similarities or Euclidean distances, computed in the most direct way."""
    one = np.asarray(query, np.float64)
    all_of_them = np.asarray([image.vector for image in images], np.float64).reshape(-1, DIMENSION)
    if distance is Distance.EUCLID:
        return np.asarray(np.linalg.norm(all_of_them - one, axis=1))
    lengths = np.linalg.norm(all_of_them, axis=1) * np.linalg.norm(one)
    return np.asarray(all_of_them @ one / lengths)
