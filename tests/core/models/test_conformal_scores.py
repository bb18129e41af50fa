"""Conformal scores: thresholds as NumPy finds them, too few images, and what is kept of many scores."""

import json

import numpy as np
import pytest
from lookalike_core.models.conformal_scores import (
    MAX_SCORES,
    ConformalScores,
    Coverage,
    images_for,
    keep_scores,
    rank_of,
)
from lookalike_core.models.model_manifest import with_json_keys

PERCENTS = (1, 50, 80, 90, 95, 99)


def judge(scores: list[float], percent: int) -> float:
    """Returns the least of the scores and infinity with at least so many percent of them up to it."""
    ordered = np.sort([*scores, np.inf])
    shares_reached = 100 * np.searchsorted(ordered, ordered, side="right") >= percent * len(ordered)
    return float(ordered[shares_reached][0])


@pytest.mark.parametrize("count", [1, 4, 19, 20, 98, 99, 100, MAX_SCORES])
@pytest.mark.parametrize("percent", PERCENTS)
def test_a_threshold_is_the_quantile_with_infinity_among_the_scores(count: int, percent: int) -> None:
    """The judge counts in integers; NumPy's quantile agrees where it does not round."""
    scores = np.random.default_rng(count).random(count).round(2).tolist()
    found = keep_scores(scores).threshold(percent / 100)
    expected = judge(scores, percent)
    assert (np.inf if found is None else found) == expected
    if percent * (count + 1) % 100:
        assert expected == np.quantile([*scores, np.inf], percent / 100, method="inverted_cdf")


@pytest.mark.parametrize(
    ("confidence", "images"), [(0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999), (0.07, 1)]
)
def test_a_confidence_needs_a_number_of_images(confidence: float, images: int) -> None:
    """With one image less every class has to be in the set."""
    assert images_for(confidence) == images
    assert rank_of(confidence, images) <= images
    assert rank_of(confidence, images - 1) > images - 1
    assert keep_scores([0.5] * (images - 1)).threshold(confidence) is None
    assert keep_scores([0.5] * images).threshold(confidence) == 0.5


def test_decimals_are_taken_as_they_are_written() -> None:
    """0.07 times 100 is above 7 in floating point, and would need the eighth score."""
    assert 0.07 * 100 > 7
    assert rank_of(0.07, 99) == 7


@pytest.mark.parametrize("count", [MAX_SCORES + 1, 2_560, 100_000])
def test_of_many_scores_some_are_kept_and_thresholds_are_rounded_up(count: int) -> None:
    """The manifest stays small; sets become larger by at most half a percent of coverage, never smaller."""
    scores = np.random.default_rng(0).random(count)
    kept = keep_scores(scores.tolist())
    assert len(kept.ranks) <= MAX_SCORES
    assert len(json.dumps(with_json_keys(kept))) < 15_000
    ordered = np.sort(scores)
    for confidence in (0.001, 0.5, 0.8, 0.9, 0.95, 0.99, 1 - 1 / (count + 1)):
        found = kept.threshold(confidence)
        assert found is not None
        exact = ordered[rank_of(confidence, count) - 1]
        assert exact <= found
        assert np.mean(ordered <= found) - np.mean(ordered <= exact) <= 0.005
    assert kept.threshold(0.9999999) is None


def test_no_scores_are_a_record_without_thresholds() -> None:
    """All images may be the only ones of their classes."""
    assert keep_scores([]).threshold(0.01) is None


def test_conformal_scores_survive_json() -> None:
    """All figures are equal to the last bit."""
    one = keep_scores(
        [0.1 + 0.2, 0.1],
        coverages=[Coverage(confidence=0.8, coverage=0.9, mean_classes=1.5, one_class=0.5)],
    )
    assert ConformalScores.from_json(json.loads(json.dumps(with_json_keys(one)))) == one


@pytest.mark.parametrize("change", [{"confidence": 1.5}, {"coverage": -1.0}, {"mean_classes": 0.5}])
def test_a_coverage_out_of_its_range_is_refused(change: dict[str, float]) -> None:
    """Shares are between 0 and 1, and a set is never empty."""
    figures = {"confidence": 0.8, "coverage": 0.9, "mean_classes": 1.5, "one_class": 0.5}
    with pytest.raises(ValueError, match="out of its range"):
        Coverage(**(figures | change))
