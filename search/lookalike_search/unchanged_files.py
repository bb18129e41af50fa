"""Files of indexed images, read only if their bytes are those that were ingested."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lookalike_core.arrays import Pixels
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import MAX_PIXELS, decode
from lookalike_core.images.open_image import MAX_BYTES, hash_stream, open_file
from lookalike_core.stores.points import Payload


@contextmanager
def open_unchanged(file: Path, payload: Payload, *, most_bytes: int = MAX_BYTES) -> Iterator[BinaryIO]:
    """Yields the bytes of an indexed image, if they are those that were ingested.

    So whatever the path leads to by now, no other file can be read.

    Raises:
        ImageError: the file is gone, cannot be read or has changed.
    """
    with open_file(file, max_bytes=most_bytes) as stream:
        if hash_stream(stream) != payload.sha256:
            raise ImageError(
                f"{file} has changed since it was ingested", reason=SkipReason.UNREADABLE, path=file
            )
        yield stream


def read_unchanged(
    file: Path | None, payload: Payload, *, max_pixels: int = MAX_PIXELS
) -> Pixels | SkipReason:
    """Returns the pixels of an indexed image, uint8 `[224, 224, 3]`, or why its file is of no use."""
    if file is None:
        return SkipReason.VANISHED
    try:
        with open_unchanged(file, payload) as stream:
            return decode(stream, str(file), max_pixels=max_pixels).pixels
    except ImageError as error:
        return error.reason
