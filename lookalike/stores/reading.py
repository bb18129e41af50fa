"""Vectors of many pictures, read in parts."""

from collections.abc import Sequence

import numpy as np

from lookalike.stores.points import FloatVector, Payload
from lookalike.stores.protocol import Collection

AT_ONCE = 256
"""Pictures whose vectors are read at a time; from the stores they come as Python's numbers."""


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
