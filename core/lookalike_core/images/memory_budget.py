"""What decoding an image takes: known from its header, and shared out among the threads that decode.

Measured as a process' peak on images of 24 megapixels: 4 bytes a pixel for what Pillow holds itself, 16 and
more for the libraries behind WebP, AVIF and HEIC, and for JPEGs in several scans 2 bytes more for every
sample, since all of them are kept to the last scan (docs/adr/0006-memory-of-decoding.md).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

BYTES_A_PIXEL = 4
"""Pillow's own images: three or four bytes, aligned to four. Some modes take less."""

LIBRARY_FACTOR = 4
"""WebP keeps canvases for animation; AVIF and HEIC the planes, their RGB, a copy of it, and the image."""

MAX_SCANS = 100
"""Scans of a JPEG above which it is refused: encoders write about ten, and each costs a pass over it all."""


def decoding_bytes(image: "Image.Image", *, full_pixels: int, scans: int, file_bytes: int) -> int:
    """Bytes that `image.load()` will take at its peak; `full_pixels` is the size before any `draft`."""
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
    """What libjpeg keeps of an image that comes in several scans."""
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    samplings = [(across, down) for _, across, down, _ in layers] or [(1, 1)]
    most = max(across for across, _ in samplings) * max(down for _, down in samplings)
    return 2 * full_pixels * sum(across * down for across, down in samplings) // most


def _strip_bytes(image: "Image.Image") -> int:
    """A TIFF is unpacked strip by strip or tile by tile; a tile may be larger than its image."""
    tags = getattr(image, "tag_v2", {})
    rows = min(_number(tags.get(278), image.height), image.height)
    area = max(image.width * rows, _number(tags.get(322), 0) * _number(tags.get(323), 0))
    bits = tags.get(258) or (8,)
    return area * max(1, sum(bits) // 8)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within a scan 0xFF is followed by 0x00 or a restart; all else begins the next segment (ITU T.81, B.1)."""

START_OF_SCAN, END, TEMPORARY = 0xDA, 0xD9, 0x01
_CHUNK = 2**16


def count_scans(stream: BinaryIO) -> int:
    """How many scans a JPEG has, counted no further than one above `MAX_SCANS`."""
    stream.seek(2)
    scans = 0
    while scans <= MAX_SCANS:
        marker = next_marker(stream)
        if marker is None or marker == END:
            break
        if marker != TEMPORARY:
            scans += marker == START_OF_SCAN
            stream.seek(max(0, int.from_bytes(stream.read(2)) - 2), 1)
    return scans


def next_marker(stream: BinaryIO) -> int | None:
    """The kind of the next segment; the stream stands behind it, at its length."""
    while len(chunk := stream.read(_CHUNK)) > 1:
        found = _MARKER.search(chunk)
        if found:
            stream.seek(found.end() - len(chunk), 1)
            return chunk[found.end() - 1]
        if chunk.endswith(b"\xff"):
            stream.seek(-1, 1)
    return None


class Budget:
    """Bytes that threads take while they decode; what exceeds it all by itself runs alone.

    A large image waits until nothing else is decoded. It may be passed by small ones until then, but not
    for ever: those who read ahead stop before the first that is not done.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._taken = 0
        self._changed = Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Waits until there is room, and holds it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + amount <= self._capacity)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()
