"""Cosine similarities clipped to -1 to 1, which rounding can exceed slightly. Pure."""

from typing import SupportsFloat, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

_Floats = TypeVar("_Floats", bound=NDArray[np.floating])

_AT_ONCE = 4_096
_ROUNDING = 5e-7
"""By how much a length may differ from 1: four roundings of float32."""


def clip_cosine(similarity: SupportsFloat) -> float:
    """Returns a cosine similarity clipped to -1 to 1."""
    return min(max(float(similarity), -1.0), 1.0)


def clip_cosines(similarities: _Floats) -> _Floats:
    """Clips cosine similarities of any shape to -1 to 1, in place, and returns them; NaN stays NaN."""
    np.clip(similarities, -1, 1, out=similarities)
    return similarities


def normalise_rows(vectors: _Floats, *, in_place: bool = False) -> _Floats:
    """Scales the rows of float `[N, D]` to length 1 and returns them; zero rows stay zero."""
    lengths = _row_lengths(vectors)
    lengths[lengths == 0] = 1
    if not in_place:
        return cast("_Floats", vectors / lengths)
    np.divide(vectors, lengths, out=vectors)
    return vectors


def unit_rows(vectors: _Floats) -> _Floats:
    """Returns the rows of float `[N, D]` at length 1, like `normalise_rows`, without a copy where they are.

    Rows that differ from it by a rounding are: cosine collections store such ones.
    """
    if (np.abs(_row_lengths(vectors) - 1) <= _ROUNDING).all():
        return vectors
    return normalise_rows(vectors)


def _row_lengths(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns the lengths, float `[N, 1]`, of some rows at a time: numpy squares all that it is given."""
    lengths = np.empty((len(vectors), 1), dtype=np.result_type(vectors.dtype, np.float16))
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        lengths[part] = np.linalg.norm(vectors[part], axis=1, keepdims=True)
    return lengths


def paired_cosines(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the cosine similarity of each row of one `[N, D]` to the same row of another, float64 `[N]`.

    Either may be a single vector `[D]`, which is then compared with all rows. NaN where a vector is zero.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return clip_cosines(np.asarray((a * b).sum(axis=-1) / lengths))
