"""Finds labels that are probably wrong, by the classes of each image's nearest neighbours. Pure.

The neighbours give each class of an image a chance, by a curve that the labels themselves decide: the shares
of the votes, weighted by nearness, plus a little for classes without any, to a power. A label is that class,
or with a chance that is the same for all images a random other one. What makes the given labels most likely
is taken (maximum likelihood): so images that are hard to tell apart cost chances their certainty, and labels
that no neighbour supports are wrong labels. No label votes on its own image, nor do those of its exact
duplicates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntVector = NDArray[np.int64]
BoolVector = NDArray[np.bool_]
FloatVector = NDArray[np.float64]
FloatMatrix = NDArray[np.floating]

VOTERS = 100
"""Neighbours that vote on an image."""

MIN_IMAGES = 20
MIN_CLASSES = 2

_SCALES = (0.5, 1.0, 2.0)
"""Widths of the weights, in mean differences between the first and the tenth neighbour's nearness."""

_TENTH = 9
_FITTED = 5_000
"""Images that the three numbers of a curve are fitted to, at most."""

_START = (0.0, -3.0, -3.0)
_BOUNDS = ((-4.0, 3.0), (-12.0, 1.0), (-9.0, -0.4))
"""Starts and bounds of the logarithms of the power and of what each class has, and of the odds of a wrong
label: between 0.01 and 40 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChances:
    """What the neighbours say of the labels of N images; NaN and -1 where they say nothing.

    `wrong` float64 `[N]` is the chance that the label is wrong, `suggested` int64 `[N]` the likeliest other
    class, `suggested_chance` float64 `[N]` the chance that it is the right one. `noise` is the estimated
    share of wrong labels among all.
    """

    wrong: FloatVector
    suggested: IntVector
    suggested_chance: FloatVector
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """The classes of each image's neighbours, each once, and their votes: int64 and float64 `[N, C]`.

    `classes` are -1 behind the last one; `shares`, the largest first, sum up to 1. `own` float64 `[N]` is the
    share of the image's own class.
    """

    classes: IntVector
    shares: FloatVector
    own: FloatVector


def count_votes(
    classes: IntVector, neighbours: IntVector, nearness: FloatMatrix, *, of: IntVector, width: float
) -> Votes:
    """Returns the votes of some images' neighbours, weighted by exp(nearness / width).

    `classes` int64 `[N]` are those of all images, `of` int64 `[M]` those of the images in question, -1 for
    none. `neighbours` int64 `[M, depth]` are rows that have a class, -1 for missing ones, whose `nearness`
    float `[M, depth]` is NaN.
    """
    there = neighbours >= 0
    best = nearness[:, :1]
    weights = np.where(there, np.exp((np.where(there, nearness, best) - best) / width), 0.0)
    weights = np.nan_to_num(weights.astype(np.float64))
    totals = weights.sum(axis=1, keepdims=True)
    weights /= np.where(totals > 0, totals, 1)
    of_neighbours = np.where(there, classes[neighbours], -1)
    order = np.argsort(of_neighbours, axis=1, kind="stable")
    ordered = np.take_along_axis(of_neighbours, order, axis=1)
    starts = np.ones(ordered.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    number = np.cumsum(starts.ravel()) - 1
    sums = np.bincount(number, weights=np.take_along_axis(weights, order, axis=1).ravel())
    shares = np.where(starts, sums[number].reshape(starts.shape), 0.0)
    found = np.where(starts, ordered, -1)
    shares[found < 0] = 0
    most = int((found >= 0).sum(axis=1).max(initial=1))
    first = np.argsort(-shares, axis=1, kind="stable")[:, :most]  # equal shares: in the order of classes
    found, shares = np.take_along_axis(found, first, axis=1), np.take_along_axis(shares, first, axis=1)
    own = np.where(found == of[:, np.newaxis], shares, 0.0).sum(axis=1)
    return Votes(classes=found, shares=shares, own=np.where(of >= 0, own, 0.0))


def find_width(nearness: FloatMatrix) -> float:
    """Returns the mean difference between the first and the tenth neighbour's nearness, 1 where it is 0."""
    tenth = min(_TENTH, nearness.shape[1] - 1)
    gaps = nearness[:, 0] - nearness[:, tenth]
    gaps = gaps[np.isfinite(gaps)]
    return float(gaps.mean()) if len(gaps) and gaps.mean() > 0 else 1.0


