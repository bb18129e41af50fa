"""Near-duplicates by embeddings, and folding them in a ranking. Pure.

Near-duplicates by embedding show the same scene; whether one is a copy of the other is decided on pixels.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike_core.neighbours.cosine import normalise_rows

FloatMatrix = NDArray[np.floating]

NEAR_ABOVE = 0.99
"""Default cosine similarity above which images are near-duplicates, whatever the collection's distance."""


def are_near(similarity: FloatMatrix, above: float) -> NDArray[np.bool_]:
    """Returns which cosine similarities exceed a threshold, after clipping to 1."""
    return np.minimum(similarity, 1) > above


def fold_near(blocks: Iterable[Sequence[FloatMatrix]], *, above: float, limit: int) -> list[int]:
    """Returns for each image of a ranking, best first, the rank of the image that represents it.

    An image represents itself, unless a better ranked one that does is its near-duplicate in one of the
    networks: then the best ranked of those represents it. So two frames at the ends of a long burst each
    represent themselves where they are not near-duplicates. The answer ends before the image that would be
    one more than `limit` to represent themselves.

    A block is some images' vectors, float `[B, D]` for each network, zero where a network lacks the image;
    blocks are read only as far as they are needed.
    """
    owners: list[int] = []
    places: list[int] = []
    standing: list[FloatMatrix] = []
    for block in blocks:
        units = [normalise_rows(vectors) for vectors in block]
        known = [np.concatenate([a, b]) for a, b in zip(standing, units, strict=True)] if standing else units
        near = np.any([are_near(a @ b.T, above) for a, b in zip(units, known, strict=True)], axis=0)
        stands = np.arange(near.shape[1]) < len(places)
        places += range(len(owners), len(owners) + len(near))
        for row, column in enumerate(range(near.shape[1] - len(near), near.shape[1])):
            found = np.flatnonzero(near[row] & stands)
            if not len(found) and stands.sum() == limit:
                return owners
            stands[column] = not len(found)
            owners.append(places[found[0] if len(found) else column])
        places = [place for place, is_one in zip(places, stands, strict=True) if is_one]
        standing = [vectors[stands] for vectors in known]
    return owners
