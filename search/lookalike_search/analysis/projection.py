"""Projects vectors into two dimensions, and measures how faithful that is.

Pure. t-SNE (van der Maaten and Hinton, 2008; scikit-learn) keeps neighbours together;
distances between clusters, and their sizes, mean nothing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating]
IntVector = NDArray[np.int64]

COMPONENTS = 50
"""Principal components that t-SNE starts from, as its authors do; more cost time and add noise."""

PERPLEXITY = 30.0
"""About how many neighbours t-SNE keeps together; a third of the others where there are few."""

FEWEST = 5
"""Different vectors that t-SNE needs; fewer are placed by their principal components."""

NEIGHBOURS = 10
MOST_PLACED = 10_000
"""Images that t-SNE places: minutes of two cores, and the time grows faster than their number."""

MOST_MEASURED = 5_000
"""Images that trustworthiness is measured on: brute force, which takes 600 MB for so many."""


class Method(StrEnum):
    """The method by which images were placed."""

    TSNE = "t-SNE"
    PCA = "PCA"
    NONE = "none"
    """All vectors are the same; the places say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Places, float64 `[N, 2]`, finite; `kl_divergence` is the loss of t-SNE at its end.

    `landmarks` is the number of images that were placed by the method, where the others stand around them.
    """

    places: NDArray[np.float64]
    method: Method
    landmarks: int | None = None
    perplexity: float | None = None
    kl_divergence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How faithful a map is, by `measured` images and their `NEIGHBOURS` nearest on it and in space.

    `trustworthiness` is 1 where all neighbours on the map are neighbours in space (Venna and Kaski, 2001;
    scikit-learn's), about 0.5 where places are random. `on_map` and `in_space` are the shares of
    neighbours that have the same class; None where there are no classes.
    """

    measured: int
    trustworthiness: float
    on_map: float | None
    in_space: float | None


def project(vectors: FloatMatrix, *, seed: int, most: int = MOST_PLACED) -> Projection:
    """Returns places of vectors float `[N, D]`, at least one, by Euclidean distances; reproducible by `seed`.

    For cosine similarity the vectors must have length 1: then both order neighbours alike. Of more than
    `most` a random sample of landmarks is placed, and each other stands around the landmark nearest to it.
    """
    if len(vectors) > most:
        return _project_around_landmarks(vectors, seed, most)
    different = len(np.unique(vectors, axis=0))
    if different == 1:
        return Projection(places=_sunflower(len(vectors)), method=Method.NONE)
    if different < FEWEST:
        return Projection(places=_principal(vectors, 2, seed), method=Method.PCA)
    return _tsne(vectors, seed)


def measure_trust(
    vectors: FloatMatrix,
    places: NDArray[np.float64],
    classes: IntVector,
    *,
    seed: int,
    most: int = MOST_MEASURED,
) -> Trust | None:
    """Returns how faithful a map is; None for at most twice `NEIGHBOURS` images.

    `classes` int64 `[N]` are class numbers; -1 is none, and such images are no queries. Of more than `most`
    images a random sample is measured.
    """
    if len(vectors) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(vectors), most, replace=False))
        vectors, places, classes = vectors[rows], places[rows], classes[rows]
    if len(vectors) <= 2 * NEIGHBOURS:
        return None
    from sklearn.manifold import trustworthiness

    return Trust(
        measured=len(vectors),
        trustworthiness=float(trustworthiness(vectors, places, n_neighbors=NEIGHBOURS)),
        on_map=_same_class(places, classes),
        in_space=_same_class(vectors, classes),
    )


