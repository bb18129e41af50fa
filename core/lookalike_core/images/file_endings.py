"""Where files of several formats end: whether a file is cut off, and WebP files that state a wrong length."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from lookalike_core.images.views import read_at, size_of, view_of

_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ANMF", b"ALPH")


def webp_view(stream: BinaryIO) -> BinaryIO | None:
    """Returns a WebP file with its length corrected, if it states a wrong one and has all its pixels."""
    size, named = size_of(stream), 8 + int.from_bytes(read_at(stream, 4, 4), "little")
    end, has_pixels = 12, False
    for kind, place, length in _riff_chunks(stream):
        following = place + 8 + length
        if following > size:
            if kind in _WEBP_PIXELS:
                return None
            break
        end, has_pixels = following + length % 2, has_pixels or kind in _WEBP_PIXELS
        if end == named <= size:
            return None
    if not has_pixels:
        return None
    missing = bytes(max(0, end - size))  # the one that makes a length even
    return view_of(stream, [b"RIFF" + struct.pack("<I", end - 8), range(8, min(end, size)), missing])


def _riff_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, offset and content length of each chunk, up to the first that is malformed."""
    size, place = size_of(stream), 12
    for _ in range(_MAX_CHUNKS):
        head = read_at(stream, place, 8)
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if len(head) < 8 or not (kind.isascii() and kind.decode().isprintable()):  # noqa: PLR2004
            return
        yield kind, place, length
        place += 8 + length + length % 2
        if place > size:
            return


_MAX_CHUNKS = 100_000


def is_webp_cut_off(stream: BinaryIO) -> bool:
    """Returns whether a WebP file ends before its stated length, or within a chunk."""
    size = size_of(stream)
    if size < 8 + int.from_bytes(read_at(stream, 4, 4), "little"):
        return True
    return any(place + 8 + length > size for _, place, length in _riff_chunks(stream))


def is_bmp_cut_off(stream: BinaryIO) -> bool:
    """Returns whether a BMP ends within its header, or before the rows of pixels that the header states."""
    head, size = read_at(stream, 0, 34), size_of(stream)
    if len(head) < 34:  # noqa: PLR2004 - up to how it is compressed
        return True
    place, header, width, height, _, bits, compression = struct.unpack("<IIiiHHI", head[10:34])
    if header == 12 or compression in {1, 2}:  # noqa: PLR2004 - sizes of 16 bits; run lengths
        return bool(place >= size)
    return bool(place + abs(height) * bmp_row_bytes(width, bits) - 3 > size)


def bmp_row_bytes(width: int, bits: int) -> int:
    """Returns how many bytes a row of an uncompressed BMP takes, padded to a multiple of four."""
    return (abs(width) * bits + 31) // 32 * 4


def is_box_cut_off(stream: BinaryIO) -> bool:
    """Returns whether an AVIF or HEIC file ends within a box, or before the box of metadata."""
    end, is_described = 0, False
    for kind, place, length in boxes(stream):
        end, is_described = place + length, is_described or kind in {b"meta", b"moov"}
    return end > size_of(stream) or not is_described


def boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, offset and length of each box (ISO 14496-12, 4.2), up to the first that is malformed."""
    size, place = size_of(stream), 0
    for _ in range(_MAX_CHUNKS):
        head = read_at(stream, place, 16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:  # a 64-bit length follows the kind
            length = int.from_bytes(head[8:16])
        elif length == 0:  # up to the end
            length = size - place
        if length < 8:  # noqa: PLR2004 - of a box that holds nothing
            return
        yield kind, place, length
        place += length
