"""Local Aggregation on frozen vectors: fits a layer without labels (Zhuang, Zhai, Yamins, ICCV 2019). Pure.

A memory bank holds a unit vector of every image. Of an image's background neighbours, the nearest ones in the
bank, its close neighbours are those that share a cluster with it in any of several clusterings of the bank.
A linear map is trained to raise the probability of the close neighbours among the background neighbours;
from time to time the bank is clustered again. As in `metric_learning`, the layer returns the whole vector as
well, so that images unlike all training images keep their neighbours.

It differs from the paper, since the network is frozen: the map starts as the main directions instead of after
epochs of instance recognition, it keeps more values, and an image is no neighbour of itself, which would have
nearly all of the probability from the start.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from numpy.typing import NDArray

from lookalike_exporter.heads.layers import (
    FloatArray,
    Layer,
    centre,
    check_dims,
    keep_main_directions,
    require_finite,
    root_of_metric,
)

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]

FEWEST_IMAGES = 20
"""Fewest images to fit to."""

MOST_IMAGES = 5_000
"""Most images to fit to, a random sample of them if there are more."""

IMAGES_IN_CLUSTER = 25
"""Images of a cluster, on average: this, and not a number of classes, sets the number of clusters."""

PULL = 1.0
"""Weight of the trained values; at 1, equal to that of the vector itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """The settings of a fit.

    `clusters` of each of `clusterings`; `neighbours` of the background, None for all images; `values` of the
    trained map. If `is_within_background` is False, close neighbours count outside of the background too.
    """

    clusters: int
    neighbours: int | None
    values: int
    clusterings: int = 10
    is_within_background: bool = True
    temperature: float = 0.07
    bank_momentum: float = 0.5
    epochs: int = 10
    epochs_of_clustering: int = 2
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatedLayer(Layer):
    """A fitted layer, its settings, the number of images, and the loss in the first and the last epoch."""

    aggregation: Aggregation
    images: int
    first_loss: float
    last_loss: float


