"""Types of the arrays that the rooms hand to each other."""

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 224
"""Height and width in pixels of what both networks were trained on, and so of every prepared image."""

Pixels = NDArray[np.uint8]
"""RGB, uint8 `[H, W, 3]`; unless said otherwise one prepared image, `[224, 224, 3]`, or a batch of them."""

FloatVector = NDArray[np.float32]
"""One embedding, float32 `[D]`, or several, float32 `[N, D]`."""
