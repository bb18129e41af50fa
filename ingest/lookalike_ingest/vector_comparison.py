"""Compares the vectors of a copy with those that it was made of."""

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.stores.collection_manifest import Distance
from numpy.typing import NDArray


def find_unequal(source: FloatVector, copied: FloatVector, distance: Distance) -> NDArray[np.bool_]:
    """Returns which rows of a copy differ from their source; both float32 `[N, D]`, the result bool `[N]`.

    For Euclid each value must have the same bytes. A store normalises the vectors of a cosine collection
    again, so each value may also be that of the source divided by its length, or the float32 next to it.
    """
    same = source.view(np.uint32) == copied.view(np.uint32)
    if distance is Distance.COSINE and not same.all():
        lengths = np.linalg.norm(source.astype(np.float64), axis=1, keepdims=True)
        units = (source / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        same |= np.abs(copied - units) <= np.spacing(np.abs(units))
    return np.asarray(~same.all(axis=1))
