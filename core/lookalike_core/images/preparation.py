"""Preparation of a loaded image as the network's square, and as a small one for viewing.

The way to 224 x 224 was chosen by measurement; see docs/adr/0004-preprocessing.md.
"""

import math
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.images.rendering import Rendering, render
from lookalike_core.images.unlimited import crop

if TYPE_CHECKING:
    from PIL import Image

PREPARATION = "crop-bicubic-224-srgb"
"""The name in the preprocessing id: two preparations give two embedding spaces."""

FORMER_PREPARATION = "crop-bicubic-224"
"""The name in versions that assumed every file to be sRGB; most images give the same pixels."""

WHOLE_PIXELS = 4_000_000
"""The size of an image up to which a few copies of it need little memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSizes:
    """The number of pixels from which an image is converted to RGB in bands, and the number in a band."""

    whole_pixels: int = WHOLE_PIXELS
    band_pixels: int = 2_000_000


BAND_SIZES = BandSizes()

Extent = tuple[float, float]
"""Width and height of a decoded image; fractions if a JPEG is decoded at a fraction of its size."""

Box = tuple[float, float, float, float]


def prepare_square(
    image: "Image.Image", full: tuple[int, int], extent: Extent, bands: BandSizes = BAND_SIZES
) -> "tuple[Image.Image, tuple[int, int]]":
    """Returns an opened image as the network's RGB square, upright, and its upright width and height.

    It is stored as `full` and decoded as `extent` pixels.
    """
    image, rendering = render(image)
    turn = find_turn(image)
    return _upright_square(image, rendering, extent, turn, bands), shown_size(full, turn)


def prepare_small(
    image: "Image.Image", full: tuple[int, int], edge: int, whole_pixels: int = WHOLE_PIXELS
) -> "Image.Image":
    """Returns an opened image uncropped within `edge` x `edge` pixels, RGB, upright; never enlarged."""
    image, rendering = render(image)
    turn = find_turn(image)
    scale = min(1.0, edge / max(full))
    sides = [max(1, round(scale * side)) for side in full]
    if not rendering.is_plain:  # no second image of its size, whatever its mode
        coarse = min(1.0, math.sqrt(whole_pixels / (image.width * image.height)))
        if coarse < 1:
            near = max(1, int(coarse * image.width)), max(1, int(coarse * image.height))
            image = image.resize(near, _pillow().Resampling.NEAREST)
        image = rendering.rgb(image)
    small = image.resize(sides, _pillow().Resampling.BICUBIC)
    if rendering.is_plain:
        small = rendering.finish(small)
    return small if turn is None else small.transpose(_pillow().Transpose[turn])


def shown_size(full: tuple[int, int], turn: str | None) -> tuple[int, int]:
    """Returns the upright width and height of an image."""
    return full[::-1] if turn in _ON_ITS_SIDE else full


def find_turn(image: "Image.Image") -> str | None:
    """Returns the name of Pillow's transposition to set an image upright; None if EXIF gives none.

    Pillow's `exif_transpose` rewrites all metadata, and fails if any is broken.
    """
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # noqa: BLE001 - a dozen kinds, by what is broken
        return None


_ORIENTATION = 0x0112
_TURNS: dict[object, str] = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""EXIF's orientation -> what undoes it (CIPA DC-008, Orientation)."""

_ON_ITS_SIDE = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")


def _upright_square(
    image: "Image.Image", rendering: Rendering, extent: Extent, turn: str | None, bands: BandSizes
) -> "Image.Image":
    """Transposes, then scales; a large image the other way round, which may differ by one level."""
    if turn is None:
        return _prepare(image, rendering, extent, bands)
    way = _pillow().Transpose[turn]
    is_whole = extent[0] == image.width and extent[1] == image.height
    if is_whole and image.width * image.height <= bands.whole_pixels:
        whole = image.transpose(way)
        return _prepare(whole, rendering, whole.size, bands)
    return _prepare(image, rendering, extent, bands).transpose(way)


def _prepare(image: "Image.Image", rendering: Rendering, extent: Extent, bands: BandSizes) -> "Image.Image":
    """Returns RGB: the shorter side scaled to the network's square, the centre cropped.

    Plain images are scaled as they are. All others are rendered first; large ones in bands, which may differ
    by one level, so that no second image of their size is needed.
    """
    side = min(extent)
    left, top = (extent[0] - side) / 2, (extent[1] - side) / 2
    box = (left, top, left + side, top + side)
    if rendering.is_plain:
        return rendering.finish(_scale(image, box, IMAGE_SIZE))
    if image.width * image.height <= bands.whole_pixels:
        return _scale(rendering.rgb(image), box, IMAGE_SIZE)
    square = _pillow().new("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    lines = _count_lines(side, bands.band_pixels)
    for first in range(0, IMAGE_SIZE, lines):
        last = min(first + lines, IMAGE_SIZE)
        box = (left, top + side * first / IMAGE_SIZE, left + side, top + side * last / IMAGE_SIZE)
        square.paste(_render_band(image, rendering, box, last - first), (0, first))
    return cast("Image.Image", square)


_MIN_LINES = 4


def _count_lines(side: float, band_pixels: int) -> int:
    """Returns how many lines of the square are made at a time; all of them for images of usual size."""
    rows = band_pixels / side - 2 * _reach(side)
    return min(IMAGE_SIZE, max(_MIN_LINES, int(rows * IMAGE_SIZE / side)))


def _reach(side: float) -> float:
    """Returns the support of the bicubic filter in source pixels: two of the target's, and one spare."""
    return 2 * max(1.0, side / IMAGE_SIZE) + 1


def _render_band(image: "Image.Image", rendering: Rendering, box: Box, lines: int) -> "Image.Image":
    """Returns `box` of the image as RGB `[lines, 224]`, filtered with the pixels around it."""
    reach = _reach(box[2] - box[0])
    left, top = max(0, math.floor(box[0] - reach)), max(0, math.floor(box[1] - reach))
    right, bottom = math.ceil(box[2] + reach), math.ceil(box[3] + reach)
    part = crop(image, (left, top, min(right, image.width), min(bottom, image.height)))
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return _scale(rendering.rgb(part), moved, lines)


def _scale(image: "Image.Image", box: Box, lines: int) -> "Image.Image":
    return image.resize((IMAGE_SIZE, lines), _pillow().Resampling.BICUBIC, box=box)


def _pillow() -> ModuleType:
    """Imports and returns Pillow's Image module."""
    from PIL import Image

    return Image
