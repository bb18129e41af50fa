"""Thumbnails: small images for people, uncropped and upright, as bytes that a page can embed."""

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lookalike_core.arrays import Pixels
from lookalike_core.cpu_count import count_cores
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import MAX_PIXELS, decode_small
from lookalike_core.images.open_image import open_file
from lookalike_core.prefetch import map_ahead

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 60
"""The encoder's quality, of 100: 1 to 2 KB at 96 pixels, and no visible difference to more."""

AHEAD = 32
"""Thumbnails that are made ahead of the consumer."""


class Encoding(StrEnum):
    """How thumbnails are stored: WebP takes half of the bytes; JPEG is embedded unchanged in printed PDFs."""

    JPEG = "jpeg"
    WEBP = "webp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small image: `data` is a file of `width` x `height` pixels."""

    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """Returns a `data:` URI that a page can embed."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def make_thumbnail(
    path: Path,
    edge: int,
    *,
    encoding: Encoding = Encoding.JPEG,
    quality: int = QUALITY,
    max_pixels: int = MAX_PIXELS,
) -> Thumbnail | SkipReason:
    """Returns the image within `edge` x `edge` pixels, its aspect ratio kept, or why there is none."""
    try:
        with open_file(path) as stream:
            return read_thumbnail(
                stream, str(path), edge, encoding=encoding, quality=quality, max_pixels=max_pixels
            )
    except ImageError as error:
        return error.reason


def read_thumbnail(
    stream: BinaryIO,
    name: str,
    edge: int,
    *,
    encoding: Encoding = Encoding.JPEG,
    quality: int = QUALITY,
    max_pixels: int = MAX_PIXELS,
) -> Thumbnail:
    """Returns the image of an open file as `make_thumbnail` does.

    Raises:
        ImageError: it cannot be decoded; the message names `name`.
    """
    small = decode_small(stream, name, edge=edge, max_pixels=max_pixels)
    return _encode(small, encoding, quality)


def make_thumbnails(
    paths: Iterable[Path],
    edge: int,
    *,
    encoding: Encoding = Encoding.JPEG,
    quality: int = QUALITY,
    max_pixels: int = MAX_PIXELS,
    ahead: int = AHEAD,
) -> Iterator[Thumbnail | SkipReason]:
    """Yields the `thumbnail` of each image, in order, made in threads at most `ahead` before the consumer."""
    make = partial(make_thumbnail, edge=edge, encoding=encoding, quality=quality, max_pixels=max_pixels)
    return map_ahead(make, iter(paths), ahead=ahead, workers=min(8, count_cores() + 1))


def pixels_within(path: Path, width: int, height: int) -> Pixels | SkipReason:
    """Returns the image as uint8 `[H, W, 3]` within a box, its aspect ratio kept, or why there is none."""
    try:
        with open_file(path) as stream:
            image = decode_small(stream, str(path), edge=_FINER * max(width, height))
    except ImageError as error:
        return error.reason
    image.thumbnail((width, height))
    return np.asarray(image)


_FINER = 4
"""How much larger than the box an image is decoded, since its aspect ratio is not known before."""


def encode(pixels: Pixels, *, encoding: Encoding = Encoding.JPEG, quality: int = QUALITY) -> Thumbnail:
    """Returns pixels uint8 `[H, W, 3]` as a thumbnail of that size."""
    from PIL import Image

    return _encode(Image.fromarray(pixels), encoding, quality)


def _encode(image: "Image.Image", encoding: Encoding, quality: int) -> Thumbnail:
    kind = encoding if encoding is Encoding.JPEG or _can_write_webp() else Encoding.JPEG
    file = io.BytesIO()
    image.save(file, kind, quality=quality, optimize=True, method=4)  # each kind takes its own of these
    return Thumbnail(
        data=file.getvalue(),
        media_type=f"image/{kind}",
        width=image.width,
        height=image.height,
    )


@cache
def _can_write_webp() -> bool:
    from PIL import features

    return bool(features.check("webp"))
