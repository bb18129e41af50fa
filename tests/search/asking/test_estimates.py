"""Estimates for an answer by a calibration, and cases without an estimate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import Distance
from lookalike_search.asking.answers import Neighbour
from lookalike_search.asking.estimates import Estimates, estimate, get_usable_calibration
from made_collections import point_of

VERDICT = Verdict(class_name="cat", share=0.9, voters=10)


def asked(
    calibration: Calibration,
    *,
    scores: Sequence[float] = (0.9, 0.7, 0.4),
    classes: Sequence[str | None] = ("cat", None, "dog"),
    verdict: Verdict | None = VERDICT,
    rule: VoteRule = VoteRule.MAJORITY,
) -> Estimates:
    """Returns three neighbours, one of them without a class."""
    hits = [
        Neighbour(
            rank=rank, score=score, payload=point_of("1.png", [1, 0], class_name=name).payload, file=None
        )
        for rank, (score, name) in enumerate(zip(scores, classes, strict=True), start=1)
    ]
    return estimate(hits, verdict, calibration=calibration, rule=rule)


def test_neighbours_with_a_class_have_a_chance(calibration: Calibration) -> None:
    """It is read off the curve at their score; a neighbour without a class has none."""
    found = asked(calibration)
    assert found.chances == [pytest.approx(2 / 3), None, 0.25]
    assert found.verdict == pytest.approx(2 / 3)
    assert not found.unlike_anything


def test_smaller_distances_have_higher_chances(calibration: Calibration) -> None:
    """Curves are stored over the negated distance."""
    curve = replace(calibration.neighbours, knots=(-3.0, -2.0, -1.0))
    threshold = replace(calibration.threshold, nearness=-2.5)
    euclid = replace(calibration, distance="euclid", neighbours=curve, threshold=threshold)
    found = asked(euclid, scores=[1.0, 2.0, 3.0], classes=["cat"] * 3)
    assert found.chances == pytest.approx([2 / 3, 0.25, 0.25])
    assert not asked(euclid, scores=[2.5, 2.6, 2.7]).unlike_anything
    assert asked(euclid, scores=[2.6, 2.7, 2.8]).unlike_anything


def test_scores_outside_the_calibrated_range_have_no_chance(calibration: Calibration) -> None:
    """Curves are not extrapolated."""
    assert asked(calibration, scores=[0.9, 0.7, 0.2]).chances[2] is None
    assert asked(calibration, verdict=replace(VERDICT, share=0.2)).verdict is None


def test_an_out_of_distribution_query_has_no_chances(calibration: Calibration) -> None:
    """The curve was learned from queries with near neighbours."""
    found = asked(calibration, scores=[0.39, 0.35, 0.32], classes=["cat"] * 3)
    assert found.unlike_anything
    assert found.chances == [None] * 3
    assert found.verdict is None


def test_neighbours_behind_the_ten_nearest_have_no_chance(calibration: Calibration) -> None:
    """The curve was learned from the ten nearest with a class."""
    found = asked(calibration, scores=[0.5] * 12, classes=["cat"] * 12)
    assert found.chances == [0.25] * 10 + [None] * 2
    with_others = asked(calibration, scores=[0.5] * 14, classes=[None, "cat", None, *["cat"] * 11])
    assert with_others.chances == [None, 0.25, None, *[0.25] * 9, None, None]


@pytest.mark.parametrize(
    "changes", [{"verdict": replace(VERDICT, voters=9)}, {"rule": VoteRule.WEIGHTED}, {"verdict": None}]
)
def test_a_verdict_that_was_not_calibrated_has_no_chance(
    calibration: Calibration, changes: dict[str, Any]
) -> None:
    """The number of voters or the rule differs from the calibration's, or there is no verdict."""
    assert asked(calibration, **changes).verdict is None


def test_a_query_is_out_of_distribution_by_its_nearest_neighbour(calibration: Calibration) -> None:
    """Farther neighbours do not matter; a query without neighbours is not out of distribution."""
    assert asked(calibration, scores=[0.39, 0.3, 0.2]).unlike_anything
    assert not asked(calibration, scores=[0.41, 0.3, 0.2]).unlike_anything
    assert not asked(calibration, scores=[], classes=[], verdict=None).unlike_anything


class Held:
    """The part of a collection that estimates read."""

    name = "mine"

    def __init__(self, calibration: Calibration | None, *, points: int, distance: str = "cosine") -> None:
        self.points = points
        key = "0123456789abcdef"
        self.manifest = Manifest(calibration, Distance(distance), key)

    def count(self) -> int:
        """Returns the number of its points."""
        return self.points


class Manifest:
    """The part of a manifest that estimates read."""

    def __init__(self, calibration: Calibration | None, distance: Distance, key: str) -> None:
        self.calibration, self.distance, self.key = calibration, distance, key

    @property
    def identity(self) -> "Manifest":
        """An identity with a key."""
        return self


def test_a_stale_calibration_is_ignored_and_logged(calibration: Calibration, said: list[str]) -> None:
    """It is stale after a change of the number of points or of the distance; a current one logs nothing."""
    assert get_usable_calibration(Held(calibration, points=3)) == calibration
    assert get_usable_calibration(Held(None, points=3)) is None
    assert said == []
    for held in (Held(calibration, points=4), Held(calibration, points=3, distance="euclid")):
        assert get_usable_calibration(held) is None
    assert len(said) == 2
    assert "search calibrate --collection mine" in full_message(said[0])
