"""The records that are written to and read from a collection."""

import hashlib
import struct
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
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


class FieldKind(StrEnum):
    """How a payload field is indexed; Qdrant's names in lower case."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    DATETIME = "datetime"


CLASS, FOLDERS, TAKEN_AT = "class", "folders", "taken_at"
"""Payload fields; points of older versions lack the last two."""

INDEXED_FIELDS = {
    CLASS: FieldKind.KEYWORD,
    "dataset": FieldKind.KEYWORD,
    "sha256": FieldKind.KEYWORD,
    FOLDERS: FieldKind.KEYWORD,
    "width": FieldKind.INTEGER,
    TAKEN_AT: FieldKind.DATETIME,
}
"""Payload fields that are indexed: on a server when a collection is created, in an embedded store when an
ingest has ended."""

FIRST_INDEXED = (CLASS, "dataset", "sha256")
"""Those of every version, whose indexes are completed when a collection on a server is opened. The others are
added to an older collection by an ingest, which may write to it."""

ROOT = "."
"""The folder of a dataset itself, among the folders that an image is in."""

_NAMESPACE = uuid.UUID("9d0a4f5c-6f0e-5b6e-9c7e-3f2f6a0d8a11")


def point_id(dataset: str, path: str) -> str:
    """Returns the id of an image: UUIDv5 of its dataset and its root-relative POSIX path.

    It is written out here, since a `uuid.UUID` and its text take twice as long, of every point that is read.
    """
    digest = hashlib.sha1(_dataset_namespace(dataset) + path.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


_VARIANTS = "89ab"
"""The digit of a UUID by RFC 4122 that has two fixed bits and two of the hash."""


@lru_cache(maxsize=64)
def _dataset_namespace(dataset: str) -> bytes:
    return uuid.uuid5(_NAMESPACE, dataset).bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The data about an image that is stored beside its vector.

    `path` is relative to the dataset's root, in POSIX form and in the Unicode form on the disk; a class is in
    Unicode's composed form (NFC), so that it is one class on every disk. `sha256` is that of the file;
    `width` and `height` are in pixels, with the orientation applied; `ingested_at` is ISO 8601 in UTC.
    `moved_from` is the file's former path, if it was moved. `synset` is WordNet's id of the class
    (`n01440764`), if the class came from one. `mtime_ns` is the last change of the file's content, `ctime_ns`
    that of its content, name or permissions, in nanoseconds since 1970. `missing_since` is when an ingest
    that prunes after a time first missed the file, ISO 8601 in UTC; None while the file is there.
    `taken_at` is when the image was taken, ISO 8601 in UTC to the second, see `time_taken`. Points of older
    versions have no `ctime_ns` and no `taken_at`.
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
    missing_since: str | None = None
    taken_at: str | None = None

    @property
    def id(self) -> str:
        """The id of the point that carries this payload."""
        return point_id(self.dataset, self.path)

    @property
    def sort_key(self) -> tuple[str, str]:
        """Dataset and path, by which images are sorted."""
        return self.dataset, self.path

    @property
    def folders(self) -> list[str]:
        """The folders that the image is in, from the dataset's own (`.`) inwards, in NFC."""
        return list_folders(self.path)

    def to_json(self) -> dict[str, Any]:
        """Returns the payload as Qdrant stores it: the class under `class`, and with the image's folders."""
        data: dict[str, Any] = {CLASS: self.class_name, FOLDERS: self.folders}
        data |= {name: getattr(self, name) for name in _ALWAYS}  # `asdict` takes longer than the engine
        return data | {name: value for name in _SOMETIMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Returns the payload that `to_json` wrote.

        Former versions wrote the class in the disk's Unicode form.
        """
        class_name = data.get(CLASS)
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
            missing_since=data.get("missing_since"),
            taken_at=data.get(TAKEN_AT),
        )


_SOMETIMES = ("moved_from", "synset", "ctime_ns", "missing_since", TAKEN_AT)
_ALWAYS = tuple(field.name for field in fields(Payload) if field.name not in ("class_name", *_SOMETIMES))


def list_folders(path: str) -> list[str]:
    """Returns the folders of a root-relative POSIX path, from the root (`.`) inwards, in NFC.

    They are names as `find_name` compares them, whichever form the disk has.
    """
    parts = nfc(path).split("/")[:-1]
    return [ROOT, *accumulate(parts, "{}/{}".format)]


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
    """Selects points that meet every condition; a field that is empty or `None` is no condition.

    `classes` are those of which a point has one, `not_classes` those of which it has none; `""` stands for
    points without a class. A class matches any Unicode form of itself, since former versions stored it in the
    disk's form. Dataset names are those of the collection's manifest. `folders` are those of which a point is
    in one, at any depth, as `list_folders` has them. `since` and `until` are the first and the last
    `taken_at`. `min_width` is in pixels. `labelled` selects points with any class. `excluded_sha256` are file
    hashes to exclude, `only_sha256` those to select.

    Points of older versions are in no folder and were taken at no time.
    """

    classes: frozenset[str] = frozenset()
    not_classes: frozenset[str] = frozenset()
    dataset: str | None = None
    folders: frozenset[str] = frozenset()
    since: str | None = None
    until: str | None = None
    min_width: int | None = None
    labelled: bool = False
    excluded_sha256: frozenset[str] = frozenset()
    only_sha256: frozenset[str] = frozenset()

    @property
    def is_of_one_class(self) -> bool:
        """Whether at most one class is selected, so that points have nothing to vote on."""
        return bool(self.classes) and len(self.classes - {""}) <= 1

    @property
    def newer_fields(self) -> list[str]:
        """The payload fields of conditions that points of older versions lack."""
        is_dated = self.since is not None or self.until is not None
        return [FOLDERS] * bool(self.folders) + [TAKEN_AT] * is_dated

    def matches(self, payload: Payload) -> bool:
        """Returns whether a point with this payload is selected."""
        name = payload.class_name or ""
        return (
            (not self.classes or name in map(nfc, self.classes))
            and name not in map(nfc, self.not_classes)
            and (bool(name) or not self.labelled)
            and self.dataset in (None, payload.dataset)
            and (not self.folders or not self.folders.isdisjoint(payload.folders))
            and (self.since is None or self.since <= (payload.taken_at or ""))
            and (self.until is None or "" < (payload.taken_at or "") <= self.until)
            and (self.min_width is None or payload.width >= self.min_width)
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
    more, which are dropped. The Unicode forms of a class are counted as one. A point is in several folders,
    so that their counts say nothing about those without one.
    """
    present: Counter[str] = Counter()
    for value, count in counts.items():
        if count:
            present[nfc(value) if field == CLASS else value] += count
    without = points - sum(present.values())
    if without and field != FOLDERS:
        present[""] += without
    return dict(sorted(present.items()))


def usable_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which rows of float32 `[N, D]` a store accepts, those finite and not all zero; bool `[N]`."""
    finite = np.isfinite(vectors).all(axis=1)
    return np.asarray(finite & vectors.any(axis=1))


def as_vector(values: object) -> FloatVector:
    """Returns a vector, float32 `[D]`, of what the engine returns for one: a list of Python's floats.

    `struct` takes a sixth of the time of `np.asarray`, which looks at each value twice.
    """
    if not isinstance(values, list):
        return np.asarray(values, dtype=np.float32)  # lost, so that its shape is another
    packed = bytearray(4 * len(values))
    struct.pack_into(f"{len(values)}f", packed, 0, *values)
    return np.frombuffer(packed, dtype=np.float32)


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
