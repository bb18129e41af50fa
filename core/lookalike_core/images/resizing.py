"""Resizing of pixels by the filters that are used for reduced copies."""

from enum import StrEnum

import numpy as np

from lookalike_core.arrays import Pixels


class Resampling(StrEnum):
    """Pillow's filters, by their names there; all but `NEAREST` average when they reduce."""

    BICUBIC = "BICUBIC"
    BOX = "BOX"
    NEAREST = "NEAREST"


def resize(pixels: Pixels, width: int, height: int, way: Resampling = Resampling.BICUBIC) -> Pixels:
    """Returns pixels uint8 `[H, W, 3]` or `[H, W]` in another size; the same array if they have that size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling[way]))
