"""Everything about an image that must be equal before one file counts as a copy of another."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lookalike_core.arrays import Pixels
from lookalike_core.images.further_content import holds_further_content, names_further_content
from lookalike_core.images.transparency import is_blank_alpha

if TYPE_CHECKING:
    from PIL import Image


class Besides(StrEnum):
    """Content of a file besides the image that is shown."""

    NOTHING = "nothing"
    VIEWS = "views"
    """Further views beside the main one, as in JPEGs of phones and cameras (CIPA DC-007)."""
    FRAMES = "frames"
    """Frames of an animation, or pages."""
    FURTHER = "further content"
    """Content that image viewers do not show: the video of a motion photo, a depth map, layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImage:
    """An uncropped image as a viewer shows it, to be compared with another.

    `pixels` is uint8 `[H, W, 3]` RGB and `alpha` uint8 `[H, W]`, None if all is opaque; `width` and `height`
    are the file's upright size, which may be larger; `is_deep` says that samples have more than 8 bits.
    """

    pixels: Pixels
    alpha: Pixels | None
    width: int
    height: int
    besides: Besides
    is_deep: bool


def besides(image: "Image.Image", stream: BinaryIO) -> Besides:
    """Returns the further content of an opened image's file, which is `stream`."""
    if not getattr(image, "is_animated", False):
        is_more = names_further_content(image) or holds_further_content(stream)
        return Besides.FURTHER if is_more else Besides.NOTHING
    return Besides.VIEWS if image.format in _WITH_VIEWS else Besides.FRAMES


_WITH_VIEWS = ("JPEG", "MPO")


def is_deep(image: "Image.Image") -> bool:
    """Returns whether an image, opened and not loaded, has more than 8 bits a sample."""
    stored = [str(tile) for tile in getattr(image, "tile", None) or ()]
    is_wide = image.mode[:1] in _WIDE_MODES or any(bits in each for each in stored for bits in _DEEP)
    return is_wide or int(image.info.get("bit_depth", _BITS)) > _BITS


_WIDE_MODES = ("I", "F")
_DEEP = (";12", ";16", ";32")
_BITS = 8


def alpha(image: "Image.Image", size: tuple[int, int], turn: str | None) -> Pixels | None:
    """Returns the alpha channel of a loaded image, upright and resized; None if all of it is opaque."""
    from PIL import Image

    if not image.has_transparency_data or is_blank_alpha(image):
        return None
    opacity = _read_opacity(_sample_pixels(image))
    if turn is not None:
        opacity = opacity.transpose(Image.Transpose[turn])
    levels = np.asarray(opacity.resize(size, Image.Resampling.BICUBIC))
    return None if levels.min() == _OPAQUE else levels


_OPAQUE = 255


def _sample_pixels(image: "Image.Image") -> "Image.Image":
    """Returns the image, or a sample of its pixels if a copy of all would take too much memory."""
    from PIL import Image

    scale = math.sqrt(_MOST_PIXELS / (image.width * image.height))
    if scale >= 1:
        return image
    sides = max(1, int(scale * image.width)), max(1, int(scale * image.height))
    return image.resize(sides, Image.Resampling.NEAREST)


_MOST_PIXELS = 4_000_000


def _read_opacity(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    key = image.info.get("transparency")
    if image.mode.startswith("I") and isinstance(key, int):
        levels = np.where(np.asarray(image) == key, 0, _OPAQUE)
        return Image.fromarray(levels.astype(np.uint8))
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA").getchannel("A")
