"""Leave-one-out figures, against plain loops and on examples worked by hand."""

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import BLOCK_VALUES, rows_at_once
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule, vote
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import (
    SHOWN,
    confusion,
    draw_queries,
    keep_countable,
    leave_one_out,
)
from lookalike_search.evaluation.summary import best_values_of, values_of
from numpy.typing import NDArray

TOLERANCE = 1e-9


def images(
    count: int = 300, *, cosine: bool = True, classes: int = 4, seed: int = 0, dtype: type = np.float64
) -> LabelledVectors:
    """Makes clouds around a centre for each class, without ties; some images are labelled as copies."""
    random = np.random.default_rng(seed)
    centres = np.abs(random.normal(size=(classes, 16)))
    labels = random.integers(0, classes, count)
    vectors = centres[labels] + np.abs(random.normal(size=(count, 16)))
    copies = np.arange(count)
    copies[1::50] = copies[::50][: len(copies[1::50])]
    return LabelledVectors(
        vectors=vectors.astype(dtype),
        classes=labels,
        copies=copies,
        names=[f"class {number}" for number in range(classes)],
        higher_is_nearer=cosine,
    )


def nearness(one: LabelledVectors) -> NDArray[np.float64]:
    """Computes how near all images are to all others, in float64 by the plain formulas."""
    vectors = one.vectors.astype(np.float64)
    if one.higher_is_nearer:
        return (vectors @ vectors.T) / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    return -np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2)


def by_hand(one: LabelledVectors) -> list[tuple[list[int], float]]:
    """Computes each query's ranking and average precision by plain loops."""
    answers = []
    table = nearness(one)
    for query in range(len(one.vectors)):
        others = [i for i in range(len(one.vectors)) if one.copies[i] != one.copies[query]]
        ranking = sorted(others, key=lambda i: -table[query, i])
        precisions, hits = [], 0
        for rank, other in enumerate(ranking, start=1):
            if one.classes[other] == one.classes[query]:
                hits += 1
                precisions.append(hits / rank)
        answers.append((ranking, float(np.mean(precisions)) if precisions else float("nan")))
    return answers


@pytest.mark.parametrize("cosine", [True, False])
def test_figures_equal_plain_loops(cosine: bool) -> None:
    """Precision at 1, 5 and 10 and average precision of each query are compared, without exact duplicates."""
    one = images(cosine=cosine)
    results = leave_one_out(one)
    expected = by_hand(one)
    for cutoff in (1, 5, 10):
        hits = [
            sum(one.classes[other] == one.classes[query] for other in ranking[:cutoff]) / cutoff
            for query, (ranking, _) in enumerate(expected)
        ]
        found = values_of(results, one.classes)[f"precision_at_{cutoff}"]
        np.testing.assert_allclose(found, hits, atol=TOLERANCE)
    np.testing.assert_allclose(results.average_precision, [ap for _, ap in expected], atol=TOLERANCE)


@pytest.mark.parametrize("cosine", [True, False])
def test_float32_and_float64_give_nearly_the_same_ranking(cosine: bool) -> None:
    """Only images at almost equal distances change places."""
    half, whole = (leave_one_out(images(cosine=cosine, dtype=dtype)) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(half.average_precision, whole.average_precision, atol=1e-3)
    assert np.mean(half.neighbours == whole.neighbours) > 0.999


@pytest.mark.parametrize("cosine", [True, False])
def test_scores_are_those_of_the_store(cosine: bool) -> None:
    """They are best first; Euclidean distances are not negated."""
    one = images(40, cosine=cosine)
    results = leave_one_out(one)
    table = nearness(one) if cosine else -nearness(one)
    for query, found in enumerate(results.neighbours):
        np.testing.assert_allclose(results.scores[query], table[query, found], atol=1e-5)
        assert query not in found
        steps = np.diff(results.scores[query])
        assert (steps <= 0).all() if cosine else (steps >= 0).all()


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("k", [1, 3, 10, 25])
def test_verdicts_equal_votes_on_the_whole_ranking(cosine: bool, k: int) -> None:
    """Each class has its own k nearest."""
    one = images(120, cosine=cosine)
    results = leave_one_out(one, k=k)
    table = nearness(one) if cosine else -nearness(one)
    for query, (ranking, _) in enumerate(by_hand(one)):
        classes = [str(one.classes[other]) for other in ranking]
        for rule in VoteRule:
            verdict = vote(classes, table[query, ranking], rule=rule, k=k, higher_is_nearer=cosine)
            assert verdict is not None
            assert results.verdicts[rule][query] == int(verdict.class_name), rule


@pytest.mark.parametrize("rule", [VoteRule.MAJORITY, VoteRule.NEARER_TIES, VoteRule.WEIGHTED])
def test_tied_votes_go_to_the_first_class_name(rule: VoteRule) -> None:
    """A query's answer does the same: c02 comes before c10."""
    one = LabelledVectors(
        vectors=np.array([[1.0, 0.0], [0.8, -0.6], [0.8, 0.6]]),
        classes=np.array([0, 10, 2]),
        copies=np.arange(3),
        names=[f"c{number:02}" for number in range(12)],
        higher_is_nearer=True,
    )
    alone, fused = leave_one_out(one, k=2), leave_one_out(one, one, rule=FusionRule.ZSCORE, k=2)
    assert alone.verdicts[rule][0] == fused.verdicts[rule][0] == 2


@pytest.mark.parametrize("cosine", [True, False])
def test_near_duplicates_are_counted_and_can_be_left_out(cosine: bool) -> None:
    """They are found by cosine similarity for both distances; exact duplicates are always left out."""
    angles = np.deg2rad([0, 5, 40, 41, 90])
    one = LabelledVectors(
        vectors=np.stack([np.cos(angles), np.sin(angles)], axis=1),
        classes=np.array([0, 0, 1, 1, 0]),
        copies=np.array([0, 1, 2, 3, 0]),
        names=["a", "b"],
        higher_is_nearer=cosine,
    )
    counted = leave_one_out(one, near_above=0.99)
    assert counted.near_identical.tolist() == [1, 1, 1, 1, 0]
    assert counted.neighbours[:, 0].tolist() == [1, 0, 3, 2, 3]
    without = leave_one_out(one, near_above=0.99, without_near=True)
    assert without.near_identical.tolist() == [1, 1, 1, 1, 0]
    assert without.neighbours[:, 0].tolist() == [2, 2, 1, 1, 3]


def test_missing_neighbours_count_as_wrong() -> None:
    """They are -1 and NaN; an image alone in its class has no figure."""
    one = LabelledVectors(
        vectors=np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32),
        classes=np.array([0, 0, 1]),
        copies=np.arange(3),
        names=["a", "b"],
        higher_is_nearer=True,
    )
    results = leave_one_out(one)
    assert results.neighbours[0].tolist() == [1, 2] + [-1] * (SHOWN - 2)
    assert np.isnan(results.scores[0, 2:]).all()
    assert results.relevant.tolist() == [1, 1, 0]
    for figure, expected in (("precision_at_1", 1), ("precision_at_10", 0.1), ("at_least_5_of_10", 0)):
        for values in (values_of(results, one.classes)[figure], best_values_of(results)[figure]):
            np.testing.assert_allclose(values, [expected, expected, np.nan])
    assert results.average_precision[:2].tolist() == [1, 1]
    assert np.isnan(results.average_precision[2])
    assert confusion(results.neighbours, one.classes, count=2).tolist() == [[2, 2], [2, 0]]
    assert confusion(keep_countable(results), one.classes, count=2).tolist() == [[2, 0], [0, 0]]


