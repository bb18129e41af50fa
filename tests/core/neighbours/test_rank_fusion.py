"""Rank fusion of two networks, on examples worked by hand."""

import numpy as np
import pytest
from lookalike_core.neighbours.rank_fusion import FusionRule, fuse_similarities

NAN, OUT = np.nan, -np.inf


def order(similarity: np.ndarray) -> list[int]:
    """Returns the columns of a single row, nearest first."""
    return [int(column) for column in np.argsort(-similarity[0], kind="stable")]


def test_reciprocal_ranks_are_summed() -> None:
    """Ranks 1, 2, 3 in one and 3, 1, 2 in the other: the second image wins with 1/62 + 1/61."""
    scores = fuse_similarities([np.array([[0.9, 0.8, 0.7]]), np.array([[0.1, 0.3, 0.2]])], FusionRule.RRF)
    assert scores[0] == pytest.approx([1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62], abs=2e-9)
    assert order(scores) == [1, 0, 2]


def test_z_scores_are_averaged() -> None:
    """The deviations are those of each network's two nearest; the mean of both decides."""
    one, other = np.array([[0.9, 0.7, 0.75]]), np.array([[-30.0, -10.0, -10.5]])
    scores = fuse_similarities([one, other], FusionRule.ZSCORE, depth=2)
    z_one = (one - 0.825) / 0.075  # over 0.9 and 0.75, the two nearest
    z_other = (other + 10.25) / 0.25  # over -10 and -10.5
    assert scores[0] == pytest.approx(((z_one + z_other) / 2)[0], abs=2e-9)


def test_chances_are_averaged() -> None:
    """A chance of 0.9 and 0.1 is less than one of 0.6 and 0.6."""
    chance = np.array([[0.9, 0.6]]), np.array([[0.1, 0.6]])
    scores = fuse_similarities(chance, FusionRule.CALIBRATED, chances=[lambda s: s, lambda s: s])
    assert scores[0] == pytest.approx([0.5, 0.6], abs=2e-9)


def test_equal_chances_are_ranked_by_z_scores() -> None:
    """Where a calibration curve is flat the nearer image still ranks first."""
    similarity = np.array([[0.5, 0.9, 0.7]])
    scores = fuse_similarities(
        [similarity, similarity], FusionRule.CALIBRATED, chances=[np.ones_like, np.ones_like]
    )
    assert order(scores) == [1, 2, 0]


@pytest.mark.parametrize("rule", FusionRule)
def test_a_ranking_fused_with_itself_keeps_its_order(rule: FusionRule) -> None:
    """This holds for every rule."""
    similarity = np.random.default_rng(0).normal(size=(1, 40))
    scores = fuse_similarities([similarity, similarity], rule, chances=[lambda s: s, lambda s: s], depth=5)
    assert order(scores) == order(similarity)


@pytest.mark.parametrize("rule", FusionRule)
def test_an_image_missing_in_one_network_is_ranked_by_the_other(rule: FusionRule) -> None:
    """Images ranked high by neither network come last."""
    one, other = np.array([[0.9, 0.1, 0.2]]), np.array([[NAN, 0.8, 0.1]])
    scores = fuse_similarities([one, other], rule, chances=[lambda s: s, lambda s: s])
    assert np.isfinite(scores).all()
    assert order(scores)[-1] == 2


@pytest.mark.parametrize("rule", FusionRule)
def test_an_image_left_out_in_one_network_is_left_out_of_the_fusion(rule: FusionRule) -> None:
    """An example is the query itself."""
    one, other = np.array([[OUT, 0.1, 0.2]]), np.array([[0.9, 0.8, 0.1]])
    scores = fuse_similarities([one, other], rule, chances=[lambda s: s, lambda s: s])
    assert scores[0, 0] == -np.inf


@pytest.mark.parametrize("rule", FusionRule)
def test_candidates_rank_before_all_others(rule: FusionRule) -> None:
    """The two nearest of each network come first; the others are ranked too, without ties."""
    random = np.random.default_rng(1)
    one, other = random.normal(size=(1, 30)), random.normal(size=(1, 30))
    scores = fuse_similarities([one, other], rule, chances=[lambda s: s, lambda s: s], depth=2)
    candidates = set(order(one)[:2]) | set(order(other)[:2])
    assert set(order(scores)[: len(candidates)]) == candidates
    assert len(np.unique(scores)) == 30
