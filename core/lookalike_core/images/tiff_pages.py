"""Which page of a TIFF is its image: the first that is neither a reduced copy of another nor a mask."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add
from typing import BinaryIO

from lookalike_core.images.tiff_tags import Tag
from lookalike_core.images.views import read_at, size_of, view_of

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MAX_PAGES = 256
"""Pages that are looked at; a file whose first ones are all reduced copies has a handful."""

_MAX_TAGS = 4_096
_MAX_VALUES = 65_536
_REDUCED, _OLD_REDUCED = 1, 2
_LEFT_OUT = _REDUCED | 4 | 8
"""Bits of NewSubfileType: a reduced copy, a mask (TIFF 6.0, section 8), a map of depths (DNG)."""

_SENSOR = (32_803, 34_892)
"""Photometric interpretations of raw data, of which a camera's preview is the image (DNG)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page by what its directory says; `below` are the directories of pages that belong to it."""

    place: int
    pixels: int
    is_image: bool
    below: Sequence[int]


def page_view(stream: BinaryIO, head: bytes) -> BinaryIO | None:
    """Returns the file beginning with the page that is its image, where that is not the first one.

    What is marked decides; pages that are not, and files whose pages are all marked as copies of what is not
    there, begin as they are: a page is not taken for a thumbnail because it is small.
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
    """Whether the file ends before the first page's directory does, or before its pixels do."""
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
    """How numbers are written: `struct` letters of the byte order, of offsets and of counts of tags."""

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
        """Returns where the first directory is."""
        return self.number(self.offset, head[self.header - struct.calcsize(self.offset) : self.header])

    def number(self, letter: str, data: bytes) -> int:
        """Returns one number; 0 where there are too few bytes."""
        size = struct.calcsize("=" + letter)
        return int(struct.unpack(self.order + letter, data[:size])[0]) if len(data) >= size else 0


def _pages(stream: BinaryIO, layout: _Layout, first: int) -> Iterator[Page]:
    """Yields the pages in their order, then those that lie below them; each once, even in a loop."""
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
    """Returns a page and where the next one is; None where the file does not have it."""
    tags = _tags(stream, layout, place)
    return None if tags is None else (_page(place, tags), tags[_NEXT][0])


_NEXT = -1
"""The key of the place of the following directory beside a directory's tags."""


def _tags(stream: BinaryIO, layout: _Layout, place: int) -> dict[int, tuple[int, ...]] | None:
    """Reads the numbers of a directory in `_READ`; None where the file does not have all of it."""
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
    """Reads the numbers of a tag, up to a limit; none where it holds something else."""
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
