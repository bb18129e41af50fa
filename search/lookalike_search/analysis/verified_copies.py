"""Proves near-duplicates on the pixels: decodes images that are near by embedding, and compares them."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from lookalike_core.arrays import Pixels
from lookalike_core.cpu_count import count_cores
from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import decode_whole
from lookalike_core.images.open_image import open_file
from lookalike_core.images.whole_image import WholeImage
from lookalike_core.neighbours.brute_force import IntVector
from lookalike_core.prefetch import map_ahead

from lookalike_search.analysis.copy_candidates import Candidates
from lookalike_search.analysis.file_state import FileState, ImageFile, verify_file
from lookalike_search.analysis.pixel_proof import (
    EDGE,
    coarse,
    has_same_proportions,
    is_copy,
    is_copy_in_detail,
    most_alike,
)

MOST_TRIES = 32
"""Candidates of an image that are compared in full: those most alike when reduced to few pixels."""

CACHE_BYTES = 256 * 2**20
"""Decoded images that all threads together cache for further comparisons."""

MOST_DETAILED_PIXELS = 120_000_000
"""Larger images are not compared in full, which takes about ten bytes a pixel, and so are not proven."""

_in_detail = threading.Lock()
"""Lets one pair at a time be compared in full, to bound memory."""


def prove_copies(
    files: Sequence[ImageFile],
    candidates: Candidates,
    clusters: Iterable[IntVector],
    *,
    on_done: Callable[[int], None] = lambda _: None,
    cache_bytes: int = CACHE_BYTES,
) -> IntVector:
    """Returns the row that each row is a proven near-duplicate of, int64 `[N]`; itself for an original.

    Rows are in order of preference: the original of a near-duplicate is an earlier row and itself an
    original. Nothing is proven for a file that cannot be decoded or has changed since it was ingested.
    Clusters are compared in threads; each image of a cluster is decoded once, as a rule.
    """
    copy_of = np.arange(len(files), dtype=np.int64)
    threads = min(32, count_cores() + 1)
    prove = partial(_prove_cluster, files, candidates, cache_bytes // threads)
    for rows, found in map_ahead(prove, iter(clusters), ahead=2 * threads, workers=threads):
        copy_of[rows] = found
        on_done(len(rows))
    return copy_of


def _prove_cluster(
    files: Sequence[ImageFile], candidates: Candidates, cache_bytes: int, rows: IntVector
) -> tuple[IntVector, IntVector]:
    originals = _Originals(files, cache_bytes)
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
    """Returns the image of a file, at most `edge` large; None where it cannot be decoded or has changed."""
    checked = verify_file(image)
    if checked.state is not FileState.PRESENT or checked.file is None:
        return None
    try:
        with open_file(checked.file) as stream:
            return decode_whole(stream, str(checked.file), edge=edge)
    except ImageError:
        return None


@dataclass(frozen=True, slots=True)
class _Decoded:
    image: WholeImage
    size: int


class _Originals:
    """The originals found so far in a cluster: all of them reduced, the last used ones decoded."""

    def __init__(self, files: Sequence[ImageFile], cache_bytes: int) -> None:
        self._files = files
        self._coarse: dict[int, Pixels] = {}
        self._whole: OrderedDict[int, _Decoded] = OrderedDict()
        self._room = cache_bytes

    def add(self, row: int, image: WholeImage, seen: Pixels) -> None:
        """Adds an original, which later images are compared with."""
        self._coarse[row] = seen
        self._cache(row, image)

    def original_of(self, row: int, image: WholeImage, seen: Pixels, rows: IntVector) -> int | None:
        """Returns the first of the rows that an image is a near-duplicate of, trying the most alike first."""
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
        """Returns whether two images agree in full size, not only in the size compared so far."""
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
            self._cache(row, image)
        return image

    def _cache(self, row: int, image: WholeImage) -> None:
        size = image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)
        self._whole[row] = _Decoded(image, size)
        self._room -= size
        while self._room < 0 and len(self._whole) > 1:
            _, oldest = self._whole.popitem(last=False)
            self._room += oldest.size


def _shown(image: ImageFile) -> tuple[int, int]:
    return image.payload.width, image.payload.height
