"""Linear metric learning: fits a new last layer for a frozen network to labelled vectors.

A layer maps vectors of length 1 to `weight @ vector + bias`, whose directions are compared. It gives more
weight to the directions that separate the classes and keeps the rest, so that images of unseen classes keep
their neighbours. Cross-validation on the training images alone chooses the classifier that finds the
directions, and their weight. No input or output here.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.brute_force import top_k
from lookalike_core.neighbours.precision import r_precision

from lookalike_exporter.heads.layers import (
    Candidate,
    FloatArray,
    IntArray,
    Layer,
    Method,
    centre,
    check_dims,
    keep_main_directions,
    require_finite,
    root_of_metric,
)
from lookalike_exporter.heads.neighbour_figures import CUTOFF, LabelledUnits

CHOSEN_FROM = 1_500
"""Most training images used to choose the candidate, balanced over classes; all are used to fit the layer."""

CHOSEN_FROM_CLASSES = CHOSEN_FROM // 4
"""Most classes used to choose the candidate, a random sample of them if there are more."""

LOGISTIC_AT_MOST = 10**10
"""Images times values times classes up to which logistic regression is tried; it then takes minutes."""

FOLDS = 2
UNSEEN_LOSS = 0.005
"""R-precision that a candidate may lose on held-out classes, compared with no layer."""

FEWEST_CLASSES = 2
FEWEST_IMAGES = 2
"""Fewest images of a class: a single one does not show what its class has in common."""

_FEWEST_TO_LEAVE_OUT = 2 * FEWEST_CLASSES
"""Fewest classes of which half can be held out: two remain to train on."""


PULLS = (0.5, 0.7, 1.0, 1.4, 2.0)
CANDIDATES = (
    Candidate(method=Method.NONE),
    Candidate(method=Method.CENTRED),
    *(Candidate(method=Method.LDA, pull=pull) for pull in PULLS),
    *(
        Candidate(method=Method.RIDGE, strength=strength, pull=pull)
        for strength in (0.3, 1.0)
        for pull in PULLS
    ),
    *(Candidate(method=Method.LOGISTIC, strength=100.0, pull=pull) for pull in PULLS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A candidate's R-precision in cross-validation, over at most the ten nearest training images.

    It equals precision@10 if ten or more images are of the query's class, and is fair to small classes too.
    `seen` is for held-out images of seen classes, `unseen` for held-out classes, None if these are too few.
    """

    candidate: Candidate
    seen: float
    unseen: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLayer(Layer):
    """A layer with the chosen candidate, and all candidates' scores."""

    candidate: Candidate
    scores: Sequence[Score]


def fit_layer(training: LabelledUnits, *, dims: int | None = None, seed: int = 0) -> FittedLayer:
    """Fits a layer to the training images; the same images and seed give the same bytes.

    `dims` is the number of output values, by default that of the input. BLAS runs in one thread: the number
    of threads would change the last bits, and synchronisation costs more than they gain.

    Raises:
        UsageError: too few classes or images, or `dims` is larger than the number of input values.
        LookalikeError: a vector is not finite, or is zero.
    """
    from threadpoolctl import threadpool_limits

    _check(training)
    length = training.vectors.shape[1]
    check_dims(dims, length)
    with threadpool_limits(1):
        return _choose_layer(training, dims or length, seed)


def _choose_layer(training: LabelledUnits, dims: int, seed: int) -> FittedLayer:
    sample = _sample(training, seed)
    scores = _score_candidates(sample, list(_split_folds(sample.classes, seed)), _list_candidates(training))
    best = _choose_best(scores)
    mean, weight = _fit(training, best.candidate, dims)
    return FittedLayer(
        weight=weight.astype(np.float32),
        bias=(-weight @ mean).astype(np.float32),
        candidate=best.candidate,
        scores=scores,
    )


def _list_candidates(
    training: LabelledUnits, *, logistic_at_most: int = LOGISTIC_AT_MOST
) -> Sequence[Candidate]:
    """Returns the candidates that can be fitted to this much data within minutes."""
    size = training.vectors.size * len(np.unique(training.classes))
    return [each for each in CANDIDATES if each.method is not Method.LOGISTIC or size <= logistic_at_most]


def _check(training: LabelledUnits) -> None:
    """Refuses training images that no layer can be fitted to.

    Raises:
        UsageError: there are too few classes, or a class has too few images.
        LookalikeError: a vector is not finite, or is zero.
    """
    require_finite(training.vectors)
    counts = np.unique_counts(training.classes).counts
    if len(counts) < FEWEST_CLASSES:
        raise UsageError(f"there is only one class in the training images; fitting needs {FEWEST_CLASSES}")
    if counts.min() < FEWEST_IMAGES:
        raise UsageError(f"a class has only one training image; fitting needs {FEWEST_IMAGES}")


