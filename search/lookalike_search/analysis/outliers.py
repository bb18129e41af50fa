"""Measures how unlike every class an image is. Pure.

Images are compared in a space in which those of a class vary alike in all directions (the within-class
covariance, shrunk halfway to a multiple of the identity), by cosines from the mean of all classes. Three
things make an image like its nearest class: how near it is to the mean of the class, less what images of the
class reach themselves; a quarter of how much nearer that is than the second class; and the mean nearness of
the three nearest images of the class. Classes are learned from four fifths of the images for the fifth, so
that no image is compared with itself. Without two classes of two images it is the mean nearness of the five
nearest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from lookalike_core.neighbours.brute_force import row_blocks
from lookalike_core.neighbours.cosine import normalise_rows
from numpy.typing import NDArray

IntVector = NDArray[np.int64]
BoolVector = NDArray[np.bool_]
FloatVector = NDArray[np.float64]
FloatMatrix = NDArray[np.floating]

FOLDS = 5
NEAREST = 5
_OF_CLASS = 3
"""Nearest images of the nearest class."""
_MOST_MEMBERS = 10_000
"""Images of a class that others are compared with; of a larger class as many, evenly spaced in their order.
Without a limit two classes would be compared in a time that grows with the square of their images."""
_LEAD = 0.25
"""The weight of how much nearer the nearest class is than the second."""
_MOST_VALUES = 2_048
"""Values of a vector whose covariance is computed; longer vectors are projected at random to as many."""


class Measure(StrEnum):
    """How images are compared."""

    CLASS_MEANS = "class-means"
    """With the mean of each class."""
    NEIGHBOURS = "neighbours"
    """With their nearest neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlyingness:
    """How unlike the known images each of N images is, float64 `[N]`; NaN where nothing is comparable.

    `scores` rise with it, `p_values` are the share of known images that are at least as unlike the others:
    below x for a share of x of images of the same kind (conformal p-value).
    """

    scores: FloatVector
    p_values: FloatVector
    measure: Measure


def measure_outlyingness(
    vectors: FloatMatrix,
    classes: IntVector,
    copies: IntVector,
    nearness: FloatMatrix,
    *,
    known: BoolVector,
    seed: int = 0,
) -> Outlyingness:
    """Returns how unlike the `known` images, bool `[N]`, each image is.

    `vectors` are float `[N, D]`, `classes` and `copies` int64 `[N]`, -1 for no class; `nearness` float
    `[N, depth]` is that of the nearest known images without exact duplicates, NaN for missing ones.
    """
    sizes = np.bincount(classes[known & (classes >= 0)])
    if (sizes >= 2).sum() >= 2 and known[classes >= 0].all() and (classes[known] >= 0).all():  # noqa: PLR2004
        measure, scores = Measure.CLASS_MEANS, _compare_with_classes(vectors, classes, copies, seed)
    else:
        measure = Measure.NEIGHBOURS
        near = nearness[:, :NEAREST]
        there = np.isfinite(near).sum(axis=1)
        total = np.where(np.isfinite(near), near, 0).sum(axis=1, dtype=np.float64)
        scores = np.where(there > 0, -total / np.maximum(there, 1), np.nan)
    return Outlyingness(scores=scores, p_values=_rank(scores, known), measure=measure)


def _rank(scores: FloatVector, known: BoolVector) -> FloatVector:
    """Returns the p-value of each score among the known ones; a known one is not compared with itself."""
    usable = np.sort(scores[known & np.isfinite(scores)])
    as_far = len(usable) - np.searchsorted(usable, scores, side="left")
    p_values = np.where(known, as_far / max(1, len(usable)), (as_far + 1) / (len(usable) + 1))
    return np.where(np.isfinite(scores), p_values, np.nan)


def _compare_with_classes(
    vectors: FloatMatrix, classes: IntVector, copies: IntVector, seed: int
) -> FloatVector:
    """Returns the mean score of each image by the folds that it is not learned from."""
    made = _project(vectors, seed)
    groups, group_of = np.unique(copies, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(groups))[group_of] % FOLDS
    taught = np.isin(group_of, group_of[classes >= 0])
    sums, counts = np.zeros(len(vectors)), np.zeros(len(vectors))
    for number in range(FOLDS):
        learn = np.flatnonzero((classes >= 0) & (fold != number))
        rest = np.flatnonzero(~taught | (fold == number))
        if len(np.unique(classes[learn])) < 2:  # noqa: PLR2004
            continue
        for rows, scores in _score(made, classes, learn, rest):
            sums[rows] += scores
            counts[rows] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _project(vectors: FloatMatrix, seed: int) -> FloatMatrix:
    if vectors.shape[1] <= _MOST_VALUES:
        return vectors
    random = np.random.default_rng(seed).standard_normal((vectors.shape[1], _MOST_VALUES), dtype=np.float32)
    return vectors @ random


