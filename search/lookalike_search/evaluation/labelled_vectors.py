"""A collection's labelled images in memory, as an evaluation needs them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.bulk_reads import stored_vectors
from lookalike_core.stores.overlapping_roots import first_of_each_file
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

from lookalike_search.evaluation.leave_one_out import LabelledVectors

MIN_IMAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The vectors with their classes, and in the same order the payloads; `unlabelled` were left out."""

    vectors: LabelledVectors
    payloads: Sequence[Payload]
    unlabelled: int


def load_labelled(collection: Collection, where: PointFilter = EVERYTHING) -> LabelledImages:
    """Reads every image with a class, in the order of datasets and paths; a file of two datasets once.

    Raises:
        UsageError: there are fewer than two.
    """
    found = sorted(collection.scan(where), key=lambda payload: (payload.dataset, payload.path))
    if not found:
        raise UsageError(f"{collection.name} holds no image", hint=Hint(Action.FILL))
    images = first_of_each_file(found, collection.manifest)
    labelled = [payload for payload in images if payload.class_name]
    payloads, stored = stored_vectors(collection, labelled)  # less what was removed meanwhile
    if len(payloads) < MIN_IMAGES:
        raise UsageError(
            f"{collection.name} holds {len(payloads)} images with a class, too few to evaluate; "
            "put them into folders named after their classes",
            hint=Hint(Action.LABEL),
        )
    names = sorted({payload.class_name or "" for payload in payloads})
    numbers = {name: number for number, name in enumerate(names)}
    copies = {sha256: number for number, sha256 in enumerate(dict.fromkeys(p.sha256 for p in payloads))}
    vectors = LabelledVectors(
        vectors=stored,
        classes=np.array([numbers[payload.class_name or ""] for payload in payloads]),
        copies=np.array([copies[payload.sha256] for payload in payloads]),
        names=names,
        higher_is_nearer=collection.manifest.distance.higher_is_nearer,
    )
    return LabelledImages(vectors=vectors, payloads=payloads, unlabelled=len(images) - len(labelled))
