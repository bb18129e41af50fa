"""Calibrations of collections: reliability on held-out halves, thresholds, abstaining, too few images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import Distance
from lookalike_search.evaluation.calibration import (
    describe_shortage,
    learn_calibration,
    measure_abstaining,
    measure_reliability,
)
from lookalike_search.evaluation.isotonic import (
    draw_half,
    expected_calibration_error,
)
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import QueryResults, leave_one_out
from made_collections import manifest_of
from numpy.typing import NDArray

MANIFEST = manifest_of(dimension=8)


def images(
    count: int = 400, *, classes: int = 4, cosine: bool = True, spread: float = 1.0, seed: int = 0
) -> LabelledVectors:
    """Makes overlapping clouds around a centre for each class."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, 8))
    labels = random.integers(0, classes, count)
    return LabelledVectors(
        vectors=centres[labels] + spread * random.normal(size=(count, 8)),
        classes=labels,
        copies=np.arange(count),
        names=[f"class {number}" for number in range(classes)],
        higher_is_nearer=cosine,
    )


def learn(one: LabelledVectors, **options: Any) -> Calibration | None:
    """Calibrates a collection of these images."""
    distance = Distance.COSINE if one.higher_is_nearer else Distance.EUCLID
    now = "2026-01-02T00:00:00+00:00"
    results = leave_one_out(one, depth=100)
    points = len(one.classes)
    return learn_calibration(
        one, results, replace(MANIFEST, distance=distance), points=points, created_at=now, **options
    )


def test_reliability_is_measured_on_held_out_images() -> None:
    """Each half fits its own curve, but scores mean different things in the two, so the error is large."""
    one = images(600, classes=3)
    fair = measure_reliability(one, leave_one_out(one))
    results = leave_one_out(one)
    half = draw_half(one.copies, seed=0)
    turned = results.scores.copy()
    turned[half] = -turned[half]
    unfair = measure_reliability(one, replace(results, scores=turned))
    assert fair is not None
    assert unfair is not None
    assert fair.neighbours < 0.05
    assert unfair.neighbours > 2 * fair.neighbours


