"""A reproducible sample of the images of a folder, independent of where the folder is."""

import hashlib
import heapq
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lookalike_core.arrays import Pixels
from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import decode
from lookalike_core.images.found_files import FoundFile, open_found
from lookalike_core.images.scan import scan


def draw_sample(folder: Path, *, count: int) -> Iterator[Pixels]:
    """Yields up to `count` images, uint8 `[224, 224, 3]` each, in the order of a hash of their paths.

    Unreadable images are skipped. As many again are held in reserve for that, so memory does not grow with
    the folder.
    """
    found = (entry for entry in scan(folder) if isinstance(entry, FoundFile))
    drawn = heapq.nsmallest(2 * count, found, key=lambda file: hashlib.sha256(file.path.encode()).digest())
    yield from islice(_decoded(drawn), count)


def _decoded(files: list[FoundFile]) -> Iterator[Pixels]:
    for found in files:
        try:
            with open_found(found) as stream:
                yield decode(stream, found.path).pixels
        except ImageError:
            continue
