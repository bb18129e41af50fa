"""What several commands read out of a store: manifests of all collections, vectors of many pictures."""

from collections.abc import Iterator, Sequence

import numpy as np

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreRefusedError
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection, Say, Store

AT_ONCE = 256
"""Pictures whose vectors are read at a time; from the stores they come as Python's numbers."""


def readable_manifests(store: Store, say: Say) -> Iterator[tuple[str, CollectionManifest]]:
    """Name and manifest of every collection; one that cannot be read is said and left out.

    So is, without a word, one that somebody deletes meanwhile.
    """
    for name in store.names():
        try:
            manifest = store.manifest(name)
        except CollectionMissingError:
            continue
        except (ManifestError, StoreRefusedError) as error:
            say(left_out(name, error))
            continue
        yield name, manifest


def left_out(name: str, error: Exception) -> str:
    """The line for a collection that cannot be read."""
    return f"warning: collection {name} is left out: {error}"


def stored_vectors(collection: Collection, payloads: Sequence[Payload]) -> tuple[list[Payload], FloatVector]:
    """Those of some pictures that are there, with their vectors, float32 `[N, D]`."""
    vectors = np.empty((len(payloads), collection.manifest.identity.dimension), dtype=np.float32)
    there: list[Payload] = []
    for start in range(0, len(payloads), AT_ONCE):
        part = payloads[start : start + AT_ONCE]
        stored = collection.vectors([payload.id for payload in part])
        for payload in part:
            if (vector := stored.get(payload.id)) is not None:
                vectors[len(there)] = vector
                there.append(payload)
    return there, vectors[: len(there)]