def find_judged(classes: IntVector, copies: IntVector) -> BoolVector:
    """Returns which images have a class that others with different bytes have as well, bool `[N]`."""
    _, pair, counts = np.unique(np.stack([classes, copies]), axis=1, return_inverse=True, return_counts=True)
    sizes = np.bincount(classes + 1)
    return np.asarray((classes >= 0) & (sizes[classes + 1] > counts[pair.ravel()]))


def describe_shortage(classes: IntVector, copies: IntVector) -> str | None:
    """Returns why labels cannot be judged; None if they can."""
    judged = find_judged(classes, copies)
    images, count = len(np.unique(copies[judged])), len(np.unique(classes[judged]))
    if images >= MIN_IMAGES and count >= MIN_CLASSES:
        return None
    return (
        f"labels are judged from {MIN_IMAGES} different images of {MIN_CLASSES} classes on, each class with "
        f"several, and there are {images} of {count}"
    )


def judge_labels(
    classes: IntVector, judged: BoolVector, neighbours: IntVector, nearness: FloatMatrix
) -> LabelChances:
    """Returns how likely each label is wrong, and the class that the image should have.

    `judged` bool `[N]` are the images of `find_judged`; arrays are as in `count_votes`, and the neighbours
    neither include the image nor its exact duplicates.
    """
    count = len(np.unique(classes[classes >= 0]))
    width, fits = find_width(nearness), []
    rows = np.flatnonzero(judged & (neighbours[:, 0] >= 0))
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), _FITTED)).astype(np.int64)]
    for scale in _SCALES:
        votes = count_votes(classes, neighbours[few], nearness[few], width=scale * width, of=classes[few])
        fits.append((*_fit(votes, count), scale))
    _, curve, scale = min(fits, key=lambda fit: fit[0])
    votes = count_votes(classes, neighbours[rows], nearness[rows], width=scale * width, of=classes[rows])
    return _judge(len(classes), rows, classes, votes, curve, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """The chance of a class from its share: (share + floor) ** power, divided by the sum over all classes."""

    power: float
    floor: float
    noise: float

    def weigh(self, shares: FloatVector) -> FloatVector:
        """Returns the weight of each share, relative to that of a class without any."""
        return np.asarray((1 + shares / self.floor) ** self.power)

    def chances(self, votes: Votes, count: int) -> tuple[FloatVector, FloatVector]:
        """Returns the chances of each image's own class `[N]` and of those of its neighbours `[N, C]`."""
        named = votes.classes >= 0
        weights = np.where(named, self.weigh(votes.shares), 0.0)
        totals = weights.sum(axis=1) + count - named.sum(axis=1)
        return self.weigh(votes.own) / totals, weights / totals[:, np.newaxis]


def _fit(votes: Votes, count: int) -> tuple[float, _Curve]:
    """Returns the mean negative logarithm of the labels' likelihood at its least, and the curve there."""
    from scipy.optimize import minimize

    def curve(at: FloatVector) -> _Curve:
        power, floor, odds = np.exp(at)
        return _Curve(power=float(power), floor=float(floor), noise=float(odds / (1 + odds)))

    def loss(at: FloatVector) -> float:
        one = curve(at)
        own, _ = one.chances(votes, count)
        return float(-np.log((1 - one.noise) * own + one.noise * (1 - own) / (count - 1)).mean())

    found = minimize(loss, np.array(_START), method="L-BFGS-B", bounds=_BOUNDS)
    return float(found.fun), curve(found.x)


def _judge(
    images: int, rows: IntVector, classes: IntVector, votes: Votes, curve: _Curve, count: int
) -> LabelChances:
    """Returns the chances of all `images`, of which `rows` are judged by their votes."""
    own, others = curve.chances(votes, count)
    stray = curve.noise * (1 - own) / (count - 1)
    wrong = stray / (stray + (1 - curve.noise) * own)
    is_other = (votes.classes >= 0) & (votes.classes != classes[rows, np.newaxis])
    others = np.where(is_other, others, -1.0)
    best = others.argmax(axis=1)[:, np.newaxis]
    chance = np.take_along_axis(others, best, axis=1)[:, 0]
    found = np.where(chance > 0, np.take_along_axis(votes.classes, best, axis=1)[:, 0], -1)
    chances = LabelChances(
        wrong=np.full(images, np.nan),
        suggested=np.full(images, -1, dtype=np.int64),
        suggested_chance=np.full(images, np.nan),
        noise=curve.noise,
    )
    chances.wrong[rows], chances.suggested[rows] = wrong, found
    chances.suggested_chance[rows] = np.where(found >= 0, wrong * chance / np.maximum(1 - own, 1e-12), np.nan)
    return chances
