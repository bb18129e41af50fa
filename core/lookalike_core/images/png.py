"""PNG files reduced to the chunks that their image consists of.

Pillow reads every chunk, and fails on some that no viewer needs. Here chunks are skipped as viewers do (PNG
3rd edition, 13.2): text, and unknown, misplaced, duplicate or damaged ones outside the pixels.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import BinaryIO

from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.views import Piece, read_at, size_of, view_of

MAGIC = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 500_000
"""More chunks than the largest images have; reading a file of nothing but empty ones would take minutes."""

MAX_SIDE_BYTES = 2**20
"""The largest ancillary chunk that is read, and the largest size that it may decompress to for Pillow."""

MAX_PROFILE_BYTES = 16 * 2**20
"""The same for colour profiles, which are decompressed here."""

END = b"\0\0\0\0IEND\xae\x42\x60\x82"

_LENGTHS = {b"gAMA": {4}, b"cHRM": {32}, b"sRGB": {1}, b"cICP": {4}, b"tRNS": {*range(1, 257)}}
"""Ancillary chunks that change how pixels look -> the lengths that they may have."""

_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_FRAMES = (*_ANIMATION, b"IDAT")
_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Texts that may give the orientation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A chunk of a file: `place` is the offset of its length field, `length` that of its content."""

    kind: bytes
    place: int
    length: int

    @property
    def content(self) -> int:
        """The offset of its content."""
        return self.place + 8

    @property
    def end(self) -> int:
        """The offset of the next chunk."""
        return self.content + self.length + 4

    @property
    def piece(self) -> range:
        """The range of all its bytes."""
        return range(self.place, self.end)


@dataclass(slots=True, kw_only=True)
class PngParts:
    """The chunks of a file that are considered, in file order; `profile` is the decompressed colour profile.

    `still` are the chunks of the image shown by viewers that do not support animations, and `is_other` says
    that this image is no frame of the animation. `is_cut_off` says that the file ends within a chunk.
    """

    chunks: list[Chunk] = field(default_factory=list)
    still: list[Chunk] = field(default_factory=list)
    profile: bytes | None = None
    is_other: bool = False
    is_cut_off: bool = False


def find_needed_chunks(stream: BinaryIO, name: str, *, max_chunks: int = MAX_CHUNKS) -> PngParts:
    """Returns the chunks that an image consists of, all intact, and each only once if it must be unique.

    Raises:
        ImageError: the header or the palette is damaged, or there are too many chunks.
    """
    parts = PngParts()
    seen: set[bytes] = set()
    for chunk in _read_chunks(stream, parts, name, max_chunks):
        if _is_needed(chunk, stream, seen, name, parts):
            parts.chunks.append(chunk)
        seen.add(chunk.kind)
    _choose_images(parts)
    return parts


def png_view(stream: BinaryIO, chunks: Iterable[Chunk]) -> BinaryIO:
    """Returns the file with these chunks alone and an end chunk; the file itself if it has no others."""
    pieces = _merge(chunk.piece for chunk in chunks)
    first = pieces[0] if len(pieces) == 1 else None
    if (
        isinstance(first, range)
        and first.start == len(MAGIC)
        and read_at(stream, first.stop, len(END)) == END
    ):
        return stream
    return view_of(stream, [MAGIC, *pieces, END])


def lacks_pixels(stream: BinaryIO, parts: PngParts) -> bool:
    """Returns whether the pixels decompress to fewer bytes than the header states.

    Pillow fills up the rest without a warning.
    """
    pixels = [chunk for chunk in parts.still if chunk.kind == b"IDAT"]
    return _find_end_of_pixels(stream, pixels, _count_raw_bytes(stream, parts.still[:1])) is None


