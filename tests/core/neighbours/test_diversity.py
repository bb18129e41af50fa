"""Maximal marginal relevance, compared with its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.neighbours.diversity import (
    LARGEST_POOL,
    mean_cosines,
    negated_distances,
    pick_diverse,
    pool_size,
    scale_like,
)
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranking(seed: int, count: int, dimension: int = 3) -> tuple[Floats, Floats]:
    """Returns unit vectors float64 `[N, D]`, nearest to the first axis first, and their cosines to it."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors[np.argsort(-vectors[:, 0], kind="stable")]
    return vectors, vectors[:, 0]


def by_definition(relevance: Floats, vectors: Floats, diversity: float, count: int) -> list[int]:
    """Chooses hits one by one, as Carbonell and Goldstein write it."""
    chosen = [0]
    while len(chosen) < min(count, len(vectors)):
        left = [row for row in range(min(len(vectors), pool_size(len(chosen) + 1))) if row not in chosen]
        chosen.append(
            max(
                left,
                key=lambda row: (
                    (1 - diversity) * relevance[row]
                    - diversity * max(float(vectors[row] @ vectors[each]) for each in chosen)
                ),
            )
        )
    return chosen


@pytest.mark.parametrize("diversity", [0.2, 0.5, 1.0])
def test_hits_are_chosen_as_the_definition_says(diversity: float) -> None:
    """The fifteenth hit is chosen from 150; random vectors have no ties."""
    vectors, relevance = ranking(1, 160)
    found = pick_diverse(relevance, mean_cosines([vectors]), diversity=diversity, count=15)
    assert found == by_definition(relevance, vectors, diversity, 15)
    assert found != list(range(15))


@given(
    seed=st.integers(0, 99),
    total=st.integers(0, 130),
    diversity=st.floats(0, 1),
    shorter=st.integers(0, 20),
    longer=st.integers(0, 20),
)
def test_a_longer_choice_begins_with_the_shorter_one(
    seed: int, total: int, diversity: float, shorter: int, longer: int
) -> None:
    """Each hit is there once, the nearest is the first, and pages of the choice fit together."""
    vectors, relevance = ranking(seed, total)
    vectors[1::3] = vectors[: len(vectors[1::3])]  # ties
    short, long = (
        pick_diverse(relevance, mean_cosines([vectors]), diversity=diversity, count=count)
        for count in sorted([shorter, longer])
    )
    assert long[: len(short)] == short
    assert len(set(long)) == len(long) == min(total, max(shorter, longer))
    assert long[:1] == list(range(min(1, len(long))))


@given(seed=st.integers(0, 99), total=st.integers(0, 30), count=st.integers(0, 40))
def test_no_diversity_keeps_the_order(seed: int, total: int, count: int) -> None:
    """Even where the scores do not fall, as of a search by an index."""
    vectors, relevance = ranking(seed, total)
    found = pick_diverse(relevance[::-1], mean_cosines([vectors]), diversity=0, count=count)
    assert found == list(range(min(total, count)))


def test_equal_images_keep_their_order_at_the_end() -> None:
    """Three equal images: the first is chosen first, its repetitions last and in their order."""
    vectors = np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.1], [1.0, -0.5], [1.0, 0.8]])
    relevance = vectors[:, 0] / np.linalg.norm(vectors, axis=1)
    found = pick_diverse(relevance, mean_cosines([vectors]), diversity=0.6, count=5)
    assert (found[0], found[3:]) == (0, [1, 2])


def test_rounding_breaks_no_ties() -> None:
    """The nearest has the query's own vector, so that relevance and repetition cancel out for all others."""
    vectors, _ = ranking(4, 50)
    vectors[0] = [1, 0, 0]
    scores = vectors[:, 0].astype(np.float32) * (1 + np.random.default_rng(1).normal(size=50) * 1e-7)
    assert pick_diverse(scores, mean_cosines([vectors]), diversity=0.5, count=2) == [0, 1]


@pytest.mark.parametrize(("place", "size"), [(1, 100), (10, 100), (11, 110), (100, 1_000), (5_000, 1_000)])
def test_the_pool_grows_with_the_place(place: int, size: int) -> None:
    """Ten times the place, within bounds; it never shrinks below what was chosen."""
    assert pool_size(place) == size
    assert size >= min(place, LARGEST_POOL)


def test_networks_that_lack_an_image_do_not_count() -> None:
    """The mean is over the networks that have both images, 0 where none has."""
    one = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    other = np.array([[1.0, 0.0], [0.0, 3.0], [0.0, 2.0]])
    similarity = mean_cosines([one, other])
    assert similarity(0).tolist() == [1.0, 0.5, 0.0]
    assert similarity(1).tolist() == [0.5, 1.0, 1.0]
    assert mean_cosines([one[2:], other[:1] * 0])(0).tolist() == [0.0]


def test_euclidean_images_are_compared_by_distance() -> None:
    """Negated, so that higher is nearer."""
    assert negated_distances(np.array([[0.0, 0.0], [3.0, 4.0]]))(0).tolist() == [0.0, -5.0]


def test_values_get_the_range_of_others() -> None:
    """By the first of them, in a straight line; equal values become the lowest."""
    values, others = np.array([4.0, 3.0, 2.0, 0.0]), np.array([0.5, 0.9, 0.7, 0.0])
    assert scale_like(values, others, first=3) == pytest.approx([0.9, 0.7, 0.5, 0.1])
    assert scale_like(np.ones(2), others[:2], first=3).tolist() == [0.5, 0.5]
    assert scale_like(np.empty(0), np.empty(0), first=3).tolist() == []
