"""The ground that transparent images are laid on: white, unless that hides what is visible of them."""

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
"""Levels of 255 by which a pixel must differ from its ground, in one of its colours, to be seen on it."""

ENOUGH_ON_WHITE, ENOUGH_ON_BLACK = 0.5, 0.95
"""Shares of what is visible that must be seen on a ground for it to be taken."""

JUDGED_PIXELS = 100_000
"""How many pixels of an image are looked at; larger ones are sampled, where something may be visible."""


def is_blank_alpha(image: "Image.Image") -> bool:
    """Whether the fourth sample of a loaded image is no alpha: set nowhere, by a file that need not mean it.

    Windows' tools write BMPs so. A TIFF says with a tag what its fourth sample is, or leaves it out.
    """
    if image.mode != "RGBA":
        return False
    is_doubtful = image.format in ("BMP", "DIB") or (
        image.format == "TIFF" and Tag.EXTRA_SAMPLES not in tags_of(image)
    )
    return is_doubtful and image.histogram()[3 * 256] == image.width * image.height


def judged_part(image: "Image.Image") -> "Image.Image":
    """Returns what an image's ground is chosen by: its visible part, of few enough pixels."""
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
    """Returns the level of grey, 0 to 255, on which RGBA is seen; what is wholly transparent counts nothing.

    White where it shows half of what is visible, or half of its outline: a white shape with a black line
    around it is seen on white. Else black where that shows nearly all, else grey. An image of which nothing
    is visible is a white one.
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
    """Returns the share of the weights that is seen, 0 where there are none."""
    total = int(weights.sum(dtype=np.int64))
    return int(weights[seen].sum(dtype=np.int64)) / total if total else 0.0


def _share_of_outline(seen: Flags, alpha: NDArray[np.uint8]) -> float:
    """Returns the share of the outline, where alpha changes, that is seen: by the more opaque pixel."""
    shares, steps = [], alpha.astype(np.int16)
    for axis in (0, 1):
        step = np.diff(steps, axis=axis)
        before, after = (np.delete(seen, end, axis=axis) for end in (-1, 0))
        shares.append((np.where(step > 0, after, before).ravel(), np.abs(step).ravel()))
    flags, weights = (np.concatenate(parts) for parts in zip(*shares, strict=True))
    return _share(flags, weights)


def lay_on(image: "Image.Image", ground: int) -> "Image.Image":
    """Returns RGBA on a ground as RGB."""
    from PIL import Image

    below = Image.new("RGBA", image.size, (ground, ground, ground, 255))
    return Image.alpha_composite(below, image).convert("RGB")
