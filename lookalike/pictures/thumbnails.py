"""Thumbnails: small pictures for people, whole and upright, as bytes that a page can hold."""

import base64
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.errors import PictureError, SkipReason
from lookalike.pictures.decoding import MAX_PIXELS, Pixels, decode_small
from lookalike.pictures.files import opened

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 60
"""Of 100: at 96 pixels about 2 KB, and nobody sees the difference to more."""

AHEAD = 32
"""Thumbnails that are made before the first of them is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture: `data` is a WebP or JPEG file of `width` x `height` pixels."""

    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """As a `data:` address that a page can show without asking anybody."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def thumbnail(
    path: Path, edge: int, *, quality: int = QUALITY, max_pixels: int = MAX_PIXELS
) -> Thumbnail | SkipReason:
    """The picture in a square of `edge` pixels with its sides' ratio kept, or why there is none."""
    try:
        with opened(path) as stream:
            return _encoded(decode_small(stream, str(path), edge=edge, max_pixels=max_pixels), quality)
    except PictureError as error:
        return error.reason


def thumbnails(
    paths: Iterable[Path], edge: int, *, quality: int = QUALITY, ahead: int = AHEAD
) -> Iterator[Thumbnail | SkipReason]:
    """`thumbnail` of each, in order and made in threads, never more than `ahead` before the consumer."""
    rest = iter(paths)
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1), thread_name_prefix="thumbnail") as pool:

        def started(count: int) -> Iterator[Future[Thumbnail | SkipReason]]:
            return (pool.submit(thumbnail, path, edge, quality=quality) for path in islice(rest, count))

        waiting = deque(started(ahead))
        try:
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(started(1))
                yield made
        finally:
            for future in waiting:
                future.cancel()


def encoded(pixels: Pixels, *, quality: int = QUALITY) -> Thumbnail:
    """Pixels uint8 `[H, W, 3]` as a thumbnail of that size."""
    from PIL import Image

    return _encoded(Image.fromarray(pixels), quality)


def _encoded(image: "Image.Image", quality: int) -> Thumbnail:
    kind = "WEBP" if _webp_is_written() else "JPEG"
    file = io.BytesIO()
    image.save(file, kind, quality=quality, method=4)
    return Thumbnail(
        data=file.getvalue(),
        media_type=f"image/{kind.lower()}",
        width=image.width,
        height=image.height,
    )


@cache
def _webp_is_written() -> bool:
    from PIL import features

    return bool(features.check("webp"))
