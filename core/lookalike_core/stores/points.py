"""What lies in a collection and what comes out of it."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import LookalikeError
from lookalike_core.neighbours.cosine import clip_cosine
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.text import nfc

MAX_DIMENSION = 65_536
"""Qdrant's limit on the values of one vector; the embedded engine would not refuse more, so we do."""

SEARCH_EF = 128
"""Candidates that a search in an HNSW graph keeps in view. Among 100,000 vectors like those of photos 64 find
0.9995 of the ten nearest, 128 all of them, and 256 take nearly twice the time (benchmarks/store.py)."""

OVERSAMPLING = {VectorQuantization.INT8: 2.0, VectorQuantization.INT4: 3.0}
"""So many times the vectors asked for are found by their short form, then put in order by the vectors
themselves. With it recall@10 is that of whole vectors (benchmarks/store.py)."""

KEYWORD_FIELDS = ("class", "dataset", "sha256")
"""Payload fields that are indexed when a collection is made."""

_NAMESPACE = uuid.UUID("9d0a4f5c-6f0e-5b6e-9c7e-3f2f6a0d8a11")


def point_id(dataset: str, path: str) -> str:
    """Returns the id of an image: UUIDv5 of its dataset and its root-relative POSIX path."""
    return str(uuid.uuid5(_dataset_namespace(dataset), path))