def mutual_results(one: LabelledVectors) -> QueryResults:
    """Makes results in which each image has one neighbour, its partner, at a score that only they have."""
    count = len(one.classes)
    partners = np.arange(count) ^ 1
    return QueryResults(
        neighbours=partners[:, np.newaxis],
        scores=(np.arange(count) // 2 / count)[:, np.newaxis],
        relevant=np.ones(count, dtype=np.int64),
        average_precision=np.zeros(count),
        near_identical=np.zeros(count, dtype=np.int64),
        nearest_impostors=np.zeros(count),
        verdicts=dict.fromkeys(VoteRule, one.classes),
        shares=dict.fromkeys(VoteRule, np.ones(count)),
    )


@pytest.mark.slow  # thousands of queries
def test_a_pair_of_images_is_never_both_learned_from_and_measured() -> None:
    """Otherwise random labels of few pairs would be learned from one end and predicted at the other."""
    random = np.random.default_rng(1)
    together, apart = [], []
    for _ in range(60):
        same = np.repeat(random.random(30) < 0.5, 2)
        one = replace(images(60), classes=np.where(same, 0, np.arange(60) % 2))
        for copies, errors in ((np.arange(60) // 2, together), (np.arange(60), apart)):
            found = measure_reliability(replace(one, copies=copies), mutual_results(one))
            assert found is not None
            errors.append(found.neighbours)
    assert np.mean(apart) >= np.mean(together)


@pytest.mark.slow  # thousands of queries
@pytest.mark.parametrize("cosine", [True, False])
def test_chances_hold_for_new_images(cosine: bool) -> None:
    """Curves fitted to some images are right for others of the same kind, by score and by vote share."""
    every = images(3_000, cosine=cosine, spread=1.2)
    some = replace(every, vectors=every.vectors[:1500], classes=every.classes[:1500], copies=np.arange(1500))
    others = replace(
        every, vectors=every.vectors[1500:], classes=every.classes[1500:], copies=np.arange(1500)
    )
    calibration = learn(some)
    assert calibration is not None
    results = leave_one_out(others)
    nearness = results.scores if cosine else -results.scores
    right = others.classes[results.neighbours] == others.classes[:, np.newaxis]
    chances = calibration.chance(nearness)
    known = np.isfinite(chances)
    assert known.mean() > 0.99, "few are farther than anything that was seen"
    assert expected_calibration_error(chances[known], right[known]) < 0.03
    assert 0.2 < right.mean() < 0.95, "it would be easy otherwise"
    for rule in VoteRule:
        shares = results.shares[rule]
        said = np.array([calibration.verdict_chance(rule, share) for share in shares], dtype=np.float64)
        known = np.isfinite(said)
        assert known.mean() > 0.99, rule
        right_ones = results.verdicts[rule] == others.classes
        assert expected_calibration_error(said[known], right_ones[known]) < 0.06, rule


def test_ten_and_hundred_nearest_have_separate_curves() -> None:
    """At the same score a neighbour among the ten nearest is right more often."""
    one = images(1_000, spread=1.2)
    calibration = learn(one)
    assert calibration is not None
    results = leave_one_out(one, depth=100)
    right = one.classes[results.neighbours] == one.classes[:, np.newaxis]

    def error(chances: NDArray[np.float64], depth: int) -> float:
        return expected_calibration_error(chances[:, :depth].ravel(), right[:, :depth].ravel())

    shown, candidates = calibration.neighbours(results.scores), calibration.candidates(results.scores)
    assert error(shown, 10) < error(candidates, 10)
    assert error(candidates, 100) < error(shown, 100)


def test_a_calibration_records_what_it_was_learned_from() -> None:
    """It has counts, identity, distance, and the errors on held-out halves."""
    one = images(300, cosine=False)
    calibration = learn(one)
    assert calibration is not None
    found = (calibration.images, calibration.points, calibration.classes, calibration.k, calibration.pairs)
    assert found == (300, 300, 4, 10, 3000)
    assert calibration.fits(identity=MANIFEST.identity.key, distance="euclid", points=300)
    assert calibration.reliability == measure_reliability(one, leave_one_out(one))
    assert calibration.verdicts.keys() == set(VoteRule)
    assert learn(one) == calibration
    assert Calibration.from_json(calibration.to_json()) == calibration
    another = learn(one, seed=1)
    assert another is not None
    assert another.reliability != calibration.reliability
    assert another.conformal is not None
    assert calibration.conformal is not None
    assert another.conformal.coverages != calibration.conformal.coverages
    same = replace(another.conformal, coverages=calibration.conformal.coverages)
    assert replace(another, reliability=calibration.reliability, conformal=same) == calibration


@pytest.mark.parametrize("cosine", [True, False])
def test_the_threshold_refuses_one_percent_of_indexed_images(cosine: bool) -> None:
    """It also refuses as many nearest impostors as a direct count gives."""
    one = images(500, cosine=cosine, spread=0.8)
    calibration = learn(one)
    assert calibration is not None
    units = one.vectors / np.linalg.norm(one.vectors, axis=1, keepdims=True)
    table = units @ units.T if cosine else -np.linalg.norm(one.vectors[:, np.newaxis] - one.vectors, axis=2)
    np.fill_diagonal(table, -np.inf)
    nearest = table.max(axis=1)
    strangers = np.where(one.classes[:, np.newaxis] == one.classes, -np.inf, table).max(axis=1)
    threshold = calibration.threshold
    assert threshold.nearness == pytest.approx(sorted(nearest)[4], abs=1e-6)
    assert threshold.refused == pytest.approx(4 / 500)
    expected = np.mean([calibration.is_unlike_anything(each) for each in strangers])
    assert threshold.caught == pytest.approx(expected, abs=2 / 500)
    assert 0.1 < threshold.caught < 1, "clouds that lie apart are told from each other"


@pytest.mark.parametrize("cosine", [True, False])
def test_abstaining_is_measured_on_the_held_out_half(cosine: bool) -> None:
    """It equals a direct computation with the 1 % quantile of the other half, for both halves."""
    one = images(cosine=cosine)
    results = leave_one_out(one)
    half = draw_half(one.copies, seed=0)
    answered, right = [], []
    for measured in (half, ~half):
        known = sorted(results.scores[~measured, 0], reverse=not cosine)
        least = known[int(0.01 * (len(known) - 1))]
        for query in np.flatnonzero(measured):
            score = results.scores[query, 0]
            answered.append(score >= least if cosine else score <= least)
            if answered[-1]:
                right.append(results.verdicts[VoteRule.NEARER_TIES][query] == one.classes[query])
    found = measure_abstaining(one, results)
    assert found is not None
    assert 0.9 < found.answered.value < 1
    assert found.answered.value == pytest.approx(np.mean(answered))
    assert found.accuracy.value == pytest.approx(np.mean(right))
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_out_of_distribution_queries_are_not_answered() -> None:
    """The measured half has outliers, of which the other half has next to none."""
    one = images(cosine=False)
    vectors = one.vectors.copy()
    strangers = np.flatnonzero(draw_half(one.copies, seed=0))[:40]
    vectors[strangers] += 1_000 * np.arange(1, 41)[:, np.newaxis]
    one = replace(one, vectors=vectors)
    found = measure_abstaining(one, leave_one_out(one))
    assert found is not None
    assert found.answered.value == pytest.approx(0.9, abs=0.02)


def with_lonely(one: LabelledVectors, count: int) -> LabelledVectors:
    """Adds outliers, each alone in its class."""
    start, random = len(one.classes), np.random.default_rng(5)
    far = 100 * random.normal(size=(count, 8))
    return LabelledVectors(
        vectors=np.concatenate([one.vectors, far]),
        classes=np.concatenate([one.classes, len(one.names) + np.arange(count)]),
        copies=np.arange(start + count),
        names=[*one.names, *(f"lonely {number:03}" for number in range(count))],
        higher_is_nearer=one.higher_is_nearer,
    )


def test_abstaining_ignores_queries_alone_in_their_class() -> None:
    """No verdict on them can be right, so they change neither share."""
    one = with_lonely(images(cosine=False), 40)
    results = leave_one_out(one)
    nearest, half = results.scores[:, 0], draw_half(one.copies, seed=0)
    answered, right = [], []
    for measured in (half, ~half):
        least = np.quantile(-nearest[~measured], 0.01, method="lower")
        for query in np.flatnonzero(measured & (results.relevant > 0)):
            answered.append(-nearest[query] >= least)
            if answered[-1]:
                right.append(results.verdicts[VoteRule.NEARER_TIES][query] == one.classes[query])
    found = measure_abstaining(one, results)
    assert found is not None
    assert len(answered) == 400
    assert found.answered.value == pytest.approx(np.mean(answered))
    assert found.accuracy.value == pytest.approx(np.mean(right))


def test_curves_ignore_queries_alone_in_their_class() -> None:
    """As outliers they would make distant neighbours look worse."""
    one = images(cosine=False)
    alone, beside = learn(one), learn(with_lonely(one, 40))
    assert alone is not None
    assert beside is not None
    at = np.linspace(-4, 0, 50)
    assert beside.neighbours(at) == pytest.approx(alone.neighbours(at), abs=1e-6)
    assert beside.candidates(at) == pytest.approx(alone.candidates(at), abs=1e-6)
    for rule in VoteRule:
        shares = [
            (each.verdict_chance(rule, 1.0), each.verdict_chance(rule, 0.4)) for each in (beside, alone)
        ]
        assert shares[0] == pytest.approx(shares[1], abs=1e-6)
    assert beside.pairs == alone.pairs == 4000


def test_separable_classes_are_calibrated() -> None:
    """Chances are nearly 1 but never 1, and the error is near 0."""
    calibration = learn(images(200, spread=0.001))
    assert calibration is not None
    assert 0.99 < calibration.chance(np.array([0.9999999]))[0] < 1
    assert calibration.reliability.neighbours < 0.01
    chance = calibration.verdict_chance(VoteRule.MAJORITY, 1.0)
    assert chance is not None
    assert 0.98 < chance < 1
    assert calibration.threshold.caught == 1


@pytest.mark.parametrize(("count", "classes", "copies"), [(19, 2, 19), (40, 1, 40), (40, 2, 19), (2, 2, 1)])
def test_too_few_images_or_classes_give_no_calibration(count: int, classes: int, copies: int) -> None:
    """Below 20 different images, or two classes, a sentence gives the reason."""
    one = replace(images(count), classes=np.arange(count) % classes, copies=np.arange(count) % copies)
    results = leave_one_out(one)
    assert measure_reliability(one, results) is None
    assert measure_abstaining(one, results) is None
    assert learn(one) is None
    assert "calibration needs 20 different images of 2 classes" in (describe_shortage(one, results) or "")


def test_twenty_images_of_two_classes_are_enough() -> None:
    """They give a calibration and its reliability."""
    one = replace(images(20), classes=np.arange(20) % 2)
    assert describe_shortage(one, leave_one_out(one)) is None
    assert learn(one) is not None
