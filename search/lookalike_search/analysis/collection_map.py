"""Maps a collection: draws a sample of its images, places them, and measures how faithful the places are."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionError
from lookalike_core.hints import Action, Hint
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

from lookalike_search.analysis.projection import Projection, Trust, draw_sample, measure_trust, project
from lookalike_search.collection_choice import spell_dataset

MOST = 100_000
"""The most images that a command places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A sample of the `total` images of a collection, by dataset and path, with vectors float32 `[N, D]`.

    Vectors have length 1 where the collection compares by cosine similarity.
    """

    collection: str
    manifest: CollectionManifest
    payloads: Sequence[Payload]
    vectors: FloatVector
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionMap:
    """A map of a collection."""

    sampled: Sampled
    """The images."""
    projection: Projection
    """Their places, in the same order."""
    trust: Trust | None
    """How faithful the places are; None where there are too few images to measure that."""


def load_sample(collection: Collection, *, limit: int, seed: int, where: PointFilter = EVERYTHING) -> Sampled:
    """Returns a random sample of at most `limit` images, stratified by class.

    Raises:
        CollectionError: there are no images.
    """
    where = spell_dataset(where, collection.manifest)
    found = sorted(collection.scan(where), key=attrgetter("sort_key"))
    if not found:
        of = f" of dataset {where.dataset}" if where.dataset is not None else ""
        raise CollectionError(
            f"{collection.name} holds no images{of}; ingest some",
            collection=collection.name,
            hint=Hint(Action.SEE_STATUS),
        )
    rows = draw_sample([payload.class_name for payload in found], limit, seed=seed)
    payloads, vectors = read_vectors(collection, [found[row] for row in rows.tolist()])
    if collection.manifest.distance.higher_is_nearer:
        vectors = normalise_rows(vectors)
    return Sampled(
        collection=collection.name,
        manifest=collection.manifest,
        payloads=payloads,
        vectors=vectors,
        total=len(found),
    )


def map_collection(sampled: Sampled, *, seed: int) -> CollectionMap:
    """Returns the images' places in two dimensions, and how faithful the places are."""
    names = {payload.class_name for payload in sampled.payloads if payload.class_name}
    numbers = {name: number for number, name in enumerate(sorted(names))}
    classes = np.array([numbers.get(payload.class_name or "", -1) for payload in sampled.payloads])
    projection = project(sampled.vectors, seed=seed)
    return CollectionMap(
        sampled=sampled,
        projection=projection,
        trust=measure_trust(sampled.vectors, projection.places, classes, seed=seed),
    )