@lru_cache(maxsize=64)
def _dataset_namespace(dataset: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, dataset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What is known of an image besides its vector.

    `path` is relative to the dataset's root, in POSIX form and as the disk has it; a class is in Unicode's
    composed form (NFC), so that it is one class on every disk. `sha256` is that of the file; `width` and
    `height` are pixels as shown (orientation applied); `ingested_at` is ISO 8601 in UTC. `moved_from` is
    the path that the file had before it was moved here, if it was. `synset` is WordNet's id of the class
    (`n01440764`), where the class came from one. `mtime_ns` is when the bytes of the file were
    changed, `ctime_ns` when its bytes, name or rights were, in nanoseconds since 1970; points of older
    versions have no `ctime_ns`.
    """

    dataset: str
    path: str
    class_name: str | None
    sha256: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    ingested_at: str
    moved_from: str | None = None
    synset: str | None = None
    ctime_ns: int | None = None

    @property
    def id(self) -> str:
        """The id of the point that carries this payload."""
        return point_id(self.dataset, self.path)

    @property
    def sort_key(self) -> tuple[str, str]:
        """Dataset and path, by which images are sorted."""
        return self.dataset, self.path

    def to_json(self) -> dict[str, Any]:
        """Returns it as it lies in Qdrant, where the class is called `class`."""
        data: dict[str, Any] = {"class": self.class_name}
        data |= {name: getattr(self, name) for name in _ALWAYS}  # `asdict` takes longer than the engine
        return data | {name: value for name in _SOMETIMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; former versions wrote a class as its folder's name has it."""
        class_name = data.get("class")
        return cls(
            dataset=data["dataset"],
            path=data["path"],
            class_name=nfc(class_name) if class_name else class_name,
            sha256=data["sha256"],
            width=data["width"],
            height=data["height"],
            bytes=data["bytes"],
            mtime_ns=data["mtime_ns"],
            ingested_at=data["ingested_at"],
            moved_from=data.get("moved_from"),
            synset=data.get("synset"),
            ctime_ns=data.get("ctime_ns"),
        )


_SOMETIMES = ("moved_from", "synset", "ctime_ns")
_ALWAYS = tuple(field.name for field in fields(Payload) if field.name not in ("class_name", *_SOMETIMES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePoint:
    """An image on its way into a collection: `vector` is float32 `[D]`."""

    payload: Payload
    vector: FloatVector


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A neighbour, with Qdrant's own score (cosine similarity, or Euclidean distance)."""

    score: float
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredId:
    """A neighbour by its id alone, with Qdrant's own score."""

    id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFilter:
    """Which points to look at; `None` leaves a field open. `class_name=""` means without a class.

    A class means itself in any Unicode form, for former versions stored it as the disk had it. A dataset's
    name is that of the collection's manifest.

    `labelled` means with a class, whichever. `excluded_sha256` holds the files' hashes of those to leave out,
    `only_sha256` of those to look at, all of them where it is empty.
    """

    class_name: str | None = None
    labelled: bool = False
    dataset: str | None = None
    excluded_sha256: frozenset[str] = frozenset()
    only_sha256: frozenset[str] = frozenset()

    def matches(self, payload: Payload) -> bool:
        """Returns whether a point with this payload is one of those to look at."""
        name = payload.class_name or ""
        return (
            (self.class_name is None or nfc(self.class_name) == name)
            and (bool(name) or not self.labelled)
            and self.dataset in (None, payload.dataset)
            and payload.sha256 not in self.excluded_sha256
            and (not self.only_sha256 or payload.sha256 in self.only_sha256)
        )


EVERYTHING = PointFilter()


def score_in_range(score: float, distance: Distance) -> float:
    """Returns a store's own score within the range that its distance has: float32 rounds cosines past 1."""
    return clip_cosine(score) if distance is Distance.COSINE else score


def complete_tally(counts: Mapping[str, int], *, field: str, points: int) -> dict[str, int]:
    """Returns how many of `points` have each value of a field, sorted, out of what a facet counts.

    A facet leaves points without a value out, which are counted as `""` here, and keeps values that no
    point has any more, which are dropped. A class that is stored in several Unicode forms is one.
    """
    present: Counter[str] = Counter()
    for value, count in counts.items():
        if count:
            present[nfc(value) if field == "class" else value] += count
    without = points - sum(present.values())
    if without:
        present[""] += without
    return dict(sorted(present.items()))


def usable_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which rows of float32 `[N, D]` a store may hold, finite and not all zero; bool `[N]`."""
    finite = np.isfinite(vectors).all(axis=1)
    return np.asarray(finite & vectors.any(axis=1))


def as_values(vector: FloatVector, distance: Distance) -> list[float]:
    """A vector as Qdrant is handed it; see `as_rows`."""
    return as_rows(vector[np.newaxis], distance)[0]


def as_rows(vectors: FloatVector, distance: Distance) -> list[list[float]]:
    """Returns vectors float32 `[N, D]` as Qdrant is handed them.

    For cosine only the direction counts, but Qdrant finds the length in float32: it leaves vectors shorter
    than about 3e-4 as they are, and takes those longer than 1e19 for zero. Such ones get length 1 here.
    """
    rows = cast("list[list[float]]", vectors.tolist())
    if distance is Distance.COSINE:
        squares = np.einsum("nd,nd->n", vectors, vectors)  # inf or 0 where float32 does not reach
        is_usual = (squares >= _SHORTEST**2) & (squares <= _LONGEST**2)
        for row in np.flatnonzero(~is_usual):
            exact = vectors[row].astype(np.float64)
            rows[row] = (exact / np.linalg.norm(exact)).astype(np.float32).tolist()
    return rows


_SHORTEST, _LONGEST = 1e-2, 1e15
"""Lengths between which Qdrant normalises well, with room to spare."""


def check_vectors(points: Sequence[ImagePoint], *, dimension: int) -> FloatVector:
    """Returns the vectors of points, float32 `[N, D]`; what Qdrant would never find again is refused.

    Raises:
        LookalikeError: a vector has the wrong length, or is not finite, or is zero.
    """
    for point in points:
        if point.vector.shape != (dimension,):
            raise LookalikeError(
                f"{point.payload.path}: the vector has shape {point.vector.shape}, not ({dimension},)"
            )
    vectors = np.array([point.vector for point in points], dtype=np.float32).reshape(-1, dimension)
    if not (usable := usable_rows(vectors)).all():
        path = points[int(np.argmin(usable))].payload.path
        raise LookalikeError(f"{path}: the vector is zero or not finite and cannot be searched")
    return vectors


def check_query(vector: FloatVector, *, dimension: int) -> None:
    """Keeps a query that nothing can be near to out of a search, which would answer it all the same.

    Raises:
        LookalikeError: the vector has the wrong length, or is not finite, or is zero.
    """
    if vector.shape != (dimension,):
        raise LookalikeError(f"the query vector has shape {vector.shape}, not ({dimension},)")
    check_queries(vector[np.newaxis], dimension=dimension)


def check_queries(vectors: FloatVector, *, dimension: int) -> None:
    """The same for float32 `[B, D]`, many queries.

    Raises:
        LookalikeError: the vectors have the wrong length, or one is not finite, or is zero.
    """
    if vectors.ndim != _MATRIX or vectors.shape[1] != dimension:
        raise LookalikeError(f"the query vectors have shape {vectors.shape}, not (any, {dimension})")
    if not usable_rows(vectors).all():
        raise LookalikeError("the query vector is zero or not finite and is near to nothing")


_MATRIX = 2  # of two dimensions
