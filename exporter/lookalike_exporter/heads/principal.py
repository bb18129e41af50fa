"""Principal values: fits a layer that keeps only the main directions of the vectors (Pearson 1901). Pure.

Fewer values take less space and say less about an image; neighbours hardly change as long as the directions
that are dropped have little variance.
"""

from dataclasses import dataclass

import numpy as np
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.text import format_count

from lookalike_exporter.heads.layers import FloatArray, Layer, require_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalLayer(Layer):
    """A layer that returns principal values, and the share of the vectors' variance that they have."""

    kept_variance: float


def fit_principal(vectors: FloatArray, values: int) -> PrincipalLayer:
    """Fits the layer of so many principal values to vectors of length 1, float64 `[N, D]`.

    The same vectors give the same bytes, whatever the number of threads.

    Raises:
        UsageError: `values` is not from 1 to the length of the vectors, or to one less than their number.
        LookalikeError: a vector is not finite, or all are the same.
    """
    from threadpoolctl import threadpool_limits

    require_finite(vectors)
    _check_values(values, *vectors.shape)
    mean = vectors.mean(axis=0)
    with threadpool_limits(1):
        _, sizes, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    if sizes[0] <= len(vectors) * np.finfo(np.float32).eps:
        raise LookalikeError("all training images have the same vector; they have no principal values")
    weight = _turn_positive(axes[:values])
    variances = sizes**2
    return PrincipalLayer(
        weight=weight.astype(np.float32),
        bias=(-weight @ mean).astype(np.float32),
        kept_variance=float(variances[:values].sum() / variances.sum()),
    )


def _check_values(values: int, images: int, length: int) -> None:
    most = min(length, images - 1)
    if most < 1:
        raise UsageError(
            f"too few images to fit to: {images}, beside the fifth that is held out; principal values need 2",
            argument=Argument.PRINCIPAL,
            hint=Hint(Action.FILL),
        )
    if not 1 <= values <= most:
        raise UsageError(
            f"{values} principal values cannot be fitted to {format_count(images, 'image')} with vectors of "
            f"length {length}; choose 1 to {most}",
            argument=Argument.PRINCIPAL,
        )


def _turn_positive(axes: FloatArray) -> FloatArray:
    """Returns the axes, each so turned that its largest value is positive: LAPACK leaves the sign open."""
    rows = np.arange(len(axes))
    largest = axes[rows, np.abs(axes).argmax(axis=1)]
    return axes * np.where(largest < 0, -1.0, 1.0)[:, np.newaxis]
