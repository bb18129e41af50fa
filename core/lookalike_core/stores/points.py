"""The records that are written to and read from a collection."""

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
"""Qdrant's limit on the dimension of vectors; checked here since the embedded engine does not."""

SEARCH_EF = 128
"""Candidates that a search in an HNSW graph keeps. Among 100,000 vectors like those of photos, 64 give a
recall@10 of 0.9995, 128 of 1, and 256 take nearly twice the time (benchmarks/store.py)."""

OVERSAMPLING = {VectorQuantization.INT8: 2.0, VectorQuantization.INT4: 3.0}
"""How many times the limit are found by quantized vectors, then rescored by the whole ones. With it,
recall@10 is that of whole vectors (benchmarks/store.py)."""

KEYWORD_FIELDS = ("class", "dataset", "sha256")
"""Payload fields that are indexed when a collection is created."""

_NAMESPACE = uuid.UUID("9d0a4f5c-6f0e-5b6e-9c7e-3f2f6a0d8a11")


def point_id(dataset: str, path: str) -> str:
    """Returns the id of an image: UUIDv5 of its dataset and its root-relative POSIX path."""
    return str(uuid.uuid5(_dataset_namespace(dataset), path))


@lru_cache(maxsize=64)
def _dataset_namespace(dataset: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, dataset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The data about an image that is stored beside its vector.

    `path` is relative to the dataset's root, in POSIX form and in the Unicode form on the disk; a class is in
    Unicode's composed form (NFC), so that it is one class on every disk. `sha256` is that of the file;
    `width` and `height` are in pixels, with the orientation applied; `ingested_at` is ISO 8601 in UTC.
    `moved_from` is the file's former path, if it was moved. `synset` is WordNet's id of the class
    (`n01440764`), if the class came from one. `mtime_ns` is the last change of the file's content, `ctime_ns`
    that of its content, name or permissions, in nanoseconds since 1970; points of older versions have no
    `ctime_ns`.
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
        """Returns the payload as Qdrant stores it, with the class under `class`."""
        data: dict[str, Any] = {"class": self.class_name}
        data |= {name: getattr(self, name) for name in _ALWAYS}  # `asdict` takes longer than the engine
        return data | {name: value for name in _SOMETIMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Returns the payload that `to_json` wrote.

        Former versions wrote the class in the disk's Unicode form.
        """
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
    """An image to be written to a collection: `vector` is float32 `[D]`."""

    payload: Payload
    vector: FloatVector


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A neighbour, with Qdrant's own score (cosine similarity, or Euclidean distance)."""

    score: float
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredId:
    """A neighbour by its id only, with Qdrant's own score."""

    id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFilter:
    """Selects points; `None` means any value of a field. `class_name=""` selects points without a class.

    A class matches any Unicode form of itself, since former versions stored it in the disk's form. Dataset
    names are those of the collection's manifest.

    `labelled` selects points with any class. `excluded_sha256` are file hashes to exclude, `only_sha256`
    those to select; empty means all.
    """

    class_name: str | None = None
    labelled: bool = False
    dataset: str | None = None
    excluded_sha256: frozenset[str] = frozenset()
    only_sha256: frozenset[str] = frozenset()

    def matches(self, payload: Payload) -> bool:
        """Returns whether a point with this payload is selected."""
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
    """Returns a store's score clipped to the range of its distance: float32 rounding takes cosines past 1."""
    return clip_cosine(score) if distance is Distance.COSINE else score


def complete_tally(counts: Mapping[str, int], *, field: str, points: int) -> dict[str, int]:
    """Returns how many of `points` have each value of a field, sorted by value, from a facet's counts.

    A facet omits points without a value, counted as `""` here, and may have values that no point has any
    more, which are dropped. The Unicode forms of a class are counted as one.
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
    """Returns which rows of float32 `[N, D]` a store accepts, those finite and not all zero; bool `[N]`."""
    finite = np.isfinite(vectors).all(axis=1)
    return np.asarray(finite & vectors.any(axis=1))


def as_values(vector: FloatVector, distance: Distance) -> list[float]:
    """Returns a vector as it is passed to Qdrant; see `as_rows`."""
    return as_rows(vector[np.newaxis], distance)[0]


def as_rows(vectors: FloatVector, distance: Distance) -> list[list[float]]:
    """Returns vectors float32 `[N, D]` as they are passed to Qdrant.

    For cosine similarity only the direction matters, but Qdrant computes the length in float32: it does not
    normalise vectors shorter than about 3e-4, and takes those longer than 1e19 for zero. Such vectors are
    normalised here.
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
"""Lengths between which Qdrant normalises correctly, with a margin."""


def check_vectors(points: Sequence[ImagePoint], *, dimension: int) -> FloatVector:
    """Returns the vectors of points, float32 `[N, D]`; refuses those that no search could find.

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
    """Refuses a query vector that has no neighbours, which the search would not.

    Raises:
        LookalikeError: the vector has the wrong length, or is not finite, or is zero.
    """
    if vector.shape != (dimension,):
        raise LookalikeError(f"the query vector has shape {vector.shape}, not ({dimension},)")
    check_queries(vector[np.newaxis], dimension=dimension)


def check_queries(vectors: FloatVector, *, dimension: int) -> None:
    """Refuses such query vectors among float32 `[B, D]`.

    Raises:
        LookalikeError: the vectors have the wrong length, or one is not finite, or is zero.
    """
    if vectors.ndim != _MATRIX or vectors.shape[1] != dimension:
        raise LookalikeError(f"the query vectors have shape {vectors.shape}, not (any, {dimension})")
    if not usable_rows(vectors).all():
        raise LookalikeError("the query vector is zero or not finite, so it has no neighbours")


_MATRIX = 2  # of two dimensions