def _score(
    vectors: FloatMatrix, classes: IntVector, learn: IntVector, rest: IntVector
) -> Iterator[tuple[IntVector, FloatVector]]:
    """Yields the scores of some images by the classes of others."""
    learn = learn[np.argsort(classes[learn], kind="stable")]
    known = _learn(vectors[learn].astype(np.float32, copy=False), classes[learn])
    for places in row_blocks(len(rest)):
        rows = rest[places]
        units = normalise_rows((vectors[rows] - known.centre).astype(np.float32) @ known.whitening)
        to_means = units @ known.directions.T
        nearest = to_means.argmax(axis=1)
        best = -np.partition(-to_means, 1, axis=1)[:, :2].astype(np.float64)
        likeness = best[:, 0] - known.reach[nearest] + _LEAD * (best[:, 0] - best[:, 1])
        yield rows, -(likeness + _nearness_of_members(units, nearest, known))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Classes:
    """C classes, learned from M images, of which those of class c are `starts[c]` up to `starts[c + 1]`.

    `whitening` is float32 `[D, D]`, applied to vectors less the `centre` `[D]`. In that space are the
    `directions` of the means, float32 `[C, D]`, and the images as `members`, float32 `[M, D]`, all of length
    1; `reach` is the mean cosine of the images of a class and its mean without the image, float64 `[C]`.
    """

    centre: FloatVector
    whitening: FloatMatrix
    directions: FloatMatrix
    reach: FloatVector
    members: FloatMatrix
    starts: IntVector


def _learn(vectors: FloatMatrix, classes: IntVector) -> _Classes:
    """Returns the classes of images, float32 `[M, D]`, sorted by class, int64 `[M]`.

    The vectors become the members in place: of many images there is room for one copy.
    """
    _, starts, own, sizes = np.unique(classes, return_index=True, return_inverse=True, return_counts=True)
    means = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64) / sizes[:, np.newaxis]
    centre, whitening = means.mean(axis=0), _whiten(vectors, means, own)
    middles = ((means - centre) @ whitening).astype(np.float32)
    reached = np.empty(len(vectors))
    for rows in row_blocks(len(vectors)):
        made = (vectors[rows] - centre).astype(np.float32) @ whitening
        size = sizes[own[rows], np.newaxis]
        others = normalise_rows((size * middles[own[rows]] - made).astype(np.float32))  # of the class
        vectors[rows] = normalise_rows(made)
        reached[rows] = np.einsum("nd,nd->n", vectors[rows], others)
    reach = np.add.reduceat(reached, starts) / sizes
    is_known = sizes > 1
    reach[~is_known] = reach[is_known].mean() if is_known.any() else 0.0
    return _Classes(
        centre=centre,
        whitening=whitening,
        directions=normalise_rows(middles),
        reach=reach,
        members=vectors,
        starts=np.append(starts, len(vectors)),
    )


def _whiten(vectors: FloatMatrix, means: FloatMatrix, own: IntVector) -> FloatMatrix:
    """Returns the matrix, float32 `[D, D]`, after which images vary alike about their class' mean."""
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for rows in row_blocks(len(vectors)):
        differences = (vectors[rows] - means[own[rows]]).astype(np.float32)
        scatter += differences.T @ differences
    values, axes = np.linalg.eigh(scatter / len(vectors))
    values = np.maximum(values, 0)
    if not values.any():
        values = np.ones_like(values)
    return np.asarray((axes / np.sqrt(values + values.mean())).astype(np.float32))


def _nearness_of_members(units: FloatMatrix, nearest: IntVector, known: _Classes) -> FloatVector:
    """Returns the mean cosine of images, float32 `[N, D]`, and the nearest images of their nearest class."""
    found = np.empty(len(units))
    for number in np.unique(nearest):
        rows = np.flatnonzero(nearest == number)
        members = _thin(known.members[known.starts[number] : known.starts[number + 1]])
        count = min(_OF_CLASS, len(members))
        cosines = units[rows] @ members.T
        found[rows] = -np.partition(-cosines, count - 1, axis=1)[:, :count].mean(axis=1, dtype=np.float64)
    return found


def _thin(members: FloatMatrix) -> FloatMatrix:
    """Returns at most `_MOST_MEMBERS` of the rows, evenly spaced."""
    return members[:: max(1, -(-len(members) // _MOST_MEMBERS))]
