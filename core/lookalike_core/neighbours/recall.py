"""Recall of an approximate search: how many of the exact neighbours it found. Pure."""

from math import nan

import numpy as np
from numpy.typing import NDArray

TIE = 1e-5
"""Values that differ by less, relative to the value where that is over 1, are tied."""


def measure_recall(
    exact: NDArray[np.float64], found: NDArray[np.float64], is_exact: NDArray[np.bool_]
) -> float:
    """Returns the share of one query's exact neighbours that was found; NaN where it has none.

    `exact` and `found` are how near the exact and the found neighbours are, float64 `[K]` and `[n]`, higher
    for nearer ones; `is_exact`, bool `[n]`, says which of those found are exact ones. A neighbour that is as
    near as the last exact one counts as found: ties have no order.
    """
    if not len(exact):
        return nan
    last = exact.min()
    is_as_near = found >= last - TIE * max(1.0, abs(last))
    return min(1.0, int((is_as_near | is_exact).sum()) / len(exact))
