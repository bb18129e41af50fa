"""Which page of a TIFF is its image: the first that is neither marked as a reduced copy nor as a mask."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add
from typing import BinaryIO

from lookalike_core.images.tiff_tags import Tag
from lookalike_core.images.views import read_at, size_of, view_of

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MAX_PAGES = 256
"""The most pages that are examined; a file whose first pages are all reduced copies has a handful."""

_MAX_TAGS = 4_096
_MAX_VALUES = 65_536
_REDUCED, _OLD_REDUCED = 1, 2
_LEFT_OUT = _REDUCED | 4 | 8
"""Bits of NewSubfileType: a reduced copy, a mask (TIFF 6.0, section 8), a depth map (DNG)."""

_SENSOR = (32_803, 34_892)
"""Photometric interpretations of raw sensor data, for which the camera's preview is used (DNG)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as its directory describes it; `below` are the offsets of its SubIFDs' directories."""

    place: int
    pixels: int
    is_image: bool
    below: Sequence[int]


def page_view(stream: BinaryIO, head: bytes) -> BinaryIO | None:
    """Returns the file as if it began with the page that is its image, if that is not the first one.

    Only marks decide: a file without marked pages, or with nothing but marked copies, is returned unchanged.
    A page does not count as a thumbnail for being small.
    """
    layout = _Layout.of(head)
    first = layout.first(head)
    pages = _pages(stream, layout, first)
    opening = next(pages, None)
    if opening is None or opening.is_image:
        return None
    seen = [opening]
    for page in pages:
        if page.is_image:
            return _beginning_with(stream, head, layout, page)
        seen.append(page)
    best = max(seen, key=lambda page: page.pixels)
    return None if best.place == first else _beginning_with(stream, head, layout, best)


def is_cut_off(stream: BinaryIO) -> bool:
    """Returns whether the file ends before the first page's directory or pixels do."""
    head = read_at(stream, 0, 16)
    layout = _Layout.of(head)
    tags = _tags(stream, layout, layout.first(head))
    if tags is None:
        return True
    places = (*tags.get(Tag.STRIP_OFFSETS, ()), *tags.get(Tag.TILE_OFFSETS, ()))
    lengths = (*tags.get(Tag.STRIP_BYTE_COUNTS, ()), *tags.get(Tag.TILE_BYTE_COUNTS, ()))
    return any(map(size_of(stream).__lt__, map(add, places, lengths)))


def _beginning_with(stream: BinaryIO, head: bytes, layout: "_Layout", page: Page) -> BinaryIO:
    place = struct.pack(layout.order + layout.offset, page.place)
    start = layout.header - len(place)
    return view_of(stream, [head[:start] + place, range(layout.header, size_of(stream))])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How numbers are stored: `struct` letters of the byte order, of offsets and of tag counts."""

    order: str
    offset: str
    count: str
    header: int

    @classmethod
    def of(cls, head: bytes) -> "_Layout":
        order = "<" if head.startswith(b"II") else ">"
        if 43 in head[2:4]:  # noqa: PLR2004 - BigTIFF's version
            return cls(order=order, offset="Q", count="Q", header=16)
        return cls(order=order, offset="I", count="H", header=8)

    def first(self, head: bytes) -> int:
        """The offset of the first directory."""
        return self.number(self.offset, head[self.header - struct.calcsize(self.offset) : self.header])

    def number(self, letter: str, data: bytes) -> int:
        """Returns one number; 0 if there are too few bytes."""
        size = struct.calcsize("=" + letter)
        return int(struct.unpack(self.order + letter, data[:size])[0]) if len(data) >= size else 0


def _pages(stream: BinaryIO, layout: _Layout, first: int) -> Iterator[Page]:
    """Yields the pages in file order, then their SubIFDs; each once, even in a loop."""
    seen: set[int] = set()
    below: list[int] = []
    place = first
    while len(seen) < MAX_PAGES:
        if not place or place in seen:
            if not below:
                return
            place = below.pop(0)
            continue
        seen.add(place)
        read = _read_page(stream, layout, place)
        if read is None:
            place = 0
            continue
        page, place = read
        below += page.below
        yield page


def _read_page(stream: BinaryIO, layout: _Layout, place: int) -> tuple[Page, int] | None:
    """Returns a page and the offset of the next one; None if the file ends before it."""
    tags = _tags(stream, layout, place)
    return None if tags is None else (_page(place, tags), tags[_NEXT][0])


_NEXT = -1
"""The key, among a directory's tags, for the offset of the next directory."""


def _tags(stream: BinaryIO, layout: _Layout, place: int) -> dict[int, tuple[int, ...]] | None:
    """Returns the numbers of a directory's tags in `_READ`; None if the file ends before it does."""
    count_size, offset_size = struct.calcsize("=" + layout.count), struct.calcsize("=" + layout.offset)
    tag_size = 4 + 2 * offset_size
    count = layout.number(layout.count, read_at(stream, place, count_size))
    table = read_at(stream, place + count_size, min(count, _MAX_TAGS) * tag_size + offset_size)
    if not 0 < count <= _MAX_TAGS or len(table) < count * tag_size:
        return None
    tags: dict[int, tuple[int, ...]] = {_NEXT: (layout.number(layout.offset, table[count * tag_size :]),)}
    for start in range(0, count * tag_size, tag_size):
        tag = layout.number("H", table[start : start + 2])
        if tag in _READ:
            tags[tag] = _values(stream, layout, table[start : start + tag_size])
    return tags


_READ = frozenset(
    {
        *(Tag.WIDTH, Tag.HEIGHT, Tag.NEW_SUBFILE_TYPE, Tag.SUBFILE_TYPE, Tag.PHOTOMETRIC, Tag.SUB_IFDS),
        *(Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS, Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS),
    }
)


def _page(place: int, tags: dict[int, tuple[int, ...]]) -> Page:
    def one(tag: int) -> int:
        return (tags.get(tag) or (0,))[0]

    kind = (
        one(Tag.NEW_SUBFILE_TYPE)
        if Tag.NEW_SUBFILE_TYPE in tags
        else _REDUCED * (one(Tag.SUBFILE_TYPE) == _OLD_REDUCED)
    )
    is_sensor = one(Tag.PHOTOMETRIC) in _SENSOR
    return Page(
        place=place,
        pixels=0 if is_sensor else one(Tag.WIDTH) * one(Tag.HEIGHT),
        is_image=not (kind & _LEFT_OUT or is_sensor),
        below=tags.get(Tag.SUB_IFDS, ()),
    )


def _values(stream: BinaryIO, layout: _Layout, tag: bytes) -> tuple[int, ...]:
    """Returns the numbers of a tag, up to a limit; empty for any other type."""
    letter = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(layout.number("H", tag[2:4]))
    if letter is None:
        return ()
    field = tag[-struct.calcsize("=" + layout.offset) :]
    count = min(layout.number(layout.offset, tag[4:]), _MAX_VALUES)
    size = struct.calcsize("=" + letter)
    data = (
        field
        if count * size <= len(field)
        else read_at(stream, layout.number(layout.offset, field), count * size)
    )
    return tuple(layout.number(letter, data[at : at + size]) for at in range(0, count * size, size))
