"""What the embedding finds near is decoded and proven on the pixels: which image is a copy of which."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from lookalike_core.arrays import Pixels
from lookalike_core.cpu_count import cores
from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import decode_whole
from lookalike_core.images.open_image import opened
from lookalike_core.images.whole_image import WholeImage
from lookalike_core.neighbours.brute_force import IntVector
from lookalike_core.prefetch import map_ahead

from lookalike_search.analysis.copy_candidates import Candidates
from lookalike_search.analysis.file_state import FileState, ImageFile, looked_again
from lookalike_search.analysis.pixel_proof import (
    EDGE,
    coarse,
    has_same_proportions,
    is_copy,
    is_copy_in_detail,
    most_alike,
)

MOST_TRIES = 32
"""So many of an image's candidates are compared whole, those that look most like it when coarse."""

HELD_BYTES = 256 * 2**20
"""Decoded images that all threads together hold for further comparisons; more are decoded again."""

MOST_DETAILED_PIXELS = 120_000_000
"""Larger images are not proven: two of them are compared in full, which takes about ten bytes a pixel."""

_in_detail = threading.Lock()
"""One pair at a time is compared in full, for that is what takes memory."""


def prove_copies(
    files: Sequence[ImageFile],
    candidates: Candidates,
    clusters: Iterable[IntVector],
    *,
    on_done: Callable[[int], None] = lambda _: None,
    held_bytes: int = HELD_BYTES,
) -> IntVector:
    """Which row each row is proven to be a copy of, int64 `[N]`; of itself where of none.

    Rows are in the order in which they are to be kept, so that a copy is one of an earlier row, which is no
    copy itself. A file that cannot be decoded, or is not as it was ingested, proves nothing. The clusters of
    candidates are worked on in threads; each image of one is decoded once as a rule.
    """
    copy_of = np.arange(len(files), dtype=np.int64)
    threads = min(32, cores() + 1)
    prove = partial(_prove_cluster, files, candidates, held_bytes // threads)
    for rows, found in map_ahead(prove, iter(clusters), ahead=2 * threads, workers=threads):
        copy_of[rows] = found
        on_done(len(rows))
    return copy_of


def _prove_cluster(
    files: Sequence[ImageFile], candidates: Candidates, held_bytes: int, rows: IntVector
) -> tuple[IntVector, IntVector]:
    originals = _Originals(files, held_bytes)
    copy_of = rows.copy()
    for place, row in enumerate(rows.tolist()):
        image = read_whole(files[row])
        if image is None:
            continue
        seen = coarse(image)
        found = originals.original_of(row, image, seen, candidates.before(row))
        if found is None:
            originals.add(row, image, seen)
        else:
            copy_of[place] = found
    return rows, copy_of


def read_whole(image: ImageFile, *, edge: int = EDGE) -> WholeImage | None:
    """The image of a file that is as ingested and can be decoded, in that size at most; else None."""
    checked = looked_again(image)
    if checked.state is not FileState.PRESENT or checked.file is None:
        return None
    try:
        with opened(checked.file) as stream:
            return decode_whole(stream, str(checked.file), edge=edge)
    except ImageError:
        return None


@dataclass(frozen=True, slots=True)
class _Held:
    image: WholeImage
    size: int


class _Originals:
    """The images of a cluster that are no copies so far: coarse all of them, whole those used last."""

    def __init__(self, files: Sequence[ImageFile], held_bytes: int) -> None:
        self._files = files
        self._coarse: dict[int, Pixels] = {}
        self._whole: OrderedDict[int, _Held] = OrderedDict()
        self._room = held_bytes

    def add(self, row: int, image: WholeImage, seen: Pixels) -> None:
        """Has the image among those that others are compared with."""
        self._coarse[row] = seen
        self._hold(row, image)

    def original_of(self, row: int, image: WholeImage, seen: Pixels, rows: IntVector) -> int | None:
        """The first of the rows that an image is a copy of, those that look most like it first."""
        size = _shown(self._files[row])
        known: list[int] = [
            each
            for each in rows.tolist()
            if each in self._coarse and has_same_proportions(_shown(self._files[each]), size)
        ]
        if not known:
            return None
        likely = most_alike(image, seen, np.stack([self._coarse[each] for each in known]))
        for place in likely[:MOST_TRIES].tolist():
            earlier: int = known[place]
            original = self._get(earlier)
            if original is None or not is_copy(original, image):
                continue
            if max(image.pixels.shape) >= max(size) or self._is_copy_in_full(earlier, row):
                return earlier
        return None

    def _is_copy_in_full(self, earlier: int, row: int) -> bool:
        """Whether two agree in all their pixels, which are more than were compared so far."""
        kept, other = self._files[earlier], self._files[row]
        width, height = _shown(kept)
        if width * height > MOST_DETAILED_PIXELS:
            return False
        with _in_detail:
            images = [read_whole(each, edge=max(width, height)) for each in (kept, other)]
            return None not in images and is_copy_in_detail(*filter(None, images))

    def _get(self, row: int) -> WholeImage | None:
        if row in self._whole:
            self._whole.move_to_end(row)
            return self._whole[row].image
        image = read_whole(self._files[row])
        if image is not None:
            self._hold(row, image)
        return image

    def _hold(self, row: int, image: WholeImage) -> None:
        size = image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)
        self._whole[row] = _Held(image, size)
        self._room -= size
        while self._room < 0 and len(self._whole) > 1:
            _, oldest = self._whole.popitem(last=False)
            self._room += oldest.size


def _shown(image: ImageFile) -> tuple[int, int]:
    return image.payload.width, image.payload.height
