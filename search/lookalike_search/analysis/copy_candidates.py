"""Candidates for near-duplicates: for each image the nearest of those before it."""

from collections.abc import Iterator

import numpy as np
from lookalike_core.neighbours.brute_force import IntVector, Nearest
from numpy.typing import NDArray

from lookalike_search.analysis.pixel_proof import have_same_proportions

MOST = 512
MOST_VALUES = 2**24
"""Candidates of one image, and of all together (128 MB), at most. Where there are more, since thousands of
images are alike, as pages of text are, the nearest are taken."""


def is_resized(row: int, others: IntVector, sizes: IntVector) -> NDArray[np.bool_]:
    """Returns which of `others` could be the image of `row` in another size, bool `[K]`; sizes are `[N, 2]`.

    Each side of a resized image is rounded to a pixel. After resizing lines are thicker, so that the
    embedding is less similar than those of other near-duplicates.
    """
    width, height = sizes[row].tolist()
    is_other_size = (sizes[others] != sizes[row]).any(axis=1)
    found: NDArray[np.bool_] = is_other_size & have_same_proportions((width, height), sizes[others])
    return found


class Candidates:
    """Collects for each of `count` rows the nearest of the rows before it, at most `most`."""

    def __init__(self, count: int, *, most: int = MOST) -> None:
        depth = max(1, min(most, count - 1, MOST_VALUES // max(1, count)))
        self._rows = np.full((count, depth), -1, dtype=np.int32)
        self._scores = np.full((count, depth), -np.inf, dtype=np.float32)

    def add(self, found: Nearest) -> None:
        """Adds a row to the candidates of the later rows near it; earlier rows are ignored."""
        behind = found.rows > found.row
        rows, scores = found.rows[behind], found.scores[behind]
        worst = self._scores[rows].argmin(axis=1)
        is_nearer = scores > self._scores[rows, worst]
        places = rows[is_nearer], worst[is_nearer]
        self._rows[places], self._scores[places] = found.row, scores[is_nearer]

    def before(self, row: int) -> IntVector:
        """Returns the candidates of a row, int64."""
        rows: IntVector = self._rows[row][self._rows[row] >= 0].astype(np.int64)
        return rows

    def similarity(self, row: int, earlier: int) -> float:
        """Returns the similarity of a row to one of its candidates."""
        return float(self._scores[row][self._rows[row] == earlier][0])

    def clusters(self) -> Iterator[IntVector]:
        """Yields the connected components of rows and their candidates, in order; no single rows."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        later, places = np.nonzero(self._rows >= 0)
        if not len(later):
            return
        count = len(self._rows)
        pairs = coo_array(
            (np.ones(len(later), dtype=np.int8), (later, self._rows[later, places])), (count, count)
        )
        _, labels = connected_components(pairs, directed=False)
        order = np.argsort(labels, kind="stable")
        ends = np.flatnonzero(np.diff(labels[order])) + 1
        yield from (rows for rows in np.split(order, ends) if len(rows) > 1)