def whole_view(stream: BinaryIO, parts: PngParts) -> BinaryIO | None:
    """Returns the file without anything behind its last pixel, if all pixels are there.

    None if a checksum of their chunks is wrong, too: the pixels themselves are damaged then.
    """
    pixels = [chunk for chunk in parts.still if chunk.kind == b"IDAT"]
    before = [chunk for chunk in parts.still if chunk.kind != b"IDAT" and chunk.place < pixels[0].place]
    end = _find_end_of_pixels(stream, pixels, _count_raw_bytes(stream, before[:1]))
    if end is None:
        return None
    number, length = end
    if not all(_is_intact(chunk, stream) for chunk in pixels[: number + 1]):
        return None
    last = range(pixels[number].content, pixels[number].content + length)
    pieces = _merge(chunk.piece for chunk in (*before, *pixels[:number]))
    return view_of(stream, [MAGIC, *pieces, length.to_bytes(4) + b"IDAT", last, bytes(4), END])


def _is_intact(chunk: Chunk, stream: BinaryIO) -> bool:
    """Returns whether the checksum of a chunk of any size is correct."""
    checksum = zlib.crc32(chunk.kind)
    for place in range(chunk.content, chunk.content + chunk.length, _BLOCK):
        count = min(_BLOCK, chunk.content + chunk.length - place)
        checksum = zlib.crc32(read_at(stream, place, count), checksum)
    return read_at(stream, chunk.content + chunk.length, 4) == checksum.to_bytes(4)


def _find_end_of_pixels(stream: BinaryIO, pixels: list[Chunk], missing: int) -> tuple[int, int] | None:
    """Returns the chunk, and the offset in it, where the last missing byte is decompressed; else None."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    skipped = 2  # what zlib writes before what is packed
    for number, chunk in enumerate(pixels):
        place = chunk.content
        while missing > 0 and place < chunk.content + chunk.length and not unpacker.eof:
            data = read_at(stream, place, min(_BLOCK, chunk.content + chunk.length - place))
            if not data:
                return None
            place += len(data)
            missing -= _count_unpacked(unpacker, data[skipped:])
            skipped = max(0, skipped - len(data))
        if missing <= 0:
            return number, place - chunk.content - len(unpacker.unused_data)
    return None


_BLOCK = 2**16


def _count_unpacked(unpacker: "zlib._Decompress", data: bytes) -> int:
    """Returns how many bytes the data decompresses to, without keeping them; stops where it is damaged."""
    count = 0
    try:
        while data and not unpacker.eof:  # behind its end what is left over stays as it was
            count += len(unpacker.decompress(data, _BLOCK))
            data = unpacker.unconsumed_tail
    except zlib.error:
        return count
    return count


def _count_raw_bytes(stream: BinaryIO, headers: list[Chunk]) -> int:
    """Returns the size of the decompressed pixels by the header: a filter byte and pixels for each line."""
    header = read_at(stream, headers[0].content, 13)
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header[9], 4)
    passes = _PASSES if header[12] else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and lines > 0:
            total += lines * (1 + -(-columns * bits // 8))
    return total


_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: the start of each pass, and its steps."""


def _read_chunks(stream: BinaryIO, parts: PngParts, name: str, max_chunks: int) -> Iterator[Chunk]:
    """Yields all chunks until the end, or until the file has no further chunk."""
    size, place = size_of(stream), len(MAGIC)
    for _ in range(max_chunks):
        head = read_at(stream, place, 8)
        kind, length = head[4:], int.from_bytes(head[:4])
        if not (len(kind) == 4 and kind.isalpha()):  # noqa: PLR2004 - letters
            parts.is_cut_off = place + 8 > size
            return
        chunk = Chunk(kind=kind, place=place, length=length)
        if kind == b"IEND":
            return
        yield chunk
        place = chunk.end
        if place > size:
            parts.is_cut_off = True
            return
    raise ImageError(
        f"{name} has more than {max_chunks:,} parts; save it again", reason=SkipReason.UNREADABLE
    )


