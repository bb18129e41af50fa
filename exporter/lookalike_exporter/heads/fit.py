"""Makes a head from labelled collections: splits the images, fits the layer and evaluates it.

Held-out images are never seen during fitting. Which images are held out depends on their bytes, the number of
images of their class, and the seed.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, LookalikeError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.logs import get_logger
from lookalike_core.models.model_manifest import ModelManifest
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.overlapping_roots import first_of_each_file
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_core.stores.protocol import Collection, Store, open_together
from lookalike_core.text import nfc

from lookalike_exporter.heads.head_file import Head, check_name, head_path, read_head, write_head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.heads.metric_learning import (
    FEWEST_CLASSES,
    FEWEST_IMAGES,
    Figures,
    FittedLayer,
    LabelledUnits,
    fit_layer,
    measure_neighbours,
)
from lookalike_exporter.model_cache import lock_for_writing, require_writable
from lookalike_exporter.recorded_models import get_base_model

_logger = get_logger("exporter")

HELD_OUT = 0.2
"""Share of each class's images that is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What to fit a head to; `classes` are those to fit to, empty for all.

    `force` replaces a different head of the same name.
    """

    collections: Sequence[str]
    name: str
    classes: Sequence[str] = ()
    dims: int | None = None
    seed: int = 0
    force: bool = False


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
class FitReport:
    """The fitted head and its paths; `made` is False if the same head existed already."""

    head: Head
    path: Path
    model: Path
    made: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingImages:
    """Images without duplicates, each with a class; vectors are float32 `[N, D]`, of length 1."""

    vectors: FloatVector
    classes: Sequence[str]
    sha256: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The rows of the training images and of the held-out images."""

    training: Sequence[int]
    held_out: Sequence[int]


def fit_head(request: FitRequest, *, store: Store, settings: Settings) -> FitReport:
    """Fits a head, and writes it and its model, unless the same head exists already.

    Raises:
        UsageError: the name is invalid or taken by another head, the collections have different vector spaces
            or heads, or there is too little training data.
        CollectionMissingError: a collection does not exist.
        WeightsError, ManifestError: the model of the collections cannot be obtained.
        StoreLockedError: another process has held the lock on the heads for too long.
        LookalikeError: the folder of heads is read-only.
    """
    check_name(request.name)
    require_writable(settings.heads_dir, settings)
    base, images, left_out = _read_collections(request, store, settings)
    for reason, count in sorted(left_out.items()):
        _logger.warning("left out: %s images (%s)", count, reason)
    head = train_head(request, base, images, left_out)
    path = head_path(request.name, settings)
    with lock_for_writing(settings.heads_dir, "fit", "is writing a head", settings):
        made = not _is_fitted_already(head, path, settings, force=request.force)
        if made:
            write_head(head, settings)
        model = get_headed_model(head, settings=settings)
    return FitReport(head=head, path=path, model=model.path, made=made)


def train_head(
    request: FitRequest, base: ModelManifest, images: TrainingImages, left_out: Mapping[LeftOut, int]
) -> Head:
    """Returns the head fitted to some images.

    Raises:
        UsageError: there are too few images, or `dims` is larger than the length of their vectors.
    """
    names = sorted(set(images.classes))
    if len(names) < FEWEST_CLASSES:
        raise UsageError(_describe_too_few(names, left_out), hint=Hint(Action.LABEL))
    parts = split_images(images, seed=request.seed)
    numbers = {name: number for number, name in enumerate(names)}
    units = LabelledUnits(
        vectors=images.vectors.astype(np.float64),
        classes=np.array([numbers[name] for name in images.classes]),
    )
    training, held_out = (
        units.of(np.array(rows, dtype=np.int64)) for rows in (parts.training, parts.held_out)
    )
    layer = fit_layer(training, dims=request.dims, seed=request.seed)
    return Head(
        name=request.name,
        base=base,
        weight=layer.weight,
        bias=layer.bias,
        classes=names,
        trained=frozenset(images.sha256[row] for row in parts.training),
        record={
            "collections": list(request.collections),
            "seed": request.seed,
            "split": {
                "training": len(parts.training),
                "held_out": len(parts.held_out),
                "left_out": {str(reason): count for reason, count in sorted(left_out.items())},
            },
            **_choice_json(layer),
            "held_out_against_training": {
                "before": _figures_json(measure_neighbours(held_out, training)),
                "after": _figures_json(measure_neighbours(held_out, training, layer=layer)),
            },
        },
    )


