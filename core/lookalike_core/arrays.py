"""Types of the arrays that modules pass to each other."""

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 224
"""Height and width in pixels of the images that both networks were trained on, and of every prepared image.
"""

Pixels = NDArray[np.uint8]
"""RGB, uint8 `[H, W, 3]`; unless said otherwise one prepared image, `[224, 224, 3]`, or a batch of them."""

FloatVector = NDArray[np.float32]
"""One embedding, float32 `[D]`, or several, float32 `[N, D]`."""
