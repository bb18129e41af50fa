"""What a calibration learns: curves worked by hand, errors computed plainly, halves, thresholds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import Distance
from lookalike_search.evaluation.calibration import (
    abstaining,
    learn_calibration,
    reliability,
    shortage,
)
from lookalike_search.evaluation.isotonic import (
    MAX_KNOTS,
    draw_half,
    expected_calibration_error,
    fit_isotonic,
)
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import QueryResults, leave_one_out
from made_collections import manifest_of
from numpy.typing import NDArray

TOLERANCE = 1e-9
MANIFEST = manifest_of(dimension=8)


def images(
    count: int = 400, *, classes: int = 4, cosine: bool = True, spread: float = 1.0, seed: int = 0
) -> LabelledVectors:
    """Overlapping clouds around a centre for each class."""
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
    """A calibration of everything that the images hold."""
    distance = Distance.COSINE if one.higher_is_nearer else Distance.EUCLID
    now = "2026-01-02T00:00:00+00:00"
    results = leave_one_out(one, depth=100)
    points = len(one.classes)
    return learn_calibration(
        one, results, replace(MANIFEST, distance=distance), points=points, created_at=now, **options
    )


def chances_at(values: list[float], right: list[int], at: list[float]) -> list[float]:
    """What a curve that is learned from these cases says."""
    curve = fit_isotonic(np.array(values), np.array(right, dtype=bool))
    return curve(np.array(at)).tolist()


def test_a_curve_pools_what_falls() -> None:
    """Worked by hand: 0 | 1 0 pooled to a half | 1 1, with a right case added at 0 and a wrong one at 5.

    At 0 stand 1 (made up) and 0, a half; 1 and 0 behind them make a half, too; at 5 stand 1 and 0 (made up),
    a half, and 1 before it, which falls: the three are pooled to two thirds.
    """
    found = chances_at([0, 1, 2, 4, 5], [0, 1, 0, 1, 1], [0, 1, 2, 3, 4, 5])
    assert found == pytest.approx([1 / 2, 1 / 2, 1 / 2, (1 / 2 + 2 / 3) / 2, 2 / 3, 2 / 3])


def test_cases_of_the_same_value_are_one() -> None:
    """Three of four at 1, with the one made up three of five; one of three at 0, with its own two of four."""
    found = chances_at([0, 0, 0, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0, 1], [0, 0.5, 1])
    assert found == pytest.approx([2 / 4, (2 / 4 + 3 / 5) / 2, 3 / 5])


@pytest.mark.parametrize("count", [1, 9, 999])
def test_no_curve_is_certain(count: int) -> None:
    """Where all n are right it says that n / (n + 1) of them are, or less, and the other way round."""
    values = np.linspace(0.2, 0.9, count)
    sure = fit_isotonic(values, np.ones(count, dtype=bool))(values)
    never = fit_isotonic(values, np.zeros(count, dtype=bool))(values)
    assert sure.max() <= (count + 1) / (count + 2) + TOLERANCE
    assert never.min() >= 1 / (count + 2) - TOLERANCE
    assert sure.min() >= 0.5 - TOLERANCE
    np.testing.assert_allclose(never, 1 - sure[::-1])


def test_a_curve_is_small_and_hardly_changed_by_it() -> None:
    """A hundred knots at most, and never more than 0.04 from what scikit-learn says."""
    from sklearn.isotonic import IsotonicRegression

    random = np.random.default_rng(3)
    values = random.random(200_000)
    right = random.random(len(values)) < values**2
    curve = fit_isotonic(values, right)
    exact = IsotonicRegression().fit(values, right)
    asked = np.linspace(values.min(), values.max(), 5_000)
    assert len(exact.X_thresholds_) > MAX_KNOTS >= len(curve.knots)
    assert np.abs(curve(asked) - exact.predict(asked)).max() < 0.04
    assert np.abs(curve(asked) - asked**2).mean() < 0.02


def plain_error(chances: list[float], right: list[bool], edges: list[float]) -> float:
    """Of bins between edges, case by case; the last holds its upper edge, too."""
    total = 0.0
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        inside = [k for k, c in enumerate(chances) if edges[i] <= c and (c < edges[i + 1] or last)]
        if inside:
            said = sum(chances[k] for k in inside) / len(inside)
            true = sum(right[k] for k in inside) / len(inside)
            total += len(inside) / len(chances) * abs(said - true)
    return total


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_the_error_agrees_with_a_plain_computation(bins: int) -> None:
    """Guo et al. (2017): bins of equal width, and bins that hold as many."""
    random = np.random.default_rng(bins)
    chances = np.concatenate([random.random(997), [0.0, 1.0, 0.5]])
    right = random.random(1000) < 0.6
    width = plain_error(chances.tolist(), right.tolist(), np.linspace(0, 1, bins + 1).tolist())
    mass = plain_error(
        chances.tolist(), right.tolist(), np.quantile(chances, np.linspace(0, 1, bins + 1)).tolist()
    )
    assert expected_calibration_error(chances, right, bins=bins) == pytest.approx(width, abs=TOLERANCE)
    found = expected_calibration_error(chances, right, bins=bins, equal_mass=True)
    assert found == pytest.approx(mass, abs=TOLERANCE)


def test_an_error_worked_by_hand() -> None:
    """Three at 0.9 of which one is right, one at 0.1 that is not: (3 * |0.9 - 1/3| + 0.1) / 4."""
    chances, right = np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, False, False, False])
    expected = (3 * (0.9 - 1 / 3) + 0.1) / 4
    assert expected_calibration_error(chances, right) == pytest.approx(expected)
    assert expected_calibration_error(np.full(4, 0.25), right, equal_mass=True) == pytest.approx(0)


def test_planted_miscalibration_is_seen() -> None:
    """Chances that say 90 % of what is right half of the time are 0.4 off, by either kind of bins."""
    random = np.random.default_rng(0)
    right = random.random(20_000) < 0.5
    said = random.uniform(0.85, 0.95, len(right))
    for equal_mass in (False, True):
        assert expected_calibration_error(said, right, equal_mass=equal_mass) == pytest.approx(0.4, abs=0.02)
        honest = expected_calibration_error(np.full(len(right), 0.5), right, equal_mass=equal_mass)
        assert honest < 0.01


def test_halves_never_share_copies() -> None:
    """Whatever the seed; they are halves, and another seed draws others."""
    copies = np.random.default_rng(0).integers(0, 90, 200)
    halves = [draw_half(copies, seed=seed) for seed in range(20)]
    for half in halves:
        assert not set(copies[half]) & set(copies[~half])
        assert abs(len(set(copies[half])) - len(set(copies[~half]))) <= 1
    np.testing.assert_array_equal(halves[3], draw_half(copies, seed=3))
    assert len({half.tobytes() for half in halves}) == 20


def test_scores_that_mean_something_else_for_one_half_are_seen() -> None:
    """The errors are measured where nothing was learned: memory of the images does not help."""
    one = images(600, classes=3)
    fair = reliability(one, leave_one_out(one))
    results = leave_one_out(one)
    half = draw_half(one.copies, seed=0)
    turned = results.scores.copy()
    turned[half] = -turned[half]
    unfair = reliability(one, replace(results, scores=turned))
    assert fair is not None
    assert unfair is not None
    assert fair.neighbours < 0.05
    assert unfair.neighbours > 2 * fair.neighbours


def mutual_results(one: LabelledVectors) -> QueryResults:
    """Each image has one neighbour, its partner, with a score that only they have."""
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
def test_a_pair_is_not_learned_from_one_end_and_measured_from_the_other() -> None:
    """Coins decide about few pairs; known from their other ends they would seem to be foreseen."""
    random = np.random.default_rng(1)
    together, apart = [], []
    for _ in range(60):
        same = np.repeat(random.random(30) < 0.5, 2)
        one = replace(images(60), classes=np.where(same, 0, np.arange(60) % 2))
        for copies, errors in ((np.arange(60) // 2, together), (np.arange(60), apart)):
            found = reliability(replace(one, copies=copies), mutual_results(one))
            assert found is not None
            errors.append(found.neighbours)
    assert np.mean(apart) >= np.mean(together)


@pytest.mark.slow  # thousands of queries
@pytest.mark.parametrize("cosine", [True, False])
def test_chances_are_those_of_new_images(cosine: bool) -> None:
    """Learned from some, they come true for others of the same kind, by score and by share of the vote."""
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


def test_the_ten_nearest_and_the_hundred_have_curves_of_their_own() -> None:
    """Of two images that are as near, the one among the ten nearest is right more often."""
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


def test_the_record_says_what_it_was_made_of() -> None:
    """Counts, identity, distance, and the errors of held-out halves."""
    one = images(300, cosine=False)
    calibration = learn(one)
    assert calibration is not None
    found = (calibration.images, calibration.points, calibration.classes, calibration.k, calibration.pairs)
    assert found == (300, 300, 4, 10, 3000)
    assert calibration.fits(identity=MANIFEST.identity.key, distance="euclid", points=300)
    assert calibration.reliability == reliability(one, leave_one_out(one))
    assert calibration.verdicts.keys() == set(VoteRule)
    assert learn(one) == calibration
    assert Calibration.from_json(calibration.to_json()) == calibration
    another = learn(one, seed=1)
    assert another is not None
    assert another.reliability != calibration.reliability
    assert replace(another, reliability=calibration.reliability) == calibration


@pytest.mark.parametrize("cosine", [True, False])
def test_the_threshold_refuses_one_in_a_hundred(cosine: bool) -> None:
    """Counted plainly: how near the nearest other is, and the nearest other of another class."""
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
def test_abstaining_is_measured_on_the_half_that_taught_nothing(cosine: bool) -> None:
    """Both ways round, plainly: the 1 % farthest of one half say which of the other are answered."""
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
    found = abstaining(one, results)
    assert found is not None
    assert 0.9 < found.answered.value < 1
    assert found.answered.value == pytest.approx(np.mean(answered))
    assert found.accuracy.value == pytest.approx(np.mean(right))
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_what_is_far_from_all_is_not_answered() -> None:
    """Strangers of the measured half, of whom that which taught knows next to none."""
    one = images(cosine=False)
    vectors = one.vectors.copy()
    strangers = np.flatnonzero(draw_half(one.copies, seed=0))[:40]
    vectors[strangers] += 1_000 * np.arange(1, 41)[:, np.newaxis]
    one = replace(one, vectors=vectors)
    found = abstaining(one, leave_one_out(one))
    assert found is not None
    assert found.answered.value == pytest.approx(0.9, abs=0.02)


def with_lonely(one: LabelledVectors, count: int) -> LabelledVectors:
    """With some more images, far from all, of which each is the only one of its class."""
    start, random = len(one.classes), np.random.default_rng(5)
    far = 100 * random.normal(size=(count, 8))
    return LabelledVectors(
        vectors=np.concatenate([one.vectors, far]),
        classes=np.concatenate([one.classes, len(one.names) + np.arange(count)]),
        copies=np.arange(start + count),
        names=[*one.names, *(f"lonely {number:03}" for number in range(count))],
        higher_is_nearer=one.higher_is_nearer,
    )


def test_queries_that_are_alone_in_their_class_count_for_no_figure_of_abstaining() -> None:
    """Nothing can be right for them: neither answered nor left out do they change a share."""
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
    found = abstaining(one, results)
    assert found is not None
    assert len(answered) == 400
    assert found.answered.value == pytest.approx(np.mean(answered))
    assert found.accuracy.value == pytest.approx(np.mean(right))


def test_queries_that_are_alone_in_their_class_teach_no_chance() -> None:
    """Far from all as these are, they would make far neighbours look worse, and change nothing else."""
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


def test_neighbours_that_are_all_right_are_calibrated_too() -> None:
    """Classes that lie far apart: nearly certain, not quite, and no error to speak of."""
    calibration = learn(images(200, spread=0.001))
    assert calibration is not None
    assert 0.99 < calibration.chance(np.array([0.9999999]))[0] < 1
    assert calibration.reliability.neighbours < 0.01
    chance = calibration.verdict_chance(VoteRule.MAJORITY, 1.0)
    assert chance is not None
    assert 0.98 < chance < 1
    assert calibration.threshold.caught == 1


@pytest.mark.parametrize(("count", "classes", "copies"), [(19, 2, 19), (40, 1, 40), (40, 2, 19), (2, 2, 1)])
def test_too_little_is_no_calibration(count: int, classes: int, copies: int) -> None:
    """Fewer than twenty different images, or one class: no figure, and a reason in words."""
    one = replace(images(count), classes=np.arange(count) % classes, copies=np.arange(count) % copies)
    results = leave_one_out(one)
    assert reliability(one, results) is None
    assert abstaining(one, results) is None
    assert learn(one) is None
    assert "too few to calibrate" in (shortage(one, results) or "")


def test_twenty_images_of_two_classes_are_enough() -> None:
    """They give figures, if rough ones."""
    one = replace(images(20), classes=np.arange(20) % 2)
    assert shortage(one, leave_one_out(one)) is None
    assert learn(one) is not None
