"""Measures whether an image is blank, dark or blurred, on the 224 x 224 pixels of the networks. Pure."""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from lookalike_core.arrays import Pixels


class Fault(StrEnum):
    """What is wrong with an image, and the measure on its grey values, 0 to 255, that says so."""

    BLANK = "blank"
    """Their standard deviation."""
    DARK = "dark"
    """The value that 95 % of them are at most."""
    BLURRED = "blurred"
    """The variance of their Laplacian (Pech-Pacheco and others: Diatom autofocusing in brightfield
    microscopy, ICPR 2000)."""


BELOW: Mapping[Fault, float] = {Fault.BLANK: 4, Fault.DARK: 50, Fault.BLURRED: 20}
"""The value that a fault's measure is below. A blank image is not called dark or blurred, a dark one not
blurred."""

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BRIGHTEST = 95


def measure_faults(pixels: Pixels) -> dict[Fault, float]:
    """Returns the measure of each fault for an image, uint8 `[H, W, 3]`, at least 3 x 3."""
    grey = pixels.astype(np.float32) @ _GREY
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return {
        Fault.BLANK: float(grey.std()),
        Fault.DARK: float(np.percentile(grey, _BRIGHTEST)),
        Fault.BLURRED: float(laplacian.var()),
    }


def find_fault(measures: Mapping[Fault, float]) -> Fault | None:
    """Returns the first fault whose measure is below its limit, in the order of `Fault`."""
    return next((fault for fault in Fault if measures[fault] < BELOW[fault]), None)
