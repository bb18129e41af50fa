"""A file with pieces left out, inserted or replaced, as a stream without copying."""

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import BinaryIO, cast

Piece = bytes | range
"""Bytes, or a range of the file."""


def view_of(stream: BinaryIO, pieces: Iterable[Piece]) -> BinaryIO:
    """Returns a stream of these pieces in order; it moves `stream`, which must not be read in parallel."""
    return cast("BinaryIO", _View(stream, [piece for piece in pieces if len(piece)]))


def size_of(stream: BinaryIO) -> int:
    """Returns the size in bytes; the stream is then at its end."""
    return stream.seek(0, io.SEEK_END)


def whole(stream: BinaryIO) -> range:
    """Returns the range of the whole file."""
    return range(size_of(stream))


def read_at(stream: BinaryIO, place: int, count: int) -> bytes:
    """Reads so many bytes from an offset, fewer at the end of the file."""
    stream.seek(place)
    return stream.read(count)


class _View(io.RawIOBase):
    """A read-only stream; knows the offset of each piece in it."""

    def __init__(self, stream: BinaryIO, pieces: list[Piece]) -> None:
        super().__init__()
        self._stream, self._pieces = stream, pieces
        self._starts = [0, *accumulate(map(len, pieces))]
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._starts[-1] - self._place
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted > 0:
            part = self._read_of_piece(wanted)
            if not part:  # the file was truncated while it was read
                break
            parts.append(part)
            self._place += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_of_piece(self, size: int) -> bytes:
        """Reads the next bytes of the current piece."""
        index = bisect_right(self._starts, self._place) - 1
        piece, begin = self._pieces[index], self._place - self._starts[index]
        size = min(size, len(piece) - begin)
        if isinstance(piece, bytes):
            return piece[begin : begin + size]
        return read_at(self._stream, piece.start + begin, size)