def split_images(images: TrainingImages, *, seed: int) -> Split:
    """Holds out a fifth of each class, but keeps at least two to train on; both sorted by hash."""
    rows_of: dict[str, list[int]] = {}
    for row in sorted(range(len(images.sha256)), key=lambda row: seeded_hash(images.sha256[row], seed)):
        rows_of.setdefault(images.classes[row], []).append(row)
    training, held_out = [], []
    for _, rows in sorted(rows_of.items()):
        kept = max(len(rows) - round(HELD_OUT * len(rows)), min(FEWEST_IMAGES, len(rows)))
        training += rows[:kept]
        held_out += rows[kept:]
    return Split(training=training, held_out=held_out)


def seeded_hash(sha256: str, seed: int) -> str:
    """Returns the hash by which images are ordered; another seed holds out other images."""
    return hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest()


def _read_collections(
    request: FitRequest, store: Store, settings: Settings
) -> tuple[ModelManifest, TrainingImages, Counter[LeftOut]]:
    """Reads the model of the collections, which must be obtainable, and their images."""
    with ExitStack() as stack:
        names = list(dict.fromkeys(request.collections))
        for name in names:
            if name not in store:
                there = ", ".join(store.names()) or "none"
                raise CollectionMissingError(
                    f"there is no collection {name!a} in the store {store.label}; available: {there}"
                )
        collections = open_together(names, lambda name: stack.enter_context(store.open(name)))
        _require_one_space(collections)
        base = get_base_model(collections[0].manifest, settings=settings).manifest
        images, left_out = _collect_images(collections, list(map(nfc, request.classes)))
    return base, images, left_out


def _require_one_space(collections: Sequence[Collection]) -> None:
    first, *others = collections
    if first.manifest.identity.head is not None:
        raise UsageError(f"{first.name} was made with a head; fit the new one to a collection without a head")
    for other in others:
        if other.manifest.identity != first.manifest.identity:
            raise UsageError(
                f"{first.name} and {other.name} hold different spaces, and a head is fitted to one space",
                hint=Hint(Action.FUSE),
            )


def _collect_images(
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
    dimension = collections[0].manifest.identity.dimension
    vectors = np.empty((len(kept), dimension), dtype=np.float32)
    for collection in collections:
        rows = [row for row, sha256 in enumerate(kept) if found[sha256][0] is collection]
        vectors[rows] = _read_vectors(collection, [found[kept[row]][1] for row in rows])
    return (
        TrainingImages(vectors=_normalize(vectors), classes=[usable[sha256] for sha256 in kept], sha256=kept),
        +left_out,
    )


def _require_classes(
    asked: Sequence[str], found: Mapping[str, set[str]], collections: Sequence[Collection]
) -> None:
    missing = set(asked) - {name for names in found.values() for name in names}
    if missing:
        there = ", ".join(collection.name for collection in collections)
        raise UsageError(f"no image of {there} is of the class {min(missing)!a}")


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


def _describe_too_few(names: Sequence[str], left_out: Mapping[LeftOut, int]) -> str:
    alone, unlabelled = left_out.get(LeftOut.ALONE, 0), left_out.get(LeftOut.UNLABELLED, 0)
    there = "is 1 class" if len(names) == 1 else f"are {len(names)} classes"
    more = [f"{alone} more with only one image"] if alone else []
    more += [f"{unlabelled} images without a class"] if unlabelled else []
    found = ", and ".join([f"{there} of two images or more", *more])
    return (
        f"there {found}; a head needs {FEWEST_CLASSES} classes of two images. Put "
        "images into folders named after their classes"
    )


def _is_fitted_already(head: Head, path: Path, settings: Settings, *, force: bool) -> bool:
    """Returns whether the same head exists; refuses a different one of its name unless forced."""
    if not path.exists() or force:
        return False
    if read_head(head.name, settings).key == head.key:
        return True
    raise UsageError(
        f"{path} holds another head {head.name}", path=path, hint=Hint(Action.RENAME_OR_REPLACE_HEAD)
    )


def _choice_json(layer: FittedLayer) -> dict[str, Any]:
    return {
        "method": asdict(layer.candidate),
        "candidates": [
            {**asdict(score.candidate), "seen": score.seen, "unseen": score.unseen} for score in layer.scores
        ],
    }


def _figures_json(found: Figures | None) -> dict[str, Any] | None:
    return asdict(found) if found else None
