"""JPEGs whose end is missing: are all of their pixels there?

An end marker does not tell, for a decoder that meets it too early goes on with grey. But what a decoder never
reads changes nothing: if the image is the same whatever is put behind the file, it needs none of it.
"""

import random
from typing import BinaryIO

from lookalike_core.images.memory_budget import END, MAX_SCANS, START_OF_SCAN, next_marker
from lookalike_core.images.views import read_at, size_of

END_MARKER = b"\xff\xd9"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame (ITU T.81, B.1): its precision, size and components."""

_COEFFICIENTS = 64


def fillers(stream: BinaryIO) -> tuple[bytes, ...]:
    """What is put behind a file in turn; the first is how it should end.

    The others are noise, behind a zero where the file ends in 0xFF, which makes that a value and no marker.
    They hold the eight restart markers, for a decoder that waits for one; it passes over a wrong one or stops
    at it, which is why they begin with different ones.
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
    """Whether every component has been sent, and every bit of its coefficients where they come in parts."""
    stream.seek(2)
    left: dict[int, list[int]] = {}
    is_progressive = False
    for _ in range(MAX_SCANS * 8):
        marker = next_marker(stream)
        if marker is None or marker == END:
            break
        body = stream.read(max(0, int.from_bytes(stream.read(2)) - 2))
        if marker in _FRAMES:
            is_progressive = marker in {0xC2, 0xC6, 0xCA, 0xCE}
            left = {body[at]: [1] * _COEFFICIENTS for at in range(6, len(body) - 2, 3)}
        elif marker == START_OF_SCAN:
            _take_scan(body, left, is_progressive)
    return bool(left) and not any(map(any, left.values()))


def _take_scan(body: bytes, left: dict[int, list[int]], is_progressive: bool) -> None:
    """Notes what a scan brings: of coefficients from one to another, all but so many lower bits."""
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
