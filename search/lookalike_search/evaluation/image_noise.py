"""Draws a sample of images, and Gaussian noise on their pixels. Pure."""

import hashlib

import numpy as np
from lookalike_core.arrays import Pixels
from numpy.typing import NDArray

from lookalike_search.evaluation.labelled_vectors import IntVector, LabelledVectors

MAX_NOISE = 255
"""The largest standard deviation: more would leave nothing of an image of 0 to 255."""


def draw_order(images: LabelledVectors, countable: NDArray[np.bool_], *, seed: int = 0) -> IntVector:
    """Returns the countable images, bool `[N]`, in a random order, int64 `[M]`; of exact duplicates one.

    The first of them, however many, hold each class in proportion to its size, as far as that divides.
    """
    random = np.random.default_rng(seed)
    drawn = random.permutation(np.flatnonzero(countable))
    _, first = np.unique(images.copies[drawn], return_index=True)
    rows = drawn[np.sort(first)]
    places = np.empty(len(rows))
    for number in np.unique(images.classes[rows]):
        own = np.flatnonzero(images.classes[rows] == number)
        places[own] = (np.arange(len(own)) + random.random(len(own))) / len(own)
    return np.asarray(rows[np.argsort(places, kind="stable")], dtype=np.int64)


def add_noise(pixels: Pixels, level: float, *, sha256: str, seed: int = 0) -> Pixels:
    """Returns uint8 `[H, W, 3]` with Gaussian noise of a standard deviation, rounded and clipped to 0 to 255.

    The noise depends on the bytes of the image, the level and the seed alone.
    """
    if level == 0:
        return pixels
    digest = hashlib.sha256(f"{sha256} {float(level)!r} {seed}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest, "big"))
    noisy = pixels + level * random.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
