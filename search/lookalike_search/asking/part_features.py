"""Combines the feature maps that show a part of an image: its crop's, and those cells of the whole it covers.

Pure. A crop shows the part as large as images that show nothing else, and finds those; cells show it in its
size, and find images in which it is as small. Both together find more than either (ADR 28).
"""

import numpy as np
from lookalike_core.images.region import Box, Part
from numpy.typing import NDArray

CROP_WEIGHT = 2.0
"""How much the direction of the crop's vector counts, when that of the cells counts 1."""

FloatArray = NDArray[np.float64]
Features = NDArray[np.floating]


def combine_features(crop: Features, whole: Features, part: Part) -> FloatArray:
    """Returns the features of a part of an image, float64 `[H, W, C]`, which sum to its vector `[C]`.

    `crop` and `whole` `[H, W, C]` are the features of the part and of the whole image. The vector is the
    weighted mean of two: of the crop's mean, and of the mean of the cells that the part covers, each by the
    area covered, scaled to the length of the first. Those cells are divided among the crop's cells by their
    places, so that a sum over the crop's cells is a sum over both. A part outside of the centre square, which
    networks do not see, has only a crop.
    """
    own: FloatArray = crop.astype(np.float64) / (crop.shape[0] * crop.shape[1])
    across, down = _overlaps(part, crop.shape[:2], whole.shape[:2])
    covered = np.einsum("ri,cj,ijk->rck", down, across, whole.astype(np.float64), optimize=True)
    length = np.linalg.norm(covered.sum(axis=(0, 1)))
    if not length > 0:
        return own
    covered *= np.linalg.norm(own.sum(axis=(0, 1))) / length
    combined: FloatArray = (CROP_WEIGHT * own + covered) / (CROP_WEIGHT + 1)
    return combined


def _overlaps(
    part: Part, crop_cells: tuple[int, ...], whole_cells: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """Returns how much of each column and line of cells of the whole is in each of the crop's, in pixels.

    The crop's outermost cells reach to the edges of the part.
    """
    image = Box(left=0, top=0, width=part.width, height=part.height)
    own, others = _grid(part.box, crop_cells), _grid(image, whole_cells)
    own[0][0], own[0][-1] = part.box.left, part.box.right
    own[1][0], own[1][-1] = part.box.top, part.box.bottom
    return _overlap(own[0], others[0]), _overlap(own[1], others[1])


def _grid(box: Box, cells: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Returns the edges of the cells across and down, which divide the centre square of a box."""
    side = min(box.width, box.height)
    left, top = box.left + (box.width - side) / 2, box.top + (box.height - side) / 2
    return np.linspace(left, left + side, cells[1] + 1), np.linspace(top, top + side, cells[0] + 1)


def _overlap(one: FloatArray, other: FloatArray) -> FloatArray:
    """Returns the lengths that intervals with these edges share, `[N, M]`."""
    last = np.minimum(one[1:, np.newaxis], other[np.newaxis, 1:])
    first = np.maximum(one[:-1, np.newaxis], other[np.newaxis, :-1])
    shared: FloatArray = np.maximum(last - first, 0)
    return shared
