"""False discovery rates of lists of findings. Pure."""

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float64]


def rates_by_chances(chances: FloatVector) -> FloatVector:
    """Returns for each finding the expected share of false ones among it and all that are likelier, `[N]`.

    `chances` float64 `[N]` say how likely each is true; equal ones have the same rate (Bayesian false
    discovery rate: Newton, Noueiry, Sarkar, Ahlquist: Detecting differential gene expression with a
    semiparametric hierarchical mixture method, Biostatistics 2004).
    """
    values, group = np.unique(-chances, return_inverse=True)
    counts = np.bincount(group, minlength=len(values))
    rates = np.cumsum((1 + values) * counts) / np.cumsum(counts) if len(values) else values
    return np.asarray(rates[group])


def rates_by_p_values(p_values: FloatVector, *, tests: int | None = None) -> FloatVector:
    """Returns the least false discovery rate at which each of `[N]` p-values is a discovery.

    `tests` counts all tests, where those of the largest p-values are left out (Benjamini, Hochberg:
    Controlling the false discovery rate, J. R. Stat. Soc. B 1995).
    """
    count = len(p_values)
    if not count:
        return np.zeros(0)
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * (tests or count) / np.arange(1, count + 1)
    rates = np.empty(count)
    rates[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1)
    return rates
