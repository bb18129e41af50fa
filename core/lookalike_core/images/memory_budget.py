"""The memory that decoding an image takes, by its header, and a budget that decoding threads share.

Measured as the peak memory of a process on images of 24 megapixels: 4 bytes a pixel for Pillow itself, 16 and
more for the libraries of WebP, AVIF and HEIC, and 2 more for every sample of a JPEG in several scans, which
are all kept until the last one (docs/adr/0006-memory-of-decoding.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

from lookalike_core.images.tiff_tags import Tag, tags_of

if TYPE_CHECKING:
    from PIL import Image

BYTES_A_PIXEL = 4
"""Pillow's own images: three or four bytes, aligned to four. Some modes take less."""

LIBRARY_FACTOR = 4
"""WebP keeps canvases for animation; AVIF and HEIC the planes, their RGB, a copy of it, and the image."""


def decoding_bytes(image: "Image.Image", *, full_pixels: int, scans: int, file_bytes: int) -> int:
    """Returns the peak bytes of `image.load()`; `full_pixels` is the size before any `draft`."""
    pixels: int = image.width * image.height
    needed = BYTES_A_PIXEL * pixels
    if image.format in {"WEBP", "AVIF", "HEIF"}:
        return needed * LIBRARY_FACTOR
    if image.format == "TIFF" and getattr(image, "use_load_libtiff", False):
        return needed + _strip_bytes(image) + file_bytes
    if scans > 1:
        return needed + _coefficient_bytes(image, full_pixels)
    return needed


def _coefficient_bytes(image: "Image.Image", full_pixels: int) -> int:
    """Returns the bytes of the coefficients that libjpeg keeps for an image in several scans."""
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    samplings = [(across, down) for _, across, down, _ in layers] or [(1, 1)]
    most = max(across for across, _ in samplings) * max(down for _, down in samplings)
    return 2 * full_pixels * sum(across * down for across, down in samplings) // most


def _strip_bytes(image: "Image.Image") -> int:
    """Returns the bytes of one unpacked strip or tile of a TIFF; a tile may be larger than its image."""
    tags = tags_of(image)
    rows = min(_number(tags.get(Tag.ROWS_PER_STRIP), image.height), image.height)
    tile = _number(tags.get(Tag.TILE_WIDTH), 0) * _number(tags.get(Tag.TILE_LENGTH), 0)
    bits = tags.get(Tag.BITS_PER_SAMPLE) or (8,)
    return max(image.width * rows, tile) * max(1, sum(bits) // 8)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


class Budget:
    """The bytes that decoding threads may take together; an image that exceeds the budget is decoded alone.

    A large image waits until no other is being decoded. Smaller ones may overtake it, but not for ever:
    prefetching stops at the first image that is not done.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._taken = 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Waits until so many bytes are free, and reserves them for the length of a block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + amount <= self._capacity)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()
