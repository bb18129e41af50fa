"""Makes the thumbnails of a page, each of which is in the page once.

A thumbnail is the background of a CSS class, which is what browsers show fastest: 1,000 queries with 10
neighbours each are shown in half a second in Chromium, and after 2 to 4 as `<use>` or in one piece.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lookalike_core import progress
from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.thumbnails import Encoding, Thumbnail, make_thumbnails
from markupsafe import Markup

SIZES = {200: (288, Encoding.JPEG), 3_000: (144, Encoding.JPEG)}
"""Largest number of thumbnails -> pixels of their longer side, and encoding."""

SMALLEST = (96, Encoding.WEBP)
"""The same for more thumbnails, at about 1.5 KB each: 1,000 queries of different neighbours take 30 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The place of an image on a page: its CSS class or its address, or a note why there is no thumbnail."""

    css: str = ""
    note: str = ""
    src: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The thumbnails of a page, or why there is none, by file."""

    thumbnails: Mapping[Path, Thumbnail | SkipReason]
    numbers: Mapping[Path, int]

    @classmethod
    def of(cls, files: Iterable[Path | None], *, max_pixels: int = MAX_PIXELS) -> Self:
        """Returns the gallery of all files."""
        wanted = list(dict.fromkeys(file for file in files if file is not None))
        edge, encoding = next((size for count, size in SIZES.items() if len(wanted) <= count), SMALLEST)
        made = {}
        with progress.bar("thumbnails", unit="images", total=len(wanted)) as bar:
            making = make_thumbnails(wanted, edge, encoding=encoding, max_pixels=max_pixels)
            for file, thumbnail in zip(wanted, making, strict=True):
                made[file] = thumbnail
                bar.advance(1)
        return cls(thumbnails=made, numbers={file: number for number, file in enumerate(wanted)})

    def frame(self, file: Path | None) -> Frame:
        """Returns the frame of a file: its thumbnail, or a note."""
        if file is None:
            return Frame(note="no file is known")
        made = self.thumbnails[file]
        if isinstance(made, Thumbnail):
            return Frame(css=f"t{self.numbers[file]}")
        return Frame(note="file is gone" if made is SkipReason.VANISHED else f"not shown: {made}")

    def rules(self) -> Iterator[Markup]:
        """Yields the style sheet's rules, one for each thumbnail."""
        for file, made in self.thumbnails.items():
            if isinstance(made, Thumbnail):  # numbers and base64, in which there is nothing to escape
                yield Markup(f".t{self.numbers[file]}{{background-image:url({made.uri})}}\n")  # noqa: S704
