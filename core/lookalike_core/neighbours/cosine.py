"""The range of a cosine similarity, which sums of rounded products leave by a little."""

from typing import SupportsFloat, TypeVar

import numpy as np
from numpy.typing import NDArray

_Floats = TypeVar("_Floats", bound=NDArray[np.floating])


def clip_cosine(similarity: SupportsFloat) -> float:
    """Returns a cosine similarity within -1 to 1, whatever rounding has made of it."""
    return min(max(float(similarity), -1.0), 1.0)


def clip_cosines(similarities: _Floats) -> _Floats:
    """Brings cosine similarities of any shape within -1 to 1, in place, and returns them; NaN and all."""
    np.clip(similarities, -1, 1, out=similarities)
    return similarities