def draw_sample(classes: Sequence[Hashable], limit: int, *, seed: int) -> IntVector:
    """Returns a random sample of at most `limit` rows, stratified by class, ascending.

    Each class keeps its proportion, with at least one row where there are no more classes than `limit`.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    counts: dict[Hashable, int] = {}
    position = np.empty(len(classes))
    for row in order.tolist():
        position[row] = counts.get(classes[row], 0)
        counts[classes[row]] = counts.get(classes[row], 0) + 1
    part = position / np.array([counts[name] for name in classes])
    drawn = order[np.argsort(part[order], kind="stable")[:limit]]
    return np.sort(drawn)


def _project_around_landmarks(vectors: FloatMatrix, seed: int, most: int) -> Projection:
    drawn = np.random.default_rng(seed).choice(len(vectors), most, replace=False)
    landmarks = np.sort(drawn)
    placed = project(vectors[landmarks], seed=seed, most=most)
    others = np.setdiff1d(np.arange(len(vectors)), landmarks)
    nearest, distance = _find_nearest(vectors[others], vectors[landmarks])
    places = np.empty((len(vectors), 2))
    places[landmarks] = placed.places
    places[others] = placed.places[nearest] + _spread(nearest, distance, _room_around(placed.places))
    return replace(placed, places=places, landmarks=most)


def _find_nearest(vectors: FloatMatrix, landmarks: FloatMatrix) -> tuple[IntVector, NDArray[np.float64]]:
    """Returns the row of the landmark nearest to each vector, int64 `[N]`, and the squared distance."""
    lengths = (landmarks.astype(np.float64) ** 2).sum(axis=1)
    rows, distances = [], []
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        squared = lengths - 2 * (part @ landmarks.T) + (part.astype(np.float64) ** 2).sum(axis=1)[:, None]
        row = squared.argmin(axis=1)
        rows.append(row)
        distances.append(squared[np.arange(len(part)), row])
    return np.concatenate(rows), np.concatenate(distances)


def _room_around(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns half of the distance from each place to the next one, `[N]`."""
    from sklearn.neighbors import NearestNeighbors

    found, _ = NearestNeighbors(n_neighbors=1).fit(places).kneighbors()
    return np.asarray(found[:, 0] / 2)


def _spread(
    nearest: IntVector, distance: NDArray[np.float64], room: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns how far each vector stands from its landmark, `[N, 2]`: those nearest to it the least."""
    offsets = np.zeros((len(nearest), 2))
    order = np.lexsort((distance, nearest))
    starts = np.flatnonzero(np.diff(nearest[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        circle = _sunflower(len(rows) + 1)[1:]
        offsets[rows] = circle / np.sqrt(len(rows) + 1) * room[nearest[rows[0]]]
    return offsets


_ROWS = 1_024


def _tsne(vectors: FloatMatrix, seed: int) -> Projection:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    places = tsne.fit_transform(_principal(vectors, COMPONENTS, seed).astype(np.float32))
    return Projection(
        places=places.astype(np.float64),
        method=Method.TSNE,
        perplexity=perplexity,
        kl_divergence=float(tsne.kl_divergence_),
    )


def _principal(vectors: FloatMatrix, components: int, seed: int) -> NDArray[np.float64]:
    """Returns the first principal components, float64 `[N, 2 or more]`, padded with zeros."""
    from sklearn.decomposition import PCA

    there = min(components, *vectors.shape)
    found = PCA(n_components=there, random_state=seed).fit_transform(vectors.astype(np.float64))
    missing = max(0, 2 - there)
    return np.asarray(np.pad(found, ((0, 0), (0, missing))), dtype=np.float64)


def _sunflower(count: int) -> NDArray[np.float64]:
    """Returns places at about equal distances, so that each image can be seen."""
    number = np.arange(count)
    angle = number * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(number) * np.cos(angle), np.sqrt(number) * np.sin(angle)], axis=1)


def _same_class(points: FloatMatrix, classes: IntVector) -> float | None:
    """Returns the mean share of nearest neighbours with the query's class; None without classes."""
    from sklearn.neighbors import NearestNeighbors

    asking = np.flatnonzero(classes >= 0)
    if len(set(classes[asking].tolist())) == 0:
        return None
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points).kneighbors(return_distance=False)
    return float((classes[nearest[asking]] == classes[asking, np.newaxis]).mean())
