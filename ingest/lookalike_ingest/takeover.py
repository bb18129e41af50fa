"""Copies vectors during a rebuild: of images that decode to the same pixels as when they were embedded.

They are written before the ingest of a rebuild, which then finds these images unchanged.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from lookalike_core.batched import batched
from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import decodes_as_before
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.models.backbones import get_backbone
from lookalike_core.models.preprocessing import former_preprocessing_id
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.collection_manifest import SCHEMA_VERSION, CollectionManifest
from lookalike_core.stores.points import ImagePoint, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

WRITTEN_AT_ONCE = 256
"""Batch size for reading, checking and writing points."""


def is_former(old: CollectionManifest, new: CollectionManifest) -> bool:
    """Returns whether a collection differs from a new one only by the preprocessing of former versions."""
    former = former_preprocessing_id(get_backbone(new.identity.backbone))
    return (
        (old.schema, old.distance) == (SCHEMA_VERSION, new.distance)
        and old.identity == replace(new.identity, preprocessing=former)
        and old.identity != new.identity
    )


def take_over(
    dataset: str, root: Path, *, old: Collection, staged: Collection, max_pixels: int
) -> Iterator[int]:
    """Copies the points of a dataset whose files have the same bytes and decode to the same pixels.

    Skips points that are already staged. Yields how many were written, batch by batch.
    """
    payloads = old.scan(PointFilter(dataset=dataset))
    is_same = partial(_gives_same_pixels, root, max_pixels=max_pixels)
    for some in batched(payloads, WRITTEN_AT_ONCE):
        there = staged.payloads([payload.id for payload in some])
        missing = [payload for payload in some if payload.id not in there]
        answers = map_ahead(is_same, iter(missing), ahead=len(missing))
        same = [payload for payload, answer in zip(missing, answers, strict=True) if answer]
        vectors = old.vectors([payload.id for payload in same])
        points = [
            ImagePoint(payload=payload, vector=vectors[payload.id])
            for payload in same
            if payload.id in vectors
        ]
        staged.upsert(points)
        yield len(points)


def _gives_same_pixels(root: Path, payload: Payload, *, max_pixels: int) -> bool:
    """Returns whether a file decodes as before; False if it is missing, changed or unreadable."""
    try:
        with open_file(root / payload.path) as stream:
            if hash_stream(stream) != payload.sha256:
                return False
            return decodes_as_before(stream, payload.path, max_pixels=max_pixels)
    except ImageError:
        return False
