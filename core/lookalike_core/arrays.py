"""What the arrays hold that go from room to room."""

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 224
"""Height and width in pixels of what both networks were trained on, and so of every prepared image."""

Pixels = NDArray[np.uint8]
"""One prepared image, uint8 `[224, 224, 3]` RGB, or a batch of them, uint8 `[N, 224, 224, 3]`."""

FloatVector = NDArray[np.float32]
"""One embedding, float32 `[D]`, or several, float32 `[N, D]`."""
