"""The ground behind transparent images: white, unless that would hide what is visible of them."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike_core.images.tiff_tags import Tag, tags_of
from lookalike_core.images.unlimited import crop

if TYPE_CHECKING:
    from PIL import Image

Flags = NDArray[np.bool_]

WHITE, BLACK, GREY = 255, 0, 128
OPAQUE = 255

CONTRAST = 32
"""Levels, of 255, by which a channel of a pixel must differ from the ground for the pixel to be visible."""

ENOUGH_ON_WHITE, ENOUGH_ON_BLACK = 0.5, 0.95
"""The share of the visible part that must stand out from a ground for that ground to be chosen."""

JUDGED_PIXELS = 100_000
"""The most pixels that are examined; larger images are sampled, if any pixel may be visible."""


def is_blank_alpha(image: "Image.Image") -> bool:
    """Returns whether the fourth sample of a loaded image is an unused alpha channel: zero everywhere.

    Windows' tools write such BMPs. A TIFF declares the meaning of its fourth sample, or omits the sample.
    """
    if image.mode != "RGBA":
        return False
    is_doubtful = image.format in ("BMP", "DIB") or (
        image.format == "TIFF" and Tag.EXTRA_SAMPLES not in tags_of(image)
    )
    return is_doubtful and image.histogram()[3 * 256] == image.width * image.height


def judged_part(image: "Image.Image") -> "Image.Image":
    """Returns the pixels by which an image's ground is chosen: its visible part, sampled."""
    left, top, right, bottom = 0, 0, image.width, image.height
    if image.mode in _WITH_ALPHA and (box := image.getbbox()) is not None:
        left, top, right, bottom = box
    left, top = max(0, left - 1), max(0, top - 1)  # an outline has a transparent side
    right, bottom = min(image.width, right + 1), min(image.height, bottom + 1)
    width, height = right - left, bottom - top
    share = math.sqrt(JUDGED_PIXELS / (width * height))
    if share >= 1:
        return crop(image, (left, top, right, bottom))
    sides = max(1, int(share * width)), max(1, int(share * height))
    return image.resize(sides, _NEAREST, box=(left, top, right, bottom))  # no second image of its size


_WITH_ALPHA = ("RGBA", "LA", "La")
_NEAREST = 0


def ground_for(image: "Image.Image") -> int:
    """Returns the ground, a grey level of 0 to 255, for RGBA; wholly transparent pixels have no weight.

    White if half of what is visible, or half of its outline, stands out from it: a white shape with a black
    line around it is visible on white. Else black if nearly all stands out from that, else grey. White for an
    image without any visible pixel.
    """
    rgba = np.asarray(image)
    alpha = rgba[..., 3]
    if alpha.min() == OPAQUE or not alpha.any():
        return WHITE
    red, green, blue = (rgba[..., channel] for channel in range(3))
    on_white = np.minimum(np.minimum(red, green), blue) <= WHITE - CONTRAST
    if _share(on_white, alpha) >= ENOUGH_ON_WHITE or _share_of_outline(on_white, alpha) >= ENOUGH_ON_WHITE:
        return WHITE
    on_black = np.maximum(np.maximum(red, green), blue) >= CONTRAST
    return BLACK if _share(on_black, alpha) >= ENOUGH_ON_BLACK else GREY


def _share(seen: Flags, weights: NDArray[Any]) -> float:
    """Returns the share of the weights that stands out from the ground; 0 if there are none."""
    total = int(weights.sum(dtype=np.int64))
    return int(weights[seen].sum(dtype=np.int64)) / total if total else 0.0


def _share_of_outline(seen: Flags, alpha: NDArray[np.uint8]) -> float:
    """Returns the share of the outline, where alpha changes, that stands out.

    The more opaque pixels count.
    """
    shares, steps = [], alpha.astype(np.int16)
    for axis in (0, 1):
        step = np.diff(steps, axis=axis)
        before, after = (np.delete(seen, end, axis=axis) for end in (-1, 0))
        shares.append((np.where(step > 0, after, before).ravel(), np.abs(step).ravel()))
    flags, weights = (np.concatenate(parts) for parts in zip(*shares, strict=True))
    return _share(flags, weights)


def lay_on(image: "Image.Image", ground: int) -> "Image.Image":
    """Returns RGBA composed over a ground as RGB."""
    from PIL import Image

    below = Image.new("RGBA", image.size, (ground, ground, ground, 255))
    return Image.alpha_composite(below, image).convert("RGB")
