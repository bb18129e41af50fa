"""A search finds the same as NumPy, in both stores.

The server is a real one if `QDRANT_URL` is set; otherwise the client's in-memory mode stands in for it, which
tests our use of the client and not Qdrant.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

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
from lookalike_core.text import nfc
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
    folder: str = ""
    taken_at: str | None = None
    width: int = 1

    def payload(self, number: int) -> Payload:
        """Returns the payload of the `number`-th image of its dataset."""
        return Payload(
            dataset=self.dataset,
            path=f"{self.folder}{number}.png",
            class_name=self.class_name,
            sha256=sha256(self.content),
            width=self.width,
            height=1,
            bytes=1,
            mtime_ns=1,
            ingested_at="2026-01-01T00:00:00+00:00",
            taken_at=self.taken_at,
        )

    def fits(self, where: PointFilter) -> bool:
        """Returns whether a filter matches, following the documentation of `PointFilter`."""
        is_dated = where.since is not None or where.until is not None
        return (
            (not where.classes or (self.class_name or "") in where.classes)
            and (self.class_name or "") not in where.not_classes
            and where.dataset in (None, self.dataset)
            and (not where.folders or any(nfc(self.folder).startswith(f"{each}/") for each in where.folders))
            and (not is_dated or self.taken_at is not None)
            and (where.since or FIRST) <= (self.taken_at or FIRST) <= (where.until or LAST)
            and self.width >= (where.min_width or 0)
            and sha256(self.content) not in where.excluded_sha256
        )


def sha256(content: int) -> str:
    """Returns a SHA-256 in hex."""
    return hashlib.sha256(bytes([content])).hexdigest()


FIRST, LAST = "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"
TIMES = st.sampled_from([FIRST, "2020-05-01T10:00:00+00:00", "2020-05-01T10:00:01+00:00", LAST])
NAMES = st.frozensets(st.sampled_from(["", "cat", "dog", "bird"]), max_size=2)

IMAGES = st.lists(
    st.builds(
        Shown,
        VECTORS,
        st.sampled_from([None, "cat", "dog"]),
        st.sampled_from(["one", "two"]),
        st.integers(0, 3),
        st.sampled_from(["", "a/", "a/b/", "a/bc/", "b/", "Ka\u0308fer/"]),
        st.none() | TIMES,
        st.integers(1, 3),
    ),
    max_size=12,
)
FILTERS = st.builds(
    PointFilter,
    classes=NAMES,
    not_classes=NAMES,
    dataset=st.sampled_from([None, "one"]),
    folders=st.frozensets(st.sampled_from(["a", "a/b", "b", "K\u00e4fer"]), max_size=2),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    min_width=st.none() | st.integers(1, 3),
    excluded_sha256=st.frozensets(st.builds(sha256, st.integers(0, 3)), max_size=3),
)
NO_FILTERS = PointFilter()
SPARSE_FILTERS = st.builds(
    lambda drawn, kept: replace(NO_FILTERS, **{name: getattr(drawn, name) for name in kept}),
    FILTERS,
    st.sets(st.sampled_from([field.name for field in fields(PointFilter)]), max_size=2),
)
"""Filters of few conditions: those of many select nothing in most cases."""


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


@settings(max_examples=100)
@given(
    distance=st.sampled_from(Distance),
    images=IMAGES,
    query=VECTORS,
    where=SPARSE_FILTERS,
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
    assert fitting.keys() == {q.id for i, p in enumerate(images) if where.matches(q := p.payload(i))}
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
