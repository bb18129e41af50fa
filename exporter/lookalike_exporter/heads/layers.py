"""Linear layers on vectors of length 1, and what all ways to fit one have in common. Pure.

A layer maps a vector to `weight @ vector + bias`; only the direction of the result is compared.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.neighbours.cosine import normalise_rows
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Method(StrEnum):
    """The way to find the directions that a layer gives more weight."""

    NONE = "none"
    """No layer: vectors stay as they are."""
    CENTRED = "centred"
    """Mean-centred vectors, no directions."""
    LDA = "lda"
    """Linear discriminants: class means times the inverse covariance within classes, with the shrinkage of
    Ledoit and Wolf (2004)."""
    RIDGE = "ridge"
    """Least squares on the classes; `strength` is the penalty, relative to a vector's mean variance."""
    LOGISTIC = "logistic"
    """Logistic regression; `strength` is the penalty's inverse, scikit-learn's `C`."""
    LOCAL_AGGREGATION = "local-aggregation"
    """Without labels: Local Aggregation (Zhuang, Zhai, Yamins, ICCV 2019)."""
    PRINCIPAL = "principal"
    """Without labels: the principal values of the mean-centred vectors alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to fit a layer. `pull` is the weight of the directions: at 1, equal to that of the vector."""

    method: Method
    strength: float | None = None
    pull: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """`weight` float32 `[D', D]` and `bias` float32 `[D']`."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Returns float64 `[N, D']` of length 1 for float64 `[N, D]` of length 1."""
        mapped = vectors @ self.weight.T.astype(np.float64) + self.bias
        return normalise_rows(mapped, in_place=True)


def centre(vectors: FloatArray) -> tuple[FloatArray, float]:
    """Returns the mean, and the root mean square distance from it."""
    mean = vectors.mean(axis=0)
    spread = float(np.sqrt(((vectors - mean) ** 2).sum() / len(vectors)))
    return mean, spread or 1.0


def root_of_metric(directions: FloatArray, *, spread: float) -> FloatArray:
    """Returns the root of the metric `I / spread^2 + B B'`, float64 `[D, D]`, for directions B `[D, K]`."""
    weight = np.eye(len(directions)) / spread
    if directions.shape[1]:
        axes, sizes, _ = np.linalg.svd(directions, full_matrices=False)
        more = np.hypot(sizes, 1 / spread) - 1 / spread
        weight += (axes * more) @ axes.T
    return weight


def keep_main_directions(weight: FloatArray, centred: FloatArray, dims: int) -> FloatArray:
    """Returns the weight `[dims, D]` that gives the principal components of the output for `centred`."""
    if dims >= len(weight):
        return weight
    mapped = centred @ weight.T
    _, axes = np.linalg.eigh(mapped.T @ mapped)
    return np.asarray(axes[:, ::-1][:, :dims].T @ weight)


def require_finite(vectors: FloatArray) -> None:
    """Refuses vectors that no layer can be fitted to; scaled to length 1, a vector of zeros is not finite.

    Raises:
        LookalikeError: a value is not finite.
    """
    if not np.isfinite(vectors).all():
        raise LookalikeError("a training vector is zero or not finite")


def check_dims(dims: int | None, length: int) -> None:
    """Refuses more values than the network's vectors have.

    Raises:
        UsageError: `dims` is not from 1 to `length`.
    """
    if dims is not None and not 1 <= dims <= length:
        raise UsageError(
            f"{dims} dimensions cannot be fitted; choose 1 to {length}, the length of the vectors",
            argument=Argument.DIMS,
        )
