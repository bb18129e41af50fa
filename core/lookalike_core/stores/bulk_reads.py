"""Bulk reads that several commands need: manifests of all collections, vectors of many images."""

from collections.abc import Iterator, Sequence

import numpy as np

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    PeersMissingError,
    StoreRefusedError,
)
from lookalike_core.logs import get_logger
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection, Store

_logger = get_logger("stores")

AT_ONCE = 256
"""How many images' vectors are read at a time; the stores return them as Python numbers."""

UNREADABLE = (ManifestError, StoreRefusedError, PeersMissingError)
"""Errors of one collection beside which others can be read."""


def readable_manifests(store: Store) -> Iterator[tuple[str, CollectionManifest]]:
    """Yields name and manifest of every collection; logs unreadable ones and skips them.

    A collection that is deleted in the meantime is skipped without a log line.
    """
    for name in store.names():
        try:
            manifest = store.manifest(name)
        except CollectionMissingError:
            continue
        except UNREADABLE as error:
            log_left_out(name, error)
            continue
        yield name, manifest


def log_left_out(name: str, error: LookalikeError) -> None:
    """Logs that a collection cannot be read, with the remedy."""
    _logger.warning("warning: collection %s is skipped: %s", name, error, extra={"hint": error.hint})


def read_vectors(
    collection: Collection, payloads: Sequence[Payload], *, at_once: int = AT_ONCE
) -> tuple[list[Payload], FloatVector]:
    """Returns those of the images that exist, with their vectors, float32 `[N, D]`."""
    vectors = np.empty((len(payloads), collection.manifest.identity.dimension), dtype=np.float32)
    there: list[Payload] = []
    for start in range(0, len(payloads), at_once):
        part = payloads[start : start + at_once]
        ids = [payload.id for payload in part]
        stored = collection.vectors(ids)
        for payload, point in zip(part, ids, strict=True):
            if (vector := stored.get(point)) is not None:
                vectors[len(there)] = vector
                there.append(payload)
    return there, vectors[: len(there)]