def _is_needed(chunk: Chunk, stream: BinaryIO, seen: set[bytes], name: str, parts: PngParts) -> bool:
    """Returns whether the image consists of this chunk, and it is intact."""
    kind = chunk.kind
    if kind in {b"IDAT", b"fdAT"}:
        return True
    if kind in {b"acTL", b"fcTL"}:
        return _read_sound(chunk, stream) is not None
    if kind in {b"eXIf", b"iTXt", b"zTXt", b"tEXt"}:
        return _may_turn(chunk, stream, seen)
    if kind in seen or b"IDAT" in seen:
        return False
    if kind in {b"IHDR", b"PLTE"}:
        _check(chunk, stream, name)
        return True
    if kind == b"iCCP":
        parts.profile = _read_profile(chunk, stream)
    return chunk.length in _LENGTHS.get(kind, ()) and _read_sound(chunk, stream) is not None


def _check(chunk: Chunk, stream: BinaryIO, name: str) -> None:
    """Refuses a damaged critical chunk, unless the file is cut off."""
    if chunk.end <= size_of(stream) and _read_sound(chunk, stream) is None:
        kind = chunk.kind.decode()
        raise ImageError(
            f"{name} is damaged: the checksum of its {kind} chunk is wrong", reason=SkipReason.UNREADABLE
        )


def _read_sound(chunk: Chunk, stream: BinaryIO, limit: int = MAX_SIDE_BYTES) -> bytes | None:
    """Returns the content of a chunk of usual size if its checksum is correct, else None."""
    if chunk.length > limit:
        return None
    data = read_at(stream, chunk.place + 4, chunk.length + 8)
    content, checksum = data[4:-4], data[-4:]
    is_right = len(data) == chunk.length + 8 and zlib.crc32(data[:-4]).to_bytes(4) == checksum
    return content if is_right else None


def _may_turn(chunk: Chunk, stream: BinaryIO, seen: set[bytes]) -> bool:
    """Returns whether a text may give the orientation, and decompresses to no more than Pillow accepts."""
    if chunk.kind == b"eXIf":
        return chunk.kind not in seen and _read_sound(chunk, stream) is not None
    keyword = read_at(stream, chunk.content, 32)
    if not keyword.startswith(_TEXTS):
        return False
    text = _read_sound(chunk, stream)
    if text is None:
        return False
    _, _, packed = text.partition(b"\0")
    if chunk.kind == b"zTXt":
        return packed[:1] == b"\0" and _decompress(packed[1:], MAX_SIDE_BYTES) is not None
    if chunk.kind == b"iTXt" and packed[:1] != b"\0":
        return _decompress(packed[2:].split(b"\0", 2)[-1], MAX_SIDE_BYTES) is not None
    return True


def _read_profile(chunk: Chunk, stream: BinaryIO) -> bytes | None:
    """Returns the decompressed colour profile; None if it is damaged."""
    content = _read_sound(chunk, stream, MAX_PROFILE_BYTES) or b""
    _, _, packed = content.partition(b"\0")
    return _decompress(packed[1:], MAX_PROFILE_BYTES) if packed[:1] == b"\0" else None


def _decompress(packed: bytes, limit: int) -> bytes | None:
    """Returns decompressed zlib data; None if it is damaged or longer than `limit`."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, limit)
    except zlib.error:
        return None
    return data if unpacker.eof else None


def _choose_images(parts: PngParts) -> None:
    """Sets the chunks of the animation, and those of the image for viewers that show no animations.

    As in browsers, the default image is no frame unless a frame control chunk precedes it; and an animation
    that does not begin correctly is ignored.
    """
    parts.still = [chunk for chunk in parts.chunks if chunk.kind not in _ANIMATION]
    kinds = [kind for kind, _ in groupby(chunk.kind for chunk in parts.chunks if chunk.kind in _FRAMES)]
    parts.is_other = kinds[:4] == [b"acTL", b"IDAT", b"fcTL", b"fdAT"]
    if parts.is_other:
        parts.chunks = [chunk for chunk in parts.chunks if chunk.kind != b"IDAT"]
    elif kinds[:3] != [b"acTL", b"fcTL", b"IDAT"]:
        parts.chunks = parts.still


def _merge(pieces: Iterable[range]) -> list[Piece]:
    """Returns the pieces with adjacent ones merged."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if isinstance(last, range) and last.stop == piece.start:
            merged[-1] = range(last.start, piece.stop)
        else:
            merged.append(piece)
    return merged
