"""Whether one image is a copy of another, by their pixels. Pure.

An embedding sees a network's square of 224 pixels and forgets most of that: pages of text are all alike to
it. Here whole images are compared in colour, at a size where text shows, and everywhere: the place where they
agree least decides. How the limits were chosen: docs/adr/0019-proven-duplicates.md.
"""

from collections.abc import Iterator

import numpy as np
from lookalike_core.images.resizing import Resampling, resize
from lookalike_core.images.whole_image import Besides, Pixels, WholeImage
from lookalike_core.neighbours.brute_force import IntVector
from numpy.typing import NDArray

EDGE = 1536
"""Longer side, in pixels, at which images are compared at most: a line of text on a page has 15 and more."""

LEAST_LIGHT = 0.95
"""Structural similarity of lightness below which a window shows something else."""

LEAST_COLOUR = 0.88
"""The same for colour, which JPEG and WebP keep at half the size."""

MOST_DIFFERENCE = 13.0
"""Of 255: how far the means of lightness and of colour may differ over 16 x 16 pixels."""

MOST_HUE = 6.7
MOST_HUE_SMALLER = 9.0
"""Of 255: how far the colour of edges may lie beside that of the other image, be it as strong or weaker; and
where one of them was made smaller, which evens out what compression does to colour."""

COARSE, COARSE_COLOUR = 64, 16
"""Pixels of each side at which lightness, and all of it, are compared first, to refuse most at once."""

MOST_COARSE_DIFFERENCE = 40
FINE_ENOUGH = 192
"""Of 255: no copy differs so much in any of those few pixels, if both its sides have as many as this."""

Planes = NDArray[np.float32]


def is_copy(kept: WholeImage, other: WholeImage) -> bool:
    """Whether `other` shows what `kept` shows, and nothing would be lost with it.

    Never for files of several frames or pages, of which only one is seen here; but the kept one may hold
    further views, as phones' photos do. Nor where `other` has more pixels or deeper samples, or is opaque in
    other places.
    """
    if other.besides is not Besides.NOTHING or kept.besides is Besides.FRAMES:
        return False
    if other.width * other.height > kept.width * kept.height or (other.is_deep and not kept.is_deep):
        return False
    sizes = (kept.width, kept.height), (other.width, other.height)
    if not has_same_proportions(*sizes) or not _may_agree(kept, other):
        return False
    is_smaller = sizes[0] != sizes[1]
    return any(_agree(*pair, is_smaller=is_smaller) for pair in _at_one_size(kept, other))


