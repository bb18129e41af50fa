"""Reads labelled images of collections into memory, and selects those that several collections share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.overlapping_roots import first_of_each_file
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import format_count
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating]
IntVector = NDArray[np.int64]

MIN_IMAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVectors:
    """A collection in memory: `vectors` float `[N, D]`, `classes` and `copies` int64 `[N]`.

    Everything is computed in the precision of the vectors, float32 as a rule, so neighbours whose scores
    hardly differ may change places. Cosine similarities are off by at most about 1e-6. Euclidean distances
    are computed from squares, whose error is about 1e-6 of the squared lengths (from the mean of all): a
    distance of about such a length is off by up to 1e-5 of itself, one below a thousandth may be 0.

    `classes` index into `names`, which are sorted. Images with the same number in `copies` have the same
    bytes.
    """

    vectors: FloatMatrix
    classes: IntVector
    copies: IntVector
    names: Sequence[str]
    higher_is_nearer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Vectors with their classes, and payloads in the same order; `unlabelled` images were left out."""

    vectors: LabelledVectors
    payloads: Sequence[Payload]
    unlabelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImages:
    """The images that all of several collections hold, in the same order in each of `networks`.

    `only_in_some` is the number of images with a class that only some of them hold.
    """

    networks: Sequence[LabelledImages]
    only_in_some: int


def load_labelled(collection: Collection, where: PointFilter = EVERYTHING) -> LabelledImages:
    """Reads every image with a class, sorted by dataset and path; a file in two datasets is read once.

    Raises:
        UsageError: fewer than two images have a class.
    """
    found = sorted(collection.scan(where), key=lambda payload: (payload.dataset, payload.path))
    if not found:
        raise UsageError(f"{collection.name} holds no image", hint=Hint(Action.FILL))
    images = first_of_each_file(found, collection.manifest)
    labelled = [payload for payload in images if payload.class_name]
    payloads, stored = read_vectors(collection, labelled)  # less what was removed meanwhile
    if len(payloads) < MIN_IMAGES:
        raise UsageError(
            f"{collection.name} holds {format_count(len(payloads), 'image')} with a class, too few to "
            "evaluate; put them into folders named after their classes",
            hint=Hint(Action.LABEL),
        )
    names, classes = np.unique([payload.class_name or "" for payload in payloads], return_inverse=True)
    copies = {sha256: number for number, sha256 in enumerate(dict.fromkeys(p.sha256 for p in payloads))}
    vectors = LabelledVectors(
        vectors=stored,
        classes=classes,
        copies=np.array([copies[payload.sha256] for payload in payloads]),
        names=names.tolist(),
        higher_is_nearer=collection.manifest.distance.higher_is_nearer,
    )
    return LabelledImages(vectors=vectors, payloads=payloads, unlabelled=len(images) - len(labelled))


def shared_images(collections: Sequence[LabelledImages]) -> SharedImages:
    """Returns the images that all collections hold, with the same bytes and of the same class.

    Raises:
        UsageError: fewer than two images remain.
    """
    keys = [[_key(payload) for payload in images.payloads] for images in collections]
    common = set[tuple[str, ...]].intersection(*map(set, keys))
    if len(common) < MIN_IMAGES:
        raise UsageError(
            f"the collections share {format_count(len(common), 'image')} with a class, too few to "
            "evaluate them together; ingest the same folder with both backbones"
        )
    parts = [
        _select(images, [row for row, key in enumerate(own) if key in common])
        for images, own in zip(collections, keys, strict=True)
    ]
    return SharedImages(networks=parts, only_in_some=len(set().union(*keys)) - len(common))


def _key(payload: Payload) -> tuple[str, ...]:
    return payload.dataset, payload.path, payload.sha256, payload.class_name or ""


def _select(images: LabelledImages, rows: Sequence[int]) -> LabelledImages:
    """Returns some of the images in their order, with their classes renumbered."""
    if len(rows) == len(images.payloads):
        return images
    kept, vectors = np.array(rows), images.vectors
    numbers, classes = np.unique(vectors.classes[kept], return_inverse=True)
    part = LabelledVectors(
        vectors=vectors.vectors[kept],
        classes=classes,
        copies=vectors.copies[kept],
        names=[vectors.names[number] for number in numbers],
        higher_is_nearer=vectors.higher_is_nearer,
    )
    return replace(images, vectors=part, payloads=[images.payloads[row] for row in rows])
