"""JPEGs by their markers (ITU T.81, annex B): their scans, and whether all pixels are there without an end.

An end marker does not prove it: a decoder that meets one too early continues with grey. But if the image is
the same whatever bytes are appended to the file, the decoder needs none of them.
"""

import random
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from lookalike_core.images.views import read_at, size_of

MAGIC = b"\xff\xd8\xff"

MAX_SCANS = 100
"""JPEGs of more scans are refused: encoders write about ten, and each is a pass over the whole image."""

END_MARKER = b"\xff\xd9"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame (ITU T.81, B.1): its precision, size and components."""

_COEFFICIENTS = 64

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within a scan 0xFF is followed by 0x00 or a restart; all else begins the next segment (ITU T.81, B.1)."""

_START_OF_SCAN, _END, _TEMPORARY = 0xDA, 0xD9, 0x01
_CHUNK = 2**16


def count_scans(stream: BinaryIO) -> int:
    """Returns the number of scans of a JPEG, counted to at most one above `MAX_SCANS`."""
    scans = (marker for marker in _segments(stream) if marker == _START_OF_SCAN)
    return sum(1 for _ in islice(scans, MAX_SCANS + 1))


def find_end(stream: BinaryIO) -> int | None:
    """Returns the end of the first image; None if no marker gives it."""
    return next((stream.tell() for marker in _segments(stream) if marker == _END), None)


def _segments(stream: BinaryIO) -> Iterator[int]:
    """Yields the marker of each segment of the first image; the stream then stands behind the marker."""
    stream.seek(2)
    while (marker := _next_marker(stream)) is not None:
        if marker not in (_END, _TEMPORARY):  # all others have a length
            stream.seek(max(0, int.from_bytes(stream.read(2)) - 2), 1)
        yield marker
        if marker == _END:
            return


def _next_marker(stream: BinaryIO) -> int | None:
    """Returns the marker of the next segment; the stream then stands at its length field."""
    while len(chunk := stream.read(_CHUNK)) > 1:
        found = _MARKER.search(chunk)
        if found:
            stream.seek(found.end() - len(chunk), 1)
            return chunk[found.end() - 1]
        if chunk.endswith(b"\xff"):
            stream.seek(-1, 1)
    return None


def is_cut_off(stream: BinaryIO) -> bool:
    """Returns whether a JPEG ends before its first scan."""
    stream.seek(2)
    size = size_of(stream)
    stream.seek(2)
    while (marker := _next_marker(stream)) is not None:
        place = stream.tell()
        end = place + int.from_bytes(stream.read(2))
        if marker == _START_OF_SCAN:
            return end >= size
        if stream.seek(max(place + 2, end)) > size:
            return True
    return True


def fillers(stream: BinaryIO) -> tuple[bytes, ...]:
    """Returns bytes to append to a file, one alternative after the other; the first is its regular end.

    The others are noise, after a zero if the file ends in 0xFF, so that this is a value and no marker. They
    hold all eight restart markers, for a decoder that waits for one; as it skips a wrong marker or stops at
    it, they begin with different ones.
    """
    dice = random.Random(0)  # noqa: S311 - the same at every run
    before = b"\0" if read_at(stream, size_of(stream) - 1, 1) == b"\xff" else b""

    def noise(first: int) -> bytes:
        parts = [bytes([0xFF, 0xD0 + (first + number) % 8]) + _noise(dice) for number in range(8)]
        return before + _noise(dice) + b"".join(parts) + END_MARKER

    return END_MARKER, noise(0), noise(4)


def _noise(dice: random.Random) -> bytes:
    return bytes(dice.randrange(0xFF) for _ in range(_NOISE_BYTES))


_NOISE_BYTES = 512


def has_all_scans(stream: BinaryIO) -> bool:
    """Returns whether all components are there, with all bits of their coefficients if they come in parts."""
    stream.seek(2)
    left: dict[int, list[int]] = {}
    is_progressive = False
    for _ in range(MAX_SCANS * 8):
        marker = _next_marker(stream)
        if marker is None or marker == _END:
            break
        body = stream.read(max(0, int.from_bytes(stream.read(2)) - 2))
        if marker in _FRAMES:
            is_progressive = marker in {0xC2, 0xC6, 0xCA, 0xCE}
            left = {body[at]: [1] * _COEFFICIENTS for at in range(6, len(body) - 2, 3)}
        elif marker == _START_OF_SCAN:
            _take_scan(body, left, is_progressive)
    return bool(left) and not any(map(any, left.values()))


def _take_scan(body: bytes, left: dict[int, list[int]], is_progressive: bool) -> None:
    """Records what a scan adds: a range of coefficients, and all but their lowest so many bits."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        return
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    if not is_progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    for component in body[1 : 1 + 2 * count : 2]:
        for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1):
            if component in left:
                left[component][coefficient] = bits & 15
