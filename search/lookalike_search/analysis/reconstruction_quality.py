"""Measures how near reconstructed images are to their originals: by pixels, and by who is recognised in them.

Images are uint8 `[N, H, W, 3]`. Pure.
"""

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8]
FloatVector = NDArray[np.float64]

LEVELS = 255.0
"""The largest value of a channel."""

ROUNDING_ERROR = 1 / 12
"""The mean squared error of rounding to whole levels: equal images have no larger PSNR than its 58.9 dB."""

WINDOW = 11
WINDOW_SIGMA = 1.5
"""The Gaussian window of SSIM, as its authors chose it."""

_C1, _C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2
"""The constants of SSIM, as its authors chose them."""


def measure_psnr(reconstructed: ImageArray, originals: ImageArray) -> FloatVector:
    """Returns the peak signal-to-noise ratio of each image in dB, float64 `[N]`; at most 58.9."""
    errors = _flatten(reconstructed) - _flatten(originals)
    squared = np.maximum((errors**2).mean(axis=1), ROUNDING_ERROR)
    return np.asarray(10 * np.log10(LEVELS**2 / squared))


def measure_ssim(reconstructed: ImageArray, originals: ImageArray) -> FloatVector:
    """Returns the structural similarity of each image, float64 `[N]`; 1 for the same pixels.

    It is that of Wang, Bovik, Sheikh and Simoncelli (IEEE Transactions on Image Processing, 2004): Gaussian
    windows of 11 x 11 pixels that lie within the image, the mean over windows and the three channels. Images
    of less than 11 pixels are one window.
    """
    one, other = (each.astype(np.float64) for each in (reconstructed, originals))
    mean_one, mean_other = _blur(one), _blur(other)
    variances = _blur(one * one) - mean_one**2 + _blur(other * other) - mean_other**2
    covariance = _blur(one * other) - mean_one * mean_other
    light = (2 * mean_one * mean_other + _C1) / (mean_one**2 + mean_other**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return np.asarray((light * structure).mean(axis=(1, 2, 3)))


def identify_originals(reconstructed: ImageArray, candidates: ImageArray, *, first: int) -> FloatVector:
    """Returns how often each image's own original is among the `first` nearest candidates, float64 `[N]`.

    The original of an image is the candidate in its place; candidates are compared by squared differences of
    pixels, which are whole numbers, so that ties are exact. In a tie the value is the share of its orders
    that put the original among the first; otherwise it is 0 or 1.
    """
    images, others = _flatten(reconstructed), _flatten(candidates)
    squares = np.einsum("nv,nv->n", others, others)
    distances = squares - 2 * images @ others.T  # less each image's own square, the same for all candidates
    own = np.diagonal(distances)[:, np.newaxis]
    nearer = (distances < own).sum(axis=1)
    tied = (distances == own).sum(axis=1)
    return np.asarray(np.clip((first - nearer) / tied, 0, 1), dtype=np.float64)


def _flatten(images: ImageArray) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).astype(np.float64)


def _blur(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Gaussian means of all windows within each image, float64 `[N, H', W', 3]`."""
    rows, columns = (_window_weights(length) for length in images.shape[1:3])
    across = np.moveaxis(np.tensordot(images, columns, axes=(2, 1)), -1, 2)
    return np.moveaxis(np.tensordot(across, rows, axes=(1, 1)), -1, 1)


def _window_weights(length: int) -> NDArray[np.float64]:
    """Returns the weights of each window along a side of `length` pixels, float64 `[windows, length]`."""
    width = min(WINDOW, length)
    offsets = np.arange(width) - (width - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    weights /= weights.sum()
    windows = np.zeros((length - width + 1, length))
    for start, window in enumerate(windows):
        window[start : start + width] = weights
    return windows