def test_average_precision_does_not_depend_on_the_order_of_ties() -> None:
    """Where all distances are equal it is the class's share of the images."""
    one = LabelledVectors(
        vectors=np.ones((6, 2), dtype=np.float32),
        classes=np.array([0, 0, 0, 1, 1, 1]),
        copies=np.arange(6),
        names=["a", "b"],
        higher_is_nearer=True,
    )
    np.testing.assert_allclose(leave_one_out(one).average_precision, 2 / 5, atol=TOLERANCE)


def test_confusion_counts_neighbours_by_class() -> None:
    """Rows are the queries' classes, columns the neighbours'."""
    classes = np.array([0, 0, 1, 1])
    table = confusion(np.array([[1, 2], [0, 3], [3, 0], [-1, -1]]), classes, count=2)
    assert table.tolist() == [[2, 2], [1, 1]]


@pytest.mark.parametrize("cosine", [True, False])
def test_a_sample_of_queries_has_the_figures_that_it_has_among_all(cosine: bool) -> None:
    """Images that were no queries have none, and as many rows as there are queries are compared."""
    one, done = images(cosine=cosine), list[int]()
    every = leave_one_out(one)
    some = leave_one_out(one, queries=40, seed=3, on_done=done.append)
    rows = draw_queries(len(one.classes), 40, seed=3)
    assert len(rows) == sum(done) == 40
    np.testing.assert_array_equal(some.queries, rows)
    np.testing.assert_array_equal(some.neighbours[rows], every.neighbours[rows])
    np.testing.assert_array_equal(some.relevant[rows], every.relevant[rows])
    np.testing.assert_allclose(some.average_precision[rows], every.average_precision[rows], atol=TOLERANCE)
    for rule in VoteRule:
        np.testing.assert_array_equal(some.verdicts[rule][rows], every.verdicts[rule][rows])
    for figure, values in values_of(some, one.classes).items():
        np.testing.assert_allclose(values[rows], values_of(every, one.classes)[figure][rows], atol=TOLERANCE)
        assert np.isnan(np.delete(values, rows)).all()
    assert (np.delete(some.neighbours, rows, axis=0) == -1).all()


def test_a_fusion_by_chances_learns_from_the_sample_of_queries() -> None:
    """It compares each query once for every network, and once more when it ranks."""
    done: list[int] = []
    found = leave_one_out(
        images(),
        images(seed=0, dtype=np.float32),
        rule=FusionRule.CALIBRATED,
        queries=60,
        on_done=done.append,
    )
    assert sum(done) == 3 * 60
    assert np.isfinite(found.average_precision[found.queries]).all()


def test_similarities_of_many_images_take_no_more_memory_than_those_of_some() -> None:
    """Fewer rows are compared at a time where there are more images."""
    assert [rows_at_once(count) for count in (0, 10, 32_768, 65_536, 1_000_000)] == [256, 256, 256, 128, 8]
    assert all(rows_at_once(count) * count <= BLOCK_VALUES for count in (10**5, 10**6, 8 * 10**6))
