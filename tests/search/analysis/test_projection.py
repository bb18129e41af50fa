"""Places on a map: finite, reproducible, and faithful as measured."""

import warnings

import numpy as np
import pytest
from lookalike_search.analysis.projection import (
    NEIGHBOURS,
    Method,
    Projection,
    draw_sample,
    measure_trust,
    project,
)
from numpy.typing import NDArray

CLUSTERS = 4
EACH = 30


def clusters(seed: int = 0, dimension: int = 64) -> NDArray[np.float32]:
    """Returns `EACH` vectors around each of `CLUSTERS` centres, far from each other."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(0, 10, (CLUSTERS, dimension)), EACH, axis=0)
    return (centres + random.normal(0, 1, centres.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def placed() -> Projection:
    """Returns the clusters in two dimensions."""
    return project(clusters(), seed=0)


CLASSES = np.repeat(np.arange(CLUSTERS), EACH)


def test_neighbours_in_space_are_neighbours_on_the_map(placed: Projection) -> None:
    """The ten nearest on a map of separate clusters are all of the same cluster."""
    assert placed.method is Method.TSNE
    assert placed.perplexity == 30
    assert placed.kl_divergence is not None
    trust = measure_trust(clusters(), placed.places, CLASSES, seed=0)
    assert trust is not None
    assert (trust.on_map, trust.in_space) == (1, 1)
    assert trust.trustworthiness > 0.9


def test_the_same_seed_gives_the_same_places(placed: Projection) -> None:
    """Places are equal to the last bit."""
    np.testing.assert_array_equal(project(clusters(), seed=0).places, placed.places)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 20])
@pytest.mark.parametrize("dimension", [1, 2, 64])
def test_few_vectors_get_finite_places(count: int, dimension: int) -> None:
    """One image is enough; t-SNE is used from five images on."""
    vectors = np.random.default_rng(1).normal(0, 1, (count, dimension)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = project(vectors, seed=0)
    assert found.places.shape == (count, 2)
    assert np.isfinite(found.places).all()
    expected = Method.NONE if count == 1 else Method.PCA if count < 5 else Method.TSNE
    assert found.method is expected


def test_equal_vectors_get_distinct_places() -> None:
    """The method of the projection is `NONE`: these places mean nothing."""
    found = project(np.ones((200, 8), np.float32), seed=0)
    assert found.method is Method.NONE
    apart = np.linalg.norm(found.places[:, np.newaxis] - found.places, axis=-1)
    assert apart[~np.eye(200, dtype=bool)].min() > 0.5


@pytest.mark.parametrize("different", [2, 4, 6])
def test_many_duplicates_of_few_vectors_get_finite_places(different: int) -> None:
    """Folders with many duplicates are common."""
    few = np.random.default_rng(2).normal(0, 1, (different, 32)).astype(np.float32)
    found = project(np.repeat(few, 10, axis=0), seed=0)
    assert np.isfinite(found.places).all()
    centres = found.places.reshape(different, 10, 2).mean(axis=1)
    assert len(np.unique(centres.round(6), axis=0)) == different


def test_more_images_than_are_placed_stand_around_the_nearest_landmark() -> None:
    """Each is nearer to it than any other landmark is; groups stay apart, and the seed decides."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(4, 16)) * 10
    groups = np.repeat(np.arange(4), 60)
    vectors = centres[groups] + draw.normal(size=(240, 16))
    placed = project(vectors, seed=1, most=60)
    assert (placed.landmarks, placed.method, placed.places.shape) == (60, Method.TSNE, (240, 2))
    landmarks = np.sort(np.random.default_rng(1).choice(240, 60, replace=False))
    alone = project(vectors[landmarks], seed=1)
    np.testing.assert_array_equal(placed.places[landmarks], alone.places)
    assert alone.landmarks is None
    others = np.setdiff1d(np.arange(240), landmarks)
    on_map = np.linalg.norm(placed.places[others, None] - placed.places[landmarks], axis=2)
    in_space = np.linalg.norm(vectors[others, None] - vectors[landmarks], axis=2)
    np.testing.assert_array_equal(on_map.argmin(axis=1), in_space.argmin(axis=1))
    assert len(np.unique(placed.places, axis=0)) == 240
    trust = measure_trust(vectors, placed.places, groups, seed=0)
    assert trust is not None
    assert trust.on_map == 1.0
    again = project(vectors, seed=1, most=60)
    np.testing.assert_array_equal(again.places, placed.places)