def choose_aggregation(images: int, length: int) -> Aggregation:
    """Returns the settings for so many images with vectors of a length, by their numbers alone."""
    return Aggregation(
        clusters=max(2, round(images / IMAGES_IN_CLUSTER)),
        neighbours=min(256, images // 4),
        values=min(512, length, images - 1),
    )


def fit_local_aggregation(
    vectors: FloatArray,
    *,
    dims: int | None = None,
    seed: int = 0,
    pull: float = PULL,
    aggregation: Aggregation | None = None,
    most: int = MOST_IMAGES,
) -> AggregatedLayer:
    """Fits a layer to vectors of length 1, float64 `[N, D]`; the same vectors and seed give the same bytes.

    `dims` is the number of output values, by default that of the input. If there are more than `most` images,
    a random sample is used. BLAS and k-means run in one thread, so that the number of threads does not change
    the last bits.

    Raises:
        UsageError: there are too few images, or `dims` is larger than the number of input values.
        LookalikeError: a vector is not finite, or all are the same.
    """
    from threadpoolctl import threadpool_limits

    _check(vectors)
    check_dims(dims, vectors.shape[1])
    random = np.random.default_rng(seed)
    if len(vectors) > most:
        vectors = vectors[np.sort(random.permutation(len(vectors))[:most])]
    chosen = aggregation or choose_aggregation(*vectors.shape)
    mean, spread = centre(vectors)
    with threadpool_limits(1):
        learned, losses = _train((vectors - mean) / spread, chosen, random)
        weight = root_of_metric(_scale(learned, vectors - mean, pull), spread=spread)
        weight = keep_main_directions(weight, vectors - mean, dims or len(weight))
    return AggregatedLayer(
        weight=weight.astype(np.float32),
        bias=(-weight @ mean).astype(np.float32),
        aggregation=chosen,
        images=len(vectors),
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def _check(vectors: FloatArray) -> None:
    require_finite(vectors)
    if len(vectors) < FEWEST_IMAGES:
        raise UsageError(
            f"too few images to fit to: {len(vectors)}, beside the fifth that is held out; Local Aggregation "
            f"needs {FEWEST_IMAGES}, of a collection of {FEWEST_IMAGES * 5 // 4} different images",
            argument=Argument.UNLABELLED,
            hint=Hint(Action.FILL),
        )
    if np.ptp(vectors, axis=0).max() <= np.finfo(np.float32).eps:
        raise LookalikeError("all training images have the same vector; a head cannot be fitted to them")


def _scale(learned: FloatArray, centred: FloatArray, pull: float) -> FloatArray:
    """Returns the directions float64 `[D, K]` that weigh `pull` times as much as the whole vector."""
    along = np.square(centred @ learned.T).sum(axis=1).mean()
    return np.asarray(pull * learned.T / np.sqrt(along))


def _train(
    centred: FloatArray, chosen: Aggregation, random: np.random.Generator
) -> tuple[FloatArray, list[float]]:
    """Returns the trained map, float64 `[K, D]`, and the mean loss of every epoch."""
    inputs = centred.astype(np.float32)
    weight = np.linalg.svd(centred, full_matrices=False)[2][: chosen.values].astype(np.float32)
    bank, _ = _to_unit(inputs @ weight.T)
    velocity = np.zeros_like(weight)
    labels = np.zeros((0, len(inputs)), dtype=np.int32)
    losses = []
    for epoch in range(chosen.epochs):
        if epoch % chosen.epochs_of_clustering == 0:
            labels = _cluster(bank, chosen, random)
        total = 0.0
        for rows in np.array_split(random.permutation(len(inputs)), max(1, len(inputs) // chosen.batch)):
            units, lengths = _to_unit(inputs[rows] @ weight.T)
            similarity = units @ bank.T
            background, close = find_neighbours(similarity, rows, labels, chosen)
            loss, slope = measure_loss(similarity, background, close, temperature=chosen.temperature)
            velocity = chosen.momentum * velocity - chosen.rate * _backpropagate(
                slope @ bank, units, lengths, inputs[rows]
            )
            weight = weight + velocity
            bank[rows], _ = _to_unit(chosen.bank_momentum * bank[rows] + (1 - chosen.bank_momentum) * units)
            total += float(loss.sum())
        losses.append(total / len(inputs))
    return weight.astype(np.float64), losses


def find_neighbours(
    similarity: Floats, rows: NDArray[np.int64], labels: Numbers, chosen: Aggregation
) -> tuple[Mask, Mask]:
    """Returns the masks of background and close neighbours, `[B, N]`; `rows` are the places of the queries.

    `similarity` is float32 `[B, N]`, `labels` int32 `[H, N]`, the clusters in every clustering.
    """
    itself = (np.arange(len(rows)), rows)
    close = np.zeros(similarity.shape, dtype=np.bool_)
    for clustering in labels:
        close |= clustering[rows][:, np.newaxis] == clustering
    background = np.ones_like(close)
    others = similarity.copy()
    others[itself] = -np.inf
    if chosen.neighbours is not None and chosen.neighbours < similarity.shape[1]:
        place = similarity.shape[1] - chosen.neighbours
        background = others >= np.partition(others, place, axis=1)[:, place : place + 1]
    if chosen.is_within_background:
        close &= background
    else:
        background = background | close
    background[itself] = close[itself] = False
    return background, close


def measure_loss(
    similarity: Floats, background: Mask, close: Mask, *, temperature: float
) -> tuple[Floats, Floats]:
    """Returns the loss of each query, float32 `[B]`, and its derivative by the similarities, `[B, N]`.

    The loss is the negative logarithm of the close neighbours' share of the background's probability; it is
    zero without close neighbours, from which nothing can be learned.
    """
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    near, all_of_them = weights * close, weights * background
    share, whole = near.sum(axis=1, keepdims=True), all_of_them.sum(axis=1, keepdims=True)
    has_close = share > 0
    share, whole = np.where(has_close, share, 1), np.where(has_close, whole, 1)
    slope = np.where(has_close, (all_of_them / whole - near / share) / temperature, 0)
    loss = np.where(has_close, -np.log(share / whole), 0)[:, 0]
    return loss, slope


def _backpropagate(slope: Floats, units: Floats, lengths: Floats, inputs: Floats) -> Floats:
    """Returns the mean gradient of the map, `[K, D]`, through the scaling of its output to length 1."""
    along = np.einsum("bk,bk->b", slope, units)[:, np.newaxis]
    return np.asarray(((slope - along * units) / lengths).T @ inputs / len(inputs))


def _to_unit(vectors: Floats) -> tuple[Floats, Floats]:
    """Returns the vectors scaled to length 1, and their lengths `[N, 1]`; a vector of zeros stays."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return vectors / lengths, lengths


def _cluster(bank: Floats, chosen: Aggregation, random: np.random.Generator) -> Numbers:
    """Returns the clusters of every vector in several k-means clusterings, int32 `[H, N]`."""
    from sklearn.cluster import MiniBatchKMeans

    found = []
    for seed in random.integers(2**31, size=chosen.clusterings):
        with warnings.catch_warnings():  # noqa: TID251 - see docs/architecture.md
            warnings.simplefilter("ignore")  # noqa: TID251 - of clusters that stay empty, which do no harm
            model = MiniBatchKMeans(
                chosen.clusters, n_init=1, batch_size=1024, max_iter=10, random_state=int(seed)
            )
            found.append(model.fit(bank).labels_)
    return np.stack(found)
