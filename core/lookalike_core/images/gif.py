"""The frames of a GIF by their headers: their extents, and the end of the file.

Pillow allocates memory for a frame beyond the image as soon as it reads it, of whatever size the frame
states.
"""

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from lookalike_core.images.views import read_at

_HEADER_BYTES, _FRAME_BYTES = 13, 9

MAX_BLOCKS = 2_000_000
"""The most blocks of a file that are read: half a gigabyte of usual ones, some seconds of the smallest."""

Extent = tuple[int, int]


def first_extent(stream: BinaryIO) -> Extent | None:
    """Returns the width and height that the first frame needs; None if there is no frame."""
    return next(_read_extents(stream), None)


def count_sound_frames(stream: BinaryIO, most: int) -> int:
    """Returns how many leading frames lie within the image, at most a limit."""
    screen = read_at(stream, 6, 4)
    width, height = int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:], "little")
    count = 0
    for right, bottom in islice(_read_extents(stream), most):
        if count and (right > width or bottom > height):
            break
        width, height = max(width, right), max(height, bottom)
        count += 1
    return count


def is_cut_off(stream: BinaryIO) -> bool:
    """Returns whether a GIF ends before the pixels of its first frame begin."""
    if first_extent(stream) is not None:
        return False
    here = stream.tell()
    return read_at(stream, max(0, here - 1), 1) != b";"


def _read_extents(stream: BinaryIO) -> Iterator[Extent]:
    """Yields the extent of each frame (GIF89a, 20), until the end, a cut-off frame, or `MAX_BLOCKS`."""
    header = read_at(stream, 0, _HEADER_BYTES)
    place = _HEADER_BYTES + _count_palette_bytes(header[10:11])
    steps = iter(range(MAX_BLOCKS))
    while next(steps, None) is not None:
        kind = read_at(stream, place, 1)
        place += 1
        if kind == b"!":
            place = _skip_blocks(stream, place + 1, steps)
        elif kind == b",":
            frame = stream.read(_FRAME_BYTES)
            if len(frame) < _FRAME_BYTES:
                return
            left, top, width, height = (int.from_bytes(frame[at : at + 2], "little") for at in (0, 2, 4, 6))
            yield left + width, top + height
            place += _FRAME_BYTES + _count_palette_bytes(frame[8:9]) + 1
            place = _skip_blocks(stream, place, steps)
        elif kind in {b"", b";"}:
            return


def _count_palette_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0


def _skip_blocks(stream: BinaryIO, place: int, steps: Iterator[int]) -> int:
    """Returns the end of the chain of sub-blocks that begins at an offset."""
    while (length := read_at(stream, place, 1)) not in {b"", b"\0"} and next(steps, None) is not None:
        place += 1 + length[0]
    return place + 1