def test_equal_vectors_around_landmarks_get_distinct_places() -> None:
    """All landmarks are the same then."""
    placed = project(np.ones((50, 3)), seed=0, most=20)
    assert (placed.method, len(np.unique(placed.places, axis=0))) == (Method.NONE, 50)


def test_trustworthiness_matches_its_definition() -> None:
    """It equals Venna and Kaski's sum over ranks, written out."""
    random = np.random.default_rng(0)
    vectors, places = random.normal(0, 1, (60, 5)), random.normal(0, 1, (60, 2))
    trust = measure_trust(vectors, places, np.full(60, -1), seed=0)
    assert trust is not None
    n, k, penalty = 60, NEIGHBOURS, 0
    for i in range(n):
        by_space = sorted(
            (j for j in range(n) if j != i), key=lambda j: np.linalg.norm(vectors[i] - vectors[j])
        )
        by_map = sorted((j for j in range(n) if j != i), key=lambda j: np.linalg.norm(places[i] - places[j]))
        ranks = {j: rank for rank, j in enumerate(by_space, start=1)}
        penalty += sum(max(0, ranks[j] - k) for j in by_map[:k])
    assert trust.trustworthiness == pytest.approx(1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty, abs=1e-12)
    assert trust.on_map is None
    assert trust.in_space is None


def test_shares_of_same_class_neighbours_match_their_definition() -> None:
    """Only images with a class are queries; a neighbour without a class counts as another class."""
    random = np.random.default_rng(0)
    vectors, places = random.normal(0, 1, (50, 5)), random.normal(0, 1, (50, 2))
    classes = random.integers(-1, 3, 50)
    trust = measure_trust(vectors, places, classes, seed=0)
    assert trust is not None
    for points, said in ((vectors, trust.in_space), (places, trust.on_map)):
        shares = []
        for i in np.flatnonzero(classes >= 0):
            nearest = [j for j in np.argsort(np.linalg.norm(points - points[i], axis=1)) if j != i]
            shares.append(np.mean(classes[nearest[:NEIGHBOURS]] == classes[i]))
        assert said == pytest.approx(np.mean(shares), abs=1e-12)


def test_trust_is_not_measured_on_too_few_images() -> None:
    """Trustworthiness is defined for more than twice as many points as neighbours."""
    few = clusters()[: 2 * NEIGHBOURS]
    assert (
        measure_trust(few, few[:, :2].astype(np.float64), np.zeros(len(few), dtype=np.int64), seed=0) is None
    )


def test_trust_of_many_images_is_measured_on_a_sample() -> None:
    """All pairs would not fit into memory; the result records the sample's size."""
    vectors = clusters()
    trust = measure_trust(vectors, vectors[:, :2].astype(np.float64), CLASSES, seed=0, most=50)
    assert trust is not None
    assert trust.measured == 50


def test_a_sample_is_stratified_by_class() -> None:
    """A sample of a third has a third of each class, and keeps a class of one image."""
    classes = ["many"] * 60 + ["some"] * 30 + ["one"]
    rows = draw_sample(classes, 31, seed=0)
    assert len(rows) == len(set(rows.tolist())) == 31
    assert (np.diff(rows) > 0).all()
    counts = {name: sum(classes[row] == name for row in rows) for name in set(classes)}
    assert counts["one"] == 1
    assert abs(counts["many"] - 20) <= 1
    assert abs(counts["some"] - 10) <= 1


def test_a_sample_depends_on_the_seed_alone() -> None:
    """The same seed draws the same images, another seed others."""
    classes = ["a", "b"] * 50
    np.testing.assert_array_equal(draw_sample(classes, 10, seed=1), draw_sample(classes, 10, seed=1))
    assert not np.array_equal(draw_sample(classes, 10, seed=1), draw_sample(classes, 10, seed=2))


def test_a_sample_as_large_as_the_collection_is_all_of_it() -> None:
    """So is a larger one; with more classes than the limit, the sample holds as many classes as fit."""
    np.testing.assert_array_equal(draw_sample(["a", None, "b"], 99, seed=0), [0, 1, 2])
    assert len(draw_sample(list("abcdefgh"), 3, seed=0)) == 3