def has_same_proportions(kept: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one could be the other in another size: each side of a copy is rounded to a pixel."""
    (width, height), (other_width, other_height) = kept, other
    return abs(width * other_height - height * other_width) <= width + height


def coarse(image: WholeImage) -> Pixels:
    """What `most_alike` wants of an image, uint8 `[5120]`: few pixels of its lightness, fewer of all."""
    light = resize(image.pixels, COARSE, COARSE, Resampling.BOX) @ _LIGHT
    colours = resize(image.pixels, COARSE_COLOUR, COARSE_COLOUR, Resampling.BOX)
    opaque = np.full((1, 1), 255, dtype=np.uint8) if image.alpha is None else image.alpha
    opaque = resize(opaque, COARSE_COLOUR, COARSE_COLOUR, Resampling.BOX)
    return np.concatenate([light.astype(np.uint8).ravel(), colours.ravel(), opaque.ravel()])


def most_alike(image: WholeImage, seen: Pixels, others: Pixels) -> IntVector:
    """Which of `others` `[N, 5120]` an image may still be a copy of, most alike first, int64.

    `seen` and `others` are `coarse`.
    """
    differences = np.maximum(others, seen) - np.minimum(others, seen)
    order: IntVector = np.argsort(differences.mean(axis=1), kind="stable")
    if min(image.pixels.shape[:2]) < FINE_ENOUGH:
        return order
    likely: IntVector = order[differences.max(axis=1)[order] <= MOST_COARSE_DIFFERENCE]
    return likely


def _may_agree(kept: WholeImage, other: WholeImage) -> bool:
    """Whether no 16 x 16 pixels differ far more than they may: told in a tenth of the time of the proof."""
    width, height = (max(1, side // _MEANS) for side in other.pixels.shape[1::-1])
    one, two = (resize(each.pixels, width, height, Resampling.BOX) for each in (kept, other))
    return int((np.maximum(one, two) - np.minimum(one, two)).max()) <= MOST_COARSE_DIFFERENCE


def _at_one_size(kept: WholeImage, other: WholeImage) -> Iterator[tuple[Planes, Planes]]:
    """Both as `_planes`, in the size of the smaller one, but in half of the larger one's at least.

    It is not known how a copy was made smaller, so that each way is tried.
    """
    (height, width), (kept_height, kept_width) = other.pixels.shape[:2], kept.pixels.shape[:2]
    if 2 * max(height, width) + 1 < max(kept_height, kept_width):
        height, width = -(-kept_height // 2), -(-kept_width // 2)
    small = _planes(other, width, height, Resampling.BICUBIC)
    is_smaller = (height, width) != (kept_height, kept_width)
    for way in Resampling if is_smaller else (Resampling.BICUBIC,):
        yield _planes(kept, width, height, way), small


def _planes(image: WholeImage, width: int, height: int, way: Resampling) -> Planes:
    """Lightness, two of colour (ITU-R BT.601) and opacity, float32 `[4, H, W]`, 0 to 255."""
    red, green, blue = np.moveaxis(resize(image.pixels, width, height, way).astype(np.float32), 2, 0)
    light = _LIGHT[0] * red + _LIGHT[1] * green + _LIGHT[2] * blue
    opaque = np.full_like(light, 255) if image.alpha is None else resize(image.alpha, width, height, way)
    return np.stack([light, 0.564 * (blue - light), 0.713 * (red - light), opaque.astype(np.float32)])


_LIGHT = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _agree(one: Planes, other: Planes, *, is_smaller: bool) -> bool:
    """Whether two images agree everywhere; what is quickest to tell comes first."""
    fine, colour = (0, 3) if (one[3] != other[3]).any() else (0,), (1, 2)
    if any(_most_different(one[plane], other[plane]) > MOST_DIFFERENCE for plane in (*fine, *colour)):
        return False
    if any(_least_similar(one[[plane]], other[[plane]], blur=1.0) < LEAST_LIGHT for plane in fine):
        return False
    blur, most = (0.0, MOST_HUE_SMALLER) if is_smaller else (1.0, MOST_HUE)
    if _most_other_hue(one, other, blur=blur) > most:
        return False
    halves = (_halved(each[1:3]) for each in (one, other))
    return _least_similar(*halves, blur=0.7) >= LEAST_COLOUR


def _most_other_hue(one: Planes, other: Planes, *, blur: float) -> float:
    """How far the mean colour of edges and lines in 32 x 32 pixels lies beside the other's direction.

    Compression makes the colour of thin lines weaker, and hardly turns it; another ink turns it.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    def mean(planes: Planes, window: int) -> Planes:
        averaged: Planes = uniform_filter(planes, (0,) * (planes.ndim - 2) + (window, window))
        return averaged

    both = [gaussian_filter(each[:3], (0, blur, blur)) for each in (one, other)]
    contrast = sum(np.abs(each[0] - mean(each[0], _NEARBY)) for each in both)
    weight = mean(contrast, _HUES) + _FAINT
    (u, v), (other_u, other_v) = (mean(each[1:] * contrast, _HUES) / weight for each in both)
    beside = np.abs(u * other_v - v * other_u) / (np.hypot(other_u, other_v) + 2 * _FAINT)
    return float(beside.max())


_HUES, _NEARBY, _FAINT = 32, 15, 2.0


def _most_different(one: Planes, other: Planes) -> float:
    from scipy.ndimage import uniform_filter

    return float(np.abs(uniform_filter(one - other, _MEANS)).max())


_MEANS = 16


def _least_similar(one: Planes, other: Planes, *, blur: float) -> float:
    """Structural similarity of planes `[P, H, W]` in the window in which it is least.

    It is SSIM's factor of contrast and structure (Wang et al., 2004, with c2 below), the planes taken
    together, of slightly blurred planes: filters and compression change what is finer than that.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    def mean(planes: Planes) -> Planes:
        averaged: Planes = uniform_filter(planes, (0, _WINDOW, _WINDOW))
        return averaged

    a, b = (gaussian_filter(each, (0, blur, blur), truncate=3) for each in (one, other))
    mean_a, mean_b = mean(a), mean(b)
    variances = (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2).sum(axis=0)
    difference = (mean((a - b) ** 2) - (mean_a - mean_b) ** 2).sum(axis=0)
    return 1 - float((difference / (variances + _NOISE)).max())


_WINDOW = 7
"""Pixels of a window's sides: about one letter."""

_NOISE = 30.0**2
"""SSIM's c2, as a rule 58: a variance that grain and compression may have without being content."""


def _halved(planes: Planes) -> Planes:
    """Averages of 2 x 2 pixels."""
    count, height, width = planes.shape
    even = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    means: Planes = even.reshape(count, (height + 1) // 2, 2, (width + 1) // 2, 2).mean(axis=(2, 4))
    return means
