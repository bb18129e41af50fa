"""Reads the images that a head is fitted to: each distinct image once, with its stored vector."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.overlapping_roots import first_of_each_file, first_of_file
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_core.stores.protocol import Collection

from lookalike_exporter.heads.metric_learning import FEWEST_IMAGES


class LeftOut(StrEnum):
    """Why an image was not used."""

    UNLABELLED = "unlabelled"
    COPY = "copy"
    CONTRADICTORY = "contradictory"
    """Images with the same bytes are in two classes."""
    ALONE = "alone"
    """It is the only image of its class."""
    OTHER_CLASS = "other-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingImages:
    """Images without duplicates, with their classes, `""` for none; vectors float32 `[N, D]`, of length 1."""

    vectors: FloatVector
    classes: Sequence[str]
    sha256: Sequence[str]


def collect_labelled(
    collections: Sequence[Collection], classes: Sequence[str]
) -> tuple[TrainingImages, Counter[LeftOut]]:
    """Returns each distinct image once, ordered by hash, with the class that all its files have.

    A file in several datasets of a collection counts once, with the class that is valid everywhere.
    """
    left_out: Counter[LeftOut] = Counter()
    found: dict[str, tuple[Collection, Payload]] = {}
    class_of: dict[str, set[str]] = {}
    for collection in collections:
        for payload in first_of_each_file(list(collection.scan()), collection.manifest):
            if not payload.class_name:
                left_out[LeftOut.UNLABELLED] += 1
            elif classes and payload.class_name not in classes:
                left_out[LeftOut.OTHER_CLASS] += 1
            else:
                left_out[LeftOut.COPY] += payload.sha256 in found
                found.setdefault(payload.sha256, (collection, payload))
                class_of.setdefault(payload.sha256, set()).add(payload.class_name)
    _require_classes(classes, class_of, collections)
    usable = {sha256: min(names) for sha256, names in sorted(class_of.items()) if len(names) == 1}
    left_out[LeftOut.CONTRADICTORY] = len(class_of) - len(usable)
    counts = Counter(usable.values())
    kept = [sha256 for sha256, name in usable.items() if counts[name] >= FEWEST_IMAGES]
    left_out[LeftOut.ALONE] = len(usable) - len(kept)
    vectors = _read_units(collections, [found[sha256] for sha256 in kept])
    return (
        TrainingImages(vectors=vectors, classes=[usable[sha256] for sha256 in kept], sha256=kept),
        +left_out,
    )


def collect_all(collections: Sequence[Collection]) -> tuple[TrainingImages, Counter[LeftOut]]:
    """Returns each distinct image once, ordered by hash, whatever its class; contradictory classes are none.

    Which images and vectors are returned does not depend on their classes.
    """
    left_out: Counter[LeftOut] = Counter()
    found: dict[str, tuple[Collection, Payload]] = {}
    class_of: dict[str, set[str]] = {}
    for collection in collections:
        payloads = list(collection.scan())
        first = first_of_file(payloads, collection.manifest)
        for payload in sorted(payloads, key=lambda payload: payload.id):
            found.setdefault(payload.sha256, (collection, payload))
        left_out[LeftOut.COPY] += len({representing.id for representing in first.values()})
        for representing in first.values():
            class_of.setdefault(representing.sha256, set()).add(representing.class_name or "")
    left_out[LeftOut.COPY] -= len(found)
    kept = sorted(found)
    names = [class_of.get(sha256, set()) - {""} for sha256 in kept]
    return (
        TrainingImages(
            vectors=_read_units(collections, [found[sha256] for sha256 in kept]),
            classes=[min(each) if len(each) == 1 else "" for each in names],
            sha256=kept,
        ),
        +left_out,
    )


def _require_classes(
    asked: Sequence[str], found: Mapping[str, set[str]], collections: Sequence[Collection]
) -> None:
    missing = set(asked) - {name for names in found.values() for name in names}
    if missing:
        there = ", ".join(collection.name for collection in collections)
        raise UsageError(f"no image of {there} is of the class {min(missing)!a}")


def _read_units(
    collections: Sequence[Collection], images: Sequence[tuple[Collection, Payload]]
) -> FloatVector:
    """Returns the images' stored vectors, scaled to length 1."""
    vectors = np.empty((len(images), collections[0].manifest.identity.dimension), dtype=np.float32)
    for collection in collections:
        rows = [row for row, (of, _) in enumerate(images) if of is collection]
        vectors[rows] = _read_vectors(collection, [images[row][1] for row in rows])
    return _normalize(vectors)


def _read_vectors(collection: Collection, payloads: Sequence[Payload]) -> FloatVector:
    there, vectors = read_vectors(collection, payloads)
    if len(there) < len(payloads):
        raise LookalikeError(
            f"images of {collection.name} were removed while they were read", hint=Hint(Action.REPEAT)
        )
    return vectors


def _normalize(vectors: FloatVector) -> FloatVector:
    if len(vectors) and not usable_rows(vectors).all():
        raise LookalikeError("a stored vector is zero or not finite; a head cannot be fitted to it")
    return normalise_rows(vectors)
