"""How far a vector that is computed again may differ from the stored one. Pure.

docs/adr/0036 has the measurements. Differences are relative to the length of the vector. On one provider the
order of sums differs with the batch, the threads and the processor; other providers round to 16 bits; and a
fault of the memory or the disk changes few of a vector's values.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.models.model_manifest import ModelIdentity, Precision
from lookalike_core.stores.collection_manifest import Distance
from numpy.typing import NDArray

ROUNDING = 1e-5
"""The largest difference of one value by the order of float32 sums: between batches and threads 3e-8 was
measured, between libraries 1.4e-6."""

ACROSS = 0.045
"""The largest distance between vectors of two execution providers: a cosine of 0.999. The lowest measured was
0.99977, in bfloat16."""

ACROSS_INT8 = 0.14
"""The same for an int8 graph, or with a head: a cosine of 0.99, below which `search explain` refuses, too."""

FEW = 0.5
"""A vector of which a smaller share of values differs was damaged, and not computed differently."""

LENGTH = 1e-4
"""How far the length of a stored vector of a cosine collection may be from 1."""


class Agreement(StrEnum):
    """How a stored vector agrees with the one that its file gives now."""

    SAME = "same"
    """They differ by the order of sums at most."""
    ROUNDED = "rounded"
    """They differ as those of two execution providers do."""
    DAMAGED = "damaged"
    """A few of the values differ."""
    OTHER = "other"
    """They are vectors of two images, or of two models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far two vectors differ: `largest` of one value, `distance` of all; relative to the length."""

    agreement: Agreement
    largest: float
    distance: float
    values: int
    """How many values differ by more than `ROUNDING`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The tolerated differences: of one value on one provider, and between two providers."""

    rounding: float
    across: float


def tolerance_of(identity: ModelIdentity) -> Tolerance:
    """Returns the tolerance for the vectors of a model."""
    is_coarse = identity.precision_class.startswith(Precision.INT8) or identity.head is not None
    return Tolerance(rounding=ROUNDING, across=ACROSS_INT8 if is_coarse else ACROSS)


def compare_vectors(
    stored: FloatVector, fresh: FloatVector, distance: Distance, tolerance: Tolerance
) -> Deviation:
    """Returns how a stored vector differs from the one computed now; both float32 `[D]`.

    Qdrant normalises the vectors of a cosine collection, so that one that is damaged before it is written
    differs in all its values; a common factor is therefore removed before differing values are counted.
    """
    exact, own = fresh.astype(np.float64), stored.astype(np.float64)
    length = np.linalg.norm(exact)
    if not np.isfinite(length) or length == 0 or not np.isfinite(own).all():
        is_one_value = bool(np.isfinite(exact).all()) and 0 < np.isfinite(own).sum() < len(own)
        kind = Agreement.DAMAGED if is_one_value else Agreement.OTHER
        return Deviation(agreement=kind, largest=np.inf, distance=np.inf, values=len(own))
    exact /= length
    if distance is not Distance.COSINE:
        own /= length
    differences = np.abs(own - exact)
    largest, apart = float(differences.max()), float(np.linalg.norm(own - exact))
    if largest <= tolerance.rounding:
        return Deviation(agreement=Agreement.SAME, largest=largest, distance=apart, values=0)
    factor = _common_factor(own, exact) if distance is Distance.COSINE else 1.0
    differing = np.abs(own - factor * exact) > tolerance.rounding
    counted = (own != 0) | (exact != 0)
    if differing.sum() < FEW * counted.sum() or differing.sum() == 1:
        kind = Agreement.DAMAGED
    elif apart <= tolerance.across:
        kind = Agreement.ROUNDED
    else:
        kind = Agreement.OTHER
    return Deviation(agreement=kind, largest=largest, distance=apart, values=int(differing.sum()))


def _common_factor(own: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    """Returns the factor between most of the values of two vectors; 1 if there is none."""
    large = np.abs(exact) >= np.abs(exact).max() / 10
    return float(np.median(own[large] / exact[large])) if large.any() else 1.0
