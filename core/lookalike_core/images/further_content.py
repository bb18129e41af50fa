"""Further content of an image file: the video of a motion photo, depth maps, layers.

Viewers do not show it, so a copy without it looks the same; deleting the file would lose it.
"""

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO

from lookalike_core.images import gif, jpeg, png
from lookalike_core.images.file_endings import bmp_row_bytes, boxes
from lookalike_core.images.formats import HEAD_BYTES, is_avif, is_heif, is_webp
from lookalike_core.images.tiff_tags import Tag, tags_of
from lookalike_core.images.views import read_at, size_of

if TYPE_CHECKING:
    from PIL import Image

SUBSTANCE_BYTES = 1024
"""The most bytes behind an image that count as metadata (times and names that phones append) or padding."""

_PADDING = b"\0\xff \t\r\n"
_CHUNK = 2**20

_OWN_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pdin", b"idat"})
"""Boxes of a still image (ISO 23008-12); `moov` and `mpvd` hold a video."""

_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
_MAX_META_BYTES = 2**24

_XMP_WORDS = (
    *(b"GDepth:Data", b"GImage:Data", b"GAudio:Data"),
    *(b"GDepth:Format", b"GImage:Mime", b"GAudio:Mime"),
)
"""Words in a JPEG's extended XMP that announce a depth map, the unblurred image, or sound."""

_FURTHER_TAGS = frozenset({Tag.SUB_IFDS, Tag.PHOTOSHOP_LAYERS})
"""SubIFDs, which are further images of a TIFF, and Photoshop's layers."""


def holds_further_content(stream: BinaryIO) -> bool:
    """Returns whether an image's file holds content besides the image and its metadata.

    Frames, pages and views, which Pillow counts, are not included. `stream` keeps its position.
    """
    place = stream.tell()
    try:
        return _holds_more(stream, read_at(stream, 0, HEAD_BYTES))
    finally:
        stream.seek(place)


def names_further_content(image: "Image.Image") -> bool:
    """Returns whether an opened image's metadata announce further content: a JPEG's XMP, a TIFF's tags."""
    xmp = image.info.get("xmp")
    if isinstance(xmp, bytes) and any(word in xmp for word in _XMP_WORDS):
        return True
    return not _FURTHER_TAGS.isdisjoint(tags_of(image))


def _holds_more(stream: BinaryIO, head: bytes) -> bool:
    if is_avif(head) or is_heif(head):
        return _is_more_in_boxes(stream)
    if is_webp(head):
        return _is_substance(stream, 8 + int.from_bytes(head[4:8], "little"))
    if head.startswith(b"BM"):
        return _is_substance(stream, _find_bmp_end(head))
    for magic, end_of in _ENDS.items():
        if head.startswith(magic):
            end = end_of(stream)
            return end is not None and _is_substance(stream, end)
    return False


def _find_png_end(stream: BinaryIO) -> int | None:
    place = len(png.MAGIC)
    for _ in range(png.MAX_CHUNKS):
        head = read_at(stream, place, 8)
        if len(head) < 8:  # noqa: PLR2004 - a length and a kind
            return None
        place += 12 + int.from_bytes(head[:4])
        if head[4:] == b"IEND":
            return place
    return None


def _find_gif_end(stream: BinaryIO) -> int | None:
    gif.count_sound_frames(stream, gif.MAX_BLOCKS)
    here = stream.tell()
    return here if here and read_at(stream, here - 1, 1) == b";" else None


_ENDS: Mapping[bytes, Callable[[BinaryIO], int | None]] = {
    jpeg.MAGIC: jpeg.find_end,
    png.MAGIC: _find_png_end,
    b"GIF8": _find_gif_end,
}


def _find_bmp_end(head: bytes) -> int:
    """Returns the end of a BMP's rows, or its stated length if greater: a colour profile may lie between."""
    if len(head) < 34:  # noqa: PLR2004 - up to how it is compressed
        return len(head)
    named, _, place, header, width, height, _, bits, _ = struct.unpack("<IIIIiiHHI", head[2:34])
    rows = 0 if header == 12 else abs(height) * bmp_row_bytes(width, bits)  # noqa: PLR2004
    return max(int(named), int(place) + rows)


def _is_substance(stream: BinaryIO, place: int) -> bool:
    """Returns whether the bytes from an offset on are more than padding and short metadata."""
    size, found = size_of(stream), 0
    stream.seek(place)
    while place < size and (part := stream.read(_CHUNK)):
        found += len(part.strip(_PADDING))
        place += len(part)
        if found > SUBSTANCE_BYTES:
            return True
    return False


def _is_more_in_boxes(stream: BinaryIO) -> bool:
    """Returns whether there is a video, an auxiliary image other than alpha, or a box that no image has."""
    for kind, place, length in boxes(stream):
        if kind not in _OWN_BOXES and length > SUBSTANCE_BYTES:  # or what is no box at all
            return True
        if kind == b"meta" and _has_auxiliary_image(read_at(stream, place, min(length, _MAX_META_BYTES))):
            return True
    return False


def _has_auxiliary_image(meta: bytes) -> bool:
    """Returns whether a property names an auxiliary image other than alpha: letters, a version, a name."""
    return any(not each[4:].startswith(_ALPHA) for each in meta.split(b"auxC")[1:])
