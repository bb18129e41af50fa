"""The thumbnails of a page: each stands in it once, however often it is shown.

A thumbnail is the background of a CSS class, for that is what browsers show fastest: 1,000 queries with 10
neighbours each are there in half a second in Chromium, and after 2 to 4 as `<use>` or in one piece.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lookalike_core import progress
from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.thumbnails import Encoding, Thumbnail, thumbnails
from markupsafe import Markup

SIZES = {200: (288, Encoding.JPEG), 3_000: (144, Encoding.JPEG)}
"""Up to so many thumbnails, so many pixels each: few may be sharp on any screen."""

SMALLEST = (96, Encoding.WEBP)
"""Of any more, at about 1.5 KB each: 1,000 queries without a neighbour in common stay under 30 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands where an image is to be seen: its CSS class, or a note that says why there is none."""

    css: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The images of a page, by their files."""

    hung: Mapping[Path, Thumbnail | SkipReason]
    numbers: Mapping[Path, int]

    @classmethod
    def of(cls, files: Iterable[Path | None], *, max_pixels: int = MAX_PIXELS) -> Self:
        """Makes the thumbnails of all files; what cannot be shown gets a note instead."""
        wanted = list(dict.fromkeys(file for file in files if file is not None))
        edge, encoding = next((size for count, size in SIZES.items() if len(wanted) <= count), SMALLEST)
        hung = {}
        with progress.bar("thumbnails", unit="images", total=len(wanted)) as bar:
            making = thumbnails(wanted, edge, encoding=encoding, max_pixels=max_pixels)
            for file, made in zip(wanted, making, strict=True):
                hung[file] = made
                bar.advance(1)
        return cls(hung=hung, numbers={file: number for number, file in enumerate(wanted)})

    def frame(self, file: Path | None) -> Frame:
        """How a file is shown."""
        if file is None:
            return Frame(note="no file is known")
        made = self.hung[file]
        if isinstance(made, Thumbnail):
            return Frame(css=f"t{self.numbers[file]}")
        return Frame(note="file is gone" if made is SkipReason.VANISHED else f"not shown: {made}")

    def rules(self) -> Iterator[Markup]:
        """The style sheet's part: one rule a thumbnail."""
        for file, made in self.hung.items():
            if isinstance(made, Thumbnail):  # numbers and base64, in which there is nothing to escape
                yield Markup(f".t{self.numbers[file]}{{background-image:url({made.uri})}}\n")  # noqa: S704
