"""Preparation of a loaded image as the network's square, and as a small one for viewing.

The way to 224 x 224 was chosen by measurement; see docs/adr/0004-preprocessing.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.images.region import Box
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

Window = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of a decoded image."""

FindBox = Callable[[tuple[int, int]], Box]
"""Returns the part that is wanted of an upright image of some width and height."""


def whole_box(size: tuple[int, int]) -> Box:
    """Returns all of an upright image of this width and height."""
    return Box(left=0, top=0, width=size[0], height=size[1])


def prepare_square(
    image: "Image.Image",
    full: tuple[int, int],
    extent: Extent,
    bands: BandSizes = BAND_SIZES,
    find_box: FindBox = whole_box,
) -> "tuple[Image.Image, tuple[int, int]]":
    """Returns an opened image as the network's RGB square, upright, and its upright width and height.

    It is stored as `full` and decoded as `extent` pixels. Only the part that `find_box` finds is in the
    square, cropped to its own middle. Of a large image pixels beside that part may show at its edges, by a
    level or two.
    """
    image, rendering = render(image)
    turn = find_turn(image)
    size = shown_size(full, turn)
    box = find_box(size)
    if box.is_all_of(size):
        return _upright_square(image, rendering, extent, turn, bands), size
    window = find_window(box, full, extent, turn)
    if _is_full_size(image, extent) and box.width * box.height <= bands.whole_pixels:
        left, top, right, bottom = map(round, window)
        part = crop(image, (left, top, right, bottom))
        return _upright_square(part, rendering, part.size, turn, bands), size
    square = _prepare(image, rendering, window, bands)
    return square if turn is None else square.transpose(_pillow().Transpose[turn]), size


def find_window(box: Box, full: tuple[int, int], extent: Extent, turn: str | None) -> Window:
    """Returns where a part of an upright image is in its file's image, decoded as `extent` pixels."""
    across, down = (box.left, box.right), (box.top, box.bottom)
    width, height = shown_size(full, turn)
    if turn in _MIRRORED_ACROSS:
        across = width - across[1], width - across[0]
    if turn in _MIRRORED_DOWN:
        down = height - down[1], height - down[0]
    if turn in _ON_ITS_SIDE:
        across, down = down, across
    x, y = extent[0] / full[0], extent[1] / full[1]
    return across[0] * x, down[0] * y, across[1] * x, down[1] * y


def prepare_small(
    image: "Image.Image",
    full: tuple[int, int],
    edge: int,
    whole_pixels: int = WHOLE_PIXELS,
    find_box: FindBox = whole_box,
) -> "Image.Image":
    """Returns an opened image within `edge` x `edge` pixels, RGB, upright; never enlarged.

    It is uncropped, but for the part that `find_box` finds.
    """
    image, rendering = render(image)
    turn = find_turn(image)
    size = shown_size(full, turn)
    if not (box := find_box(size)).is_all_of(size):
        left, top, right, bottom = find_window(box, full, image.size, turn)
        inside = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
        image, full = crop(image, inside), shown_size((box.width, box.height), turn)
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
_MIRRORED_ACROSS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "ROTATE_270", "TRANSVERSE")
_MIRRORED_DOWN = ("FLIP_TOP_BOTTOM", "ROTATE_180", "ROTATE_90", "TRANSVERSE")
"""The transpositions that reverse columns or lines of the upright image, once sides are exchanged."""


def _upright_square(
    image: "Image.Image", rendering: Rendering, extent: Extent, turn: str | None, bands: BandSizes
) -> "Image.Image":
    """Transposes, then scales; a large image the other way round, which may differ by one level."""
    if turn is None:
        return _prepare(image, rendering, (0, 0, *extent), bands)
    way = _pillow().Transpose[turn]
    if _is_full_size(image, extent) and image.width * image.height <= bands.whole_pixels:
        whole = image.transpose(way)
        return _prepare(whole, rendering, (0, 0, *whole.size), bands)
    return _prepare(image, rendering, (0, 0, *extent), bands).transpose(way)


def _is_full_size(image: "Image.Image", extent: Extent) -> bool:
    """Returns whether an image was not decoded at a fraction of its size."""
    return extent[0] == image.width and extent[1] == image.height


def _prepare(image: "Image.Image", rendering: Rendering, window: Window, bands: BandSizes) -> "Image.Image":
    """Returns RGB: the window's shorter side scaled to the network's square, its centre cropped.

    Plain images are scaled as they are. All others are rendered first; large ones in bands, which may differ
    by one level, so that no second image of their size is needed.
    """
    width, height = window[2] - window[0], window[3] - window[1]
    side = min(width, height)
    left, top = window[0] + (width - side) / 2, window[1] + (height - side) / 2
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


def _render_band(image: "Image.Image", rendering: Rendering, box: Window, lines: int) -> "Image.Image":
    """Returns `box` of the image as RGB `[lines, 224]`, filtered with the pixels around it."""
    reach = _reach(box[2] - box[0])
    left, top = max(0, math.floor(box[0] - reach)), max(0, math.floor(box[1] - reach))
    right, bottom = math.ceil(box[2] + reach), math.ceil(box[3] + reach)
    part = crop(image, (left, top, min(right, image.width), min(bottom, image.height)))
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return _scale(rendering.rgb(part), moved, lines)


def _scale(image: "Image.Image", box: Window, lines: int) -> "Image.Image":
    return image.resize((IMAGE_SIZE, lines), _pillow().Resampling.BICUBIC, box=box)


def _pillow() -> ModuleType:
    """Imports and returns Pillow's Image module."""
    from PIL import Image

    return Image
