"""Proves near-duplicates on the pixels of two images. Pure.

An embedding is of 224 x 224 pixels and keeps little of them: all pages of text are similar. Here whole images
are compared in colour, at a size where text is legible, and everywhere: the place of least agreement decides.
How the limits were chosen: docs/adr/0019-proven-duplicates.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lookalike_core.arrays import Pixels
from lookalike_core.images.resizing import Resampling, resize
from lookalike_core.images.whole_image import Besides, WholeImage
from lookalike_core.neighbours.brute_force import IntVector
from numpy.typing import NDArray

EDGE = 1536
"""Longer side, in pixels, at which images are compared first; larger ones are then compared in detail."""

MOST_REDUCED = 5
"""Largest ratio of sides: on a smaller thumbnail the text of a page is not legible."""

TILE, OVERLAP = 1024, 32
"""Side of the tiles in which large images are compared in detail, and their overlap, in pixels."""

LEAST_LIGHT = 0.95
"""Least structural similarity of lightness in a window."""

LEAST_COLOUR = 0.88
"""The same for colour, which JPEG and WebP store at half the size."""

MOST_DIFFERENCE = 13.0
"""Largest difference of the means of lightness and of colour over 16 x 16 pixels, of 255."""

MOST_HUE = 6.7
MOST_HUE_SMALLER = 9.0
"""Largest distance of the colour of edges from the hue of the other image's, of 255; and where one of them
was reduced, which averages out the errors of compression."""

MOST_BROAD_LIGHT, MOST_BROAD_COLOUR = 2.0, 2.2
"""Largest difference of means over 64 x 64 pixels, of 255, besides 6 % of the standard deviation there;
compression changes plain areas no more."""

MOST_MEAN_LIGHT, MOST_MEAN_COLOUR = 1.5, 2.0
"""Largest difference of the means of the whole images, of 255."""

LEAST_RANGE, MOST_GAIN = 96.0, 16.0
"""Images with a smaller range of levels (masks, depth maps, underexposed photos) are compared with their
contrast increased to this range, at most so many times."""

DEEP_RANGE = 64
"""Least range, of the upper 256 levels, for a proof of two images with more than 8 bits a sample."""

COARSE, COARSE_COLOUR = 64, 16
"""Side in pixels at which lightness, and colour, are compared first, to refuse most images quickly."""

MOST_COARSE_DIFFERENCE = 40
FINE_ENOUGH = 192
"""Near-duplicates differ less in any of those pixels, of 255, if their sides have at least `FINE_ENOUGH`."""

Planes = NDArray[np.float32]


def is_copy(kept: WholeImage, other: WholeImage) -> bool:
    """Returns whether `other` shows what `kept` shows, and nothing would be lost with it.

    Returns False for files of several frames or pages, of which only one is compared (the kept one may hold
    further views, as phones' photos do), and where `other` has more pixels, deeper samples or other
    transparency.
    """
    if other.besides is not Besides.NOTHING or kept.besides is Besides.FRAMES:
        return False
    if other.width * other.height > kept.width * kept.height or (other.is_deep and not kept.is_deep):
        return False
    sizes = (kept.width, kept.height), (other.width, other.height)
    if not has_same_proportions(*sizes) or max(sizes[0]) > MOST_REDUCED * max(sizes[1]):
        return False
    ranges = _range(kept)
    if (other.is_deep and ranges < DEEP_RANGE) or not _may_agree(kept, other):
        return False
    is_smaller, gain = sizes[0] != sizes[1], _gain(ranges)
    return any(
        _agree(_planes(one, gain), _planes(two, gain), is_smaller=is_smaller)
        for one, two in _at_one_size(kept, other)
    )


def is_copy_in_detail(kept: WholeImage, other: WholeImage) -> bool:
    """Returns whether two images, decoded in full, agree in every tile, where small type is legible.

    It is meant for images that `is_copy` accepted at a reduced size.
    """
    gain = _gain(_range(kept))
    return any(
        all(_agree_finely(_planes(one, gain), _planes(two, gain)) for one, two in _tiles(*pair))
        for pair in _at_one_size(kept, other)
    )


def _range(image: WholeImage) -> float:
    """Returns the largest range of levels of a channel."""
    flat = image.pixels.reshape(-1, image.pixels.shape[2])
    return float((flat.max(axis=0).astype(int) - flat.min(axis=0)).max())


def _gain(ranges: float) -> float:
    return min(MOST_GAIN, max(1.0, LEAST_RANGE / max(ranges, 1.0)))


def has_same_proportions(kept: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether one size could be the other reduced: each side is rounded to a pixel."""
    return bool(have_same_proportions(kept, np.array([other]))[0])


def have_same_proportions(kept: tuple[int, int], others: IntVector) -> NDArray[np.bool_]:
    """Returns `has_same_proportions` for many sizes, int64 `[N, 2]`, as bool `[N]`."""
    (width, height), (other_width, other_height) = kept, others.T
    same: NDArray[np.bool_] = np.abs(width * other_height - height * other_width) <= width + height
    return same


def coarse(image: WholeImage) -> Pixels:
    """Returns an image reduced for `most_alike`, uint8 `[5120]`: lightness, and colour and opacity."""
    light = resize(image.pixels, COARSE, COARSE, Resampling.BOX) @ _LIGHT
    colours = resize(image.pixels, COARSE_COLOUR, COARSE_COLOUR, Resampling.BOX)
    opaque = np.full((1, 1), 255, dtype=np.uint8) if image.alpha is None else image.alpha
    opaque = resize(opaque, COARSE_COLOUR, COARSE_COLOUR, Resampling.BOX)
    return np.concatenate([light.astype(np.uint8).ravel(), colours.ravel(), opaque.ravel()])


def most_alike(image: WholeImage, seen: Pixels, others: Pixels) -> IntVector:
    """Returns which of `others` `[N, 5120]` an image may be a near-duplicate of, most alike first, int64.

    `seen` and `others` are by `coarse`.
    """
    differences = np.maximum(others, seen) - np.minimum(others, seen)
    order: IntVector = np.argsort(differences.mean(axis=1), kind="stable")
    if min(image.pixels.shape[:2]) < FINE_ENOUGH:
        return order
    likely: IntVector = order[differences.max(axis=1)[order] <= MOST_COARSE_DIFFERENCE]
    return likely


def _may_agree(kept: WholeImage, other: WholeImage) -> bool:
    """Returns whether no 16 x 16 pixels differ far too much, in a tenth of the time of the proof."""
    width, height = (max(1, side // _MEANS) for side in other.pixels.shape[1::-1])
    one, two = (resize(each.pixels, width, height, Resampling.BOX) for each in (kept, other))
    return int((np.maximum(one, two) - np.minimum(one, two)).max()) <= MOST_COARSE_DIFFERENCE


@dataclass(frozen=True, slots=True)
class _Sized:
    """An image at the size of the comparison: uint8 `[H, W, 3]`, and its alpha channel `[H, W]`."""

    pixels: Pixels
    alpha: Pixels | None


def _at_one_size(kept: WholeImage, other: WholeImage) -> Iterator[tuple[_Sized, _Sized]]:
    """Yields both images at the size of the smaller one, but at least half of the larger one's.

    The filter that reduced an image is not known, so each is tried.
    """
    (height, width), (kept_height, kept_width) = other.pixels.shape[:2], kept.pixels.shape[:2]
    if 2 * max(height, width) + 1 < max(kept_height, kept_width):
        height, width = -(-kept_height // 2), -(-kept_width // 2)
    small = _sized(other, width, height, Resampling.BICUBIC)
    is_smaller = (height, width) != (kept_height, kept_width)
    for way in Resampling if is_smaller else (Resampling.BICUBIC,):
        yield _sized(kept, width, height, way), small


def _sized(image: WholeImage, width: int, height: int, way: Resampling) -> _Sized:
    alpha = None if image.alpha is None else resize(image.alpha, width, height, way)
    return _Sized(resize(image.pixels, width, height, way), alpha)


def _tiles(one: _Sized, other: _Sized) -> Iterator[tuple[_Sized, _Sized]]:
    """Yields both images in overlapping tiles, so that every window of a comparison is within one tile."""
    height, width = one.pixels.shape[:2]
    for top in range(0, max(1, height - OVERLAP), TILE):
        for left in range(0, max(1, width - OVERLAP), TILE):
            part = slice(top, top + TILE + OVERLAP), slice(left, left + TILE + OVERLAP)
            yield tuple(
                _Sized(each.pixels[part], None if each.alpha is None else each.alpha[part])
                for each in (one, other)
            )  # type: ignore[misc] # two of two


def _planes(image: _Sized, gain: float) -> Planes:
    """Returns lightness and two of colour (ITU-R BT.601), times `gain`; and opacity: float32 `[4, H, W]`."""
    red, green, blue = gain * np.moveaxis(image.pixels.astype(np.float32), 2, 0)
    light = _LIGHT[0] * red + _LIGHT[1] * green + _LIGHT[2] * blue
    opaque = np.full_like(light, 255) if image.alpha is None else image.alpha.astype(np.float32)
    return np.stack([light, 0.564 * (blue - light), 0.713 * (red - light), opaque])


_LIGHT = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _agree(one: Planes, other: Planes, *, is_smaller: bool) -> bool:
    """Returns whether two images agree everywhere; the fastest checks come first."""
    if not _means_agree(one, other) or not _agree_finely(one, other) or not _agree_coarsely(one, other):
        return False
    blur, most = (0.0, MOST_HUE_SMALLER) if is_smaller else (1.0, MOST_HUE)
    if max(_most_other_hue(*pair, blur=blur) for pair in ((one, other), (other, one))) > most:
        return False
    halves = (_average_boxes(each[1:3], 2) for each in (one, other))
    return _least_similar(*halves, blur=0.7) >= LEAST_COLOUR


def _means_agree(one: Planes, other: Planes) -> bool:
    """Returns whether mean lightness and colour agree, of the whole image and of each large window."""
    from scipy.ndimage import uniform_filter

    window = min(_BROAD, *one.shape[1:])
    limits = (
        (slice(0, 1), MOST_MEAN_LIGHT, MOST_BROAD_LIGHT),
        (slice(1, 3), MOST_MEAN_COLOUR, MOST_BROAD_COLOUR),
    )
    for planes, most_mean, most_broad in limits:
        a, difference = one[planes], one[planes] - other[planes]
        if np.abs(difference.mean(axis=(1, 2))).max() > most_mean:
            return False
        sides = (0, window, window)
        deviation = np.sqrt((uniform_filter(a * a, sides) - uniform_filter(a, sides) ** 2).clip(min=0))
        if (np.abs(uniform_filter(difference, sides)) - _BROAD_SHARE * deviation).max() > most_broad:
            return False
    return True


_BROAD, _BROAD_SHARE = 64, 0.06


def _agree_finely(one: Planes, other: Planes) -> bool:
    """Returns whether lightness and opacity have the same structure in every window, and colours agree."""
    fine, colour = (0, 3) if (one[3] != other[3]).any() else (0,), (1, 2)
    if any(_most_different(one[plane], other[plane]) > MOST_DIFFERENCE for plane in (*fine, *colour)):
        return False
    return all(_least_similar(one[[plane]], other[[plane]], blur=1.0) >= LEAST_LIGHT for plane in fine)


def _agree_coarsely(one: Planes, other: Planes) -> bool:
    """Returns whether structure fainter than grain agrees, where grain is averaged out.

    Compression changes means over several pixels much less than single pixels, so that much weaker contrast
    is significant there: pale text, shades of a dark photo.
    """
    for side, noise, least_light, least_colour in _COARSER:
        if min(one.shape[1:]) < side * _WINDOW:
            continue
        a, b = (_average_boxes(each[:3], side) for each in (one, other))
        if _least_similar(a[:1], b[:1], blur=0, noise=noise) < least_light:
            return False
        colours = (_least_similar(a[[k]], b[[k]], blur=0, noise=noise) for k in (1, 2))
        if least_colour is not None and min(colours) < least_colour:
            return False
    return True


_COARSER = ((2, 200.0, 0.8, None), (4, 25.0, 0.8, 0.5), (8, 8.0, 0.88, 0.6))
"""Side in pixels of the averages, SSIM's c2 there, and least similarity of lightness and of colour."""


def _most_other_hue(one: Planes, other: Planes, *, blur: float) -> float:
    """Returns the largest distance of the mean colour of edges, in 32 x 32 pixels, from the other's hue.

    Compression makes the colour of thin lines weaker, and hardly changes its hue; another ink does.
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


def _least_similar(one: Planes, other: Planes, *, blur: float, noise: float | None = None) -> float:
    """Returns the structural similarity of planes `[P, H, W]` in the window where it is least.

    It is SSIM's factor of contrast and structure (Wang et al., 2004) of slightly blurred planes, taken
    together: filters and compression change finer details. `noise` is its constant c2.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    def mean(planes: Planes) -> Planes:
        averaged: Planes = uniform_filter(planes, (0, _WINDOW, _WINDOW))
        return averaged

    a, b = (gaussian_filter(each, (0, blur, blur), truncate=3) if blur else each for each in (one, other))
    mean_a, mean_b = mean(a), mean(b)
    variances = (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2).sum(axis=0)
    difference = (mean((a - b) ** 2) - (mean_a - mean_b) ** 2).sum(axis=0)
    return 1 - float((difference / (variances.clip(min=0) + (noise or _NOISE))).max())


_WINDOW = 7
"""Side of a window in pixels: about one letter."""

_NOISE = 30.0**2
"""SSIM's c2, usually 58: the variance of grain and compression, which is no content."""


def _average_boxes(planes: Planes, side: int) -> Planes:
    """Returns averages of `side` x `side` pixels; the last rows and columns are repeated as padding."""
    count, height, width = planes.shape
    even = np.pad(planes, ((0, 0), (0, -height % side), (0, -width % side)), mode="edge")
    shape = (count, even.shape[1] // side, side, even.shape[2] // side, side)
    means: Planes = even.reshape(shape).mean(axis=(2, 4))
    return means