def _sample(training: LabelledUnits, seed: int) -> LabelledUnits:
    """Draws at most `CHOSEN_FROM` images, at least two of each class, a smaller share of large classes.

    If there are more than `CHOSEN_FROM_CLASSES` classes, first draws that many of them.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(training.classes))
    names = np.unique(training.classes)
    if len(names) > CHOSEN_FROM_CLASSES:
        drawn = random.choice(names, CHOSEN_FROM_CLASSES, replace=False)
        order = order[np.isin(training.classes[order], drawn)]
    place = _place_in_class(training.classes[order])
    return training.of(np.sort(order[np.argsort(place, kind="stable")[:CHOSEN_FROM]]))


def _place_in_class(classes: IntArray) -> IntArray:
    """Returns for each image how many images of its class come before it."""
    order = np.argsort(classes, kind="stable")
    _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    places = np.empty_like(classes)
    places[order] = np.arange(len(classes)) - np.repeat(starts, counts)
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fold:
    """Rows of the sample to fit to, and rows used as queries; `unseen` if whole classes are held out."""

    fitted: IntArray
    asking: IntArray
    unseen: bool


def _split_folds(classes: IntArray, seed: int) -> Iterator[_Fold]:
    """Yields folds that hold out half of each class's images, and folds that hold out half of the classes."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(classes))
    side = np.empty_like(classes)
    side[order] = _place_in_class(classes[order]) % FOLDS
    names = random.permutation(np.unique(classes))
    class_side = np.isin(classes, names[: len(names) // 2]).astype(np.int64)
    for number in range(FOLDS):
        yield _Fold(
            fitted=np.flatnonzero(side != number), asking=np.flatnonzero(side == number), unseen=False
        )
    if len(names) >= _FEWEST_TO_LEAVE_OUT:
        for number in range(FOLDS):
            out = class_side == number
            yield _Fold(fitted=np.flatnonzero(~out), asking=np.flatnonzero(out), unseen=True)


def _score_candidates(
    sample: LabelledUnits, folds: Sequence[_Fold], candidates: Sequence[Candidate]
) -> list[Score]:
    """Returns the score of every candidate, in their order."""
    found: dict[Candidate, dict[bool, list[FloatArray]]] = {
        candidate: {False: [], True: []} for candidate in candidates
    }
    for fold in folds:
        for candidate, precision in _measure_folds(sample, fold, candidates):
            found[candidate][fold.unseen].append(precision)
    return [
        Score(
            candidate=candidate,
            seen=float(np.concatenate(parts[False]).mean()),
            unseen=float(np.concatenate(parts[True]).mean()) if parts[True] else None,
        )
        for candidate, parts in found.items()
    ]


def _measure_folds(
    sample: LabelledUnits, fold: _Fold, candidates: Sequence[Candidate]
) -> Iterator[tuple[Candidate, FloatArray]]:
    """Yields each candidate's R-precisions, without fitting a layer.

    A layer's dot products are those of the centred vectors plus those along the directions.
    """
    fitted = sample.of(fold.fitted)
    mean, spread = centre(fitted.vectors)
    centred = (sample.vectors - mean) / spread
    rest = centred[fold.asking] @ centred.T
    squares = np.einsum("nd,nd->n", centred, centred)
    along: dict[tuple[Method, float | None], FloatArray] = {}
    for candidate in candidates:
        if candidate.method is Method.NONE:
            similarity = sample.vectors[fold.asking] @ sample.vectors.T
        else:
            key = (candidate.method, candidate.strength)
            if key not in along:
                along[key] = (
                    centred @ _fit_directions(fitted, candidate) if candidate.pull else centred[:, :0]
                )
            places = candidate.pull * along[key]
            lengths = np.sqrt(squares + np.einsum("nd,nd->n", places, places))
            similarity = (rest + places[fold.asking] @ places.T) / lengths
        yield candidate, _r_precisions(similarity, fold.asking, sample.classes)


def _r_precisions(similarity: FloatArray, asking: IntArray, classes: IntArray) -> FloatArray:
    """Returns each query's R-precision among all other images; skips the only image of a class."""
    similarity[np.arange(len(asking)), asking] = -np.inf
    nearest, _ = top_k(similarity, CUTOFF)
    own = classes[asking][:, np.newaxis]
    relevant = (own == classes).sum(axis=1) - 1
    precision = r_precision(classes[nearest] == own, relevant, at_most=CUTOFF)
    return np.asarray(precision[relevant > 0])


def _choose_best(scores: Sequence[Score]) -> Score:
    """Returns the first best score on seen classes, among candidates that do not harm unseen classes."""
    [as_it_is] = [score for score in scores if score.candidate.method is Method.NONE]
    sparing = [
        score
        for score in scores
        if score.unseen is None or as_it_is.unseen is None or score.unseen >= as_it_is.unseen - UNSEEN_LOSS
    ]
    return max(sparing, key=lambda score: score.seen)


def _fit(training: LabelledUnits, candidate: Candidate, dims: int) -> tuple[FloatArray, FloatArray]:
    """Returns the mean to subtract, float64 `[D]`, and the weight, float64 `[dims, D]`.

    The weight is the square root of the metric formed by the directions and the whole vector. If `dims` is
    smaller, the principal components of its output are kept.
    """
    length = training.vectors.shape[1]
    if candidate.method is Method.NONE:
        mean, spread = np.zeros(length), 1.0
    else:
        mean, spread = centre(training.vectors)
    directions = np.zeros((length, 0))
    if candidate.pull:
        directions = candidate.pull * _fit_directions(training, candidate) / spread
    weight = root_of_metric(directions, spread=spread)
    return mean, keep_main_directions(weight, training.vectors - mean, dims)


def _fit_directions(training: LabelledUnits, candidate: Candidate) -> FloatArray:
    """Returns directions float64 `[D, K]`, scaled so that centred vectors have spread 1 along them too."""
    mean, spread = centre(training.vectors)
    centred = (training.vectors - mean) / spread
    with warnings.catch_warnings():  # noqa: TID251 - see docs/architecture.md
        warnings.simplefilter("ignore")  # noqa: TID251 - a fit that stops early is one more candidate
        found = _find_directions(centred, training.classes, candidate)
    along = centred @ found
    size = float(np.sqrt((along**2).sum() / len(along)))
    return found / size if size > 0 else np.zeros_like(found)


def _find_directions(centred: FloatArray, classes: IntArray, candidate: Candidate) -> FloatArray:
    from sklearn.linear_model import LogisticRegression

    if candidate.method is Method.LDA:
        return _solve_discriminants(centred, classes)
    if candidate.method is Method.RIDGE:
        return _solve_ridge(centred, classes, (candidate.strength or 0.0) * len(centred) / centred.shape[1])
    model = LogisticRegression(C=candidate.strength, max_iter=100)
    weights = np.atleast_2d(np.asarray(model.fit(centred, classes).coef_, dtype=np.float64)).T
    return weights - weights.mean(axis=1, keepdims=True) if weights.shape[1] > 1 else weights


def _solve_ridge(centred: FloatArray, classes: IntArray, penalty: float) -> FloatArray:
    """Solves the same as scikit-learn's RidgeClassifier, without its column of N targets for each class.

    With centred vectors the sum of each class is enough; with fewer images than values, the dual problem on
    their dot products is solved.
    """
    names, numbers = np.unique(classes, return_inverse=True)
    count, length = centred.shape
    if count < length:
        targets = (numbers[:, np.newaxis] == np.arange(len(names))).astype(np.float64)
        return np.asarray(centred.T @ _solve_penalised(centred @ centred.T, penalty, targets))
    return _solve_penalised(centred.T @ centred, penalty, _sum_classes(centred, numbers).T)


def _solve_penalised(matrix: FloatArray, penalty: float, targets: FloatArray) -> FloatArray:
    matrix[np.diag_indices_from(matrix)] += penalty
    return np.asarray(np.linalg.solve(matrix, targets))


def _sum_classes(vectors: FloatArray, numbers: IntArray) -> FloatArray:
    """Sums the vectors of each class, float64 `[C, D]`; classes are numbered from 0, and none is empty."""
    order = np.argsort(numbers, kind="stable")
    _, starts = np.unique(numbers[order], return_index=True)
    return np.asarray(np.add.reduceat(vectors[order], starts, axis=0))


def _solve_discriminants(centred: FloatArray, classes: IntArray) -> FloatArray:
    """Solves the same as scikit-learn's LinearDiscriminantAnalysis, whose least squares take minutes."""
    from sklearn.covariance import ledoit_wolf

    _, numbers = np.unique(classes, return_inverse=True)
    means = _sum_classes(centred, numbers) / np.bincount(numbers)[:, np.newaxis]
    within, _ = ledoit_wolf(centred - means[numbers], assume_centered=True)
    if not within.any():  # one image of each class
        return np.asarray(means.T)
    return np.asarray(np.linalg.solve(within, means.T))
