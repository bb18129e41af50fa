"""Finds where in each neighbour of an answer its similarity to the query comes from, cell by cell.

The similarity of any vector to an average over cells is a sum over these cells (ADR 11), so that the shares
are exact, whatever the query is: an image, a part of one, or several examples.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import SkipReason, UsageError
from lookalike_core.hints import Argument
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.prefetch import map_ahead

from lookalike_search.analysis.attribution import (
    Features,
    FloatMatrix,
    agreement,
    find_focus,
    has_direction,
    share_among_cells,
)
from lookalike_search.analysis.explanation import require_agreement, require_average
from lookalike_search.asking.answers import Answer, Located, Neighbour
from lookalike_search.asking.scenes import read_rows
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.unchanged_files import read_unchanged


def require_locatable(networks: Sequence[SearchedCollection]) -> None:
    """Refuses collections in whose images a similarity has no place.

    Raises:
        UsageError: there are several, or the vectors of the only one are no averages over cells.
    """
    if len(networks) > 1:
        raise UsageError(
            "a fused score is no sum over cells; search one collection", argument=Argument.LOCATE
        )
    require_average(networks[0].name, networks[0].manifest)


def locate_neighbours(answer: Answer, network: SearchedCollection, *, max_pixels: int) -> Answer:
    """Returns the answer of a network with the place of the similarity in each neighbour.

    Each file is read and embedded again without pooling. Where it cannot be read, or has changed since it was
    ingested, the reason is in its place.

    Raises:
        ManifestError: a stored vector was not computed from its image by this model.
    """
    [vector] = answer.vectors
    stored = read_rows(network.collection, [hit.payload.id for hit in answer.hits])
    with closing(map_ahead(partial(_read, max_pixels=max_pixels), iter(answer.hits), ahead=_AHEAD)) as read:
        pending = zip(answer.hits, stored, read, strict=True)
        hits: list[Neighbour] = []
        while batch := list(islice(pending, BATCH_SIZE)):
            pixels = [seen for _, _, seen in batch if not isinstance(seen, SkipReason)]
            features = iter(network.features(pixels)) if pixels else iter(())
            for hit, own, seen in batch:
                found = (
                    seen
                    if isinstance(seen, SkipReason)
                    else _locate(vector, next(features), own, hit, network.name)
                )
                hits.append(replace(hit, located=found))
    return replace(answer, hits=hits)


_AHEAD = 2 * BATCH_SIZE


def _read(hit: Neighbour, *, max_pixels: int) -> Pixels | SkipReason:
    return read_unchanged(hit.file, hit.payload, max_pixels=max_pixels)


def _locate(
    vector: FloatVector, features: Features, stored: FloatVector, hit: Neighbour, name: str
) -> Located | SkipReason:
    if not has_direction(features):
        return SkipReason.NO_EMBEDDING
    require_agreement(name, hit.payload.path, agreement(features, stored))
    shares = share_among_cells(vector, features, stored)
    focus = find_focus(shares)
    row, column = (int(place) for place in np.unravel_index(shares.argmax(), shares.shape))
    return Located(
        place=focus.place,
        part=focus.share,
        box=find_cell_box(shares, row, column, (hit.payload.width, hit.payload.height)),
        box_part=float(shares[row, column] / (np.maximum(shares, 0).sum() or 1.0)),
        shares=shares,
    )


def find_cell_box(
    cells: FloatMatrix, row: int, column: int, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Returns where a cell is in an upright image of this width and height: a box in percent of its sides.

    Cells divide the centre square of an image, which is what a network sees of it.
    """
    width, height = size
    side = min(size)
    across, down = side / cells.shape[1], side / cells.shape[0]
    left, top = (width - side) / 2 + column * across, (height - side) / 2 + row * down
    return 100 * left / width, 100 * top / height, 100 * across / width, 100 * down / height
