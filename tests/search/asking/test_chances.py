"""Estimated chances in answers, in both stores, by a calibration made by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lookalike_core.models.calibration_curves import Calibration, Curve, Threshold
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from one_answer import answer_of

IMAGES = {
    "cat/1.png": [1.0, 0.0],
    "cat/2.png": [0.8, 0.6],
    "dog/1.png": [0.6, 0.8],
    "dog/2.png": [0.0, 1.0],
}
TOLERANCE = 1e-6
"""Scores are float32, and a chance is read off a line of slope 1."""


@pytest.fixture
def calibrated(both_stores: Store, fill: Callable[..., str], calibration: Calibration) -> Callable[..., str]:
    """Makes a collection with a calibration whose chance is the similarity: `calibrated(**changes)`."""

    def make(*, backbone: str = "vgg16", **changes: Any) -> str:
        name = fill(both_stores, IMAGES, backbone=backbone)
        identity = both_stores.manifest(name).identity.key
        line = Curve(knots=(0.0, 1.0), chances=(0.0, 1.0))
        record = replace(
            calibration,
            identity=identity,
            distance=Distance.COSINE,
            points=len(IMAGES),
            k=3,
            neighbours=line,
            candidates=line,
            verdicts={"nearer-ties": line},
            threshold=Threshold(nearness=0.5, refused=0.01, caught=0.8),
        )
        with both_stores.open(name) as collection:
            collection.record_calibration(replace(record, **changes))
        return name

    return make


@pytest.fixture
def ask(both_stores: Store, home: Settings) -> Callable[..., Answer]:
    """Returns an answer: `ask(names, path, also=..., **options)`."""

    def asked(*names: str, path: str = "cat/1.png", also: str | None = None, **options: Any) -> Answer:
        with Searcher.opened(*names, store=both_stores, settings=home) as searcher:
            return answer_of(searcher, path, QueryOptions(**options), positives=[also] if also else [])

    return asked


def chances(answer: Answer) -> list[float | None]:
    """Returns the chances of the neighbours, best first."""
    return [hit.chance for hit in answer.hits]


def test_neighbours_and_verdict_carry_their_chances(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Similarities 0.8, 0.6 and 0 are read off the curve; dogs have two of three votes."""
    answer = ask(calibrated())
    assert chances(answer) == pytest.approx([0.8, 0.6, 0.0], abs=TOLERANCE)
    assert answer.verdict is not None
    assert answer.verdict.class_name == "dog"
    assert answer.verdict_chance == pytest.approx(2 / 3)
    assert answer.unlike_anything is False


def test_an_out_of_distribution_image_has_no_verdict(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Its nearest has a similarity of 0.8, below the threshold of 0.9; its neighbours are still shown."""
    name = calibrated(threshold=Threshold(nearness=0.9, refused=0.01, caught=0.8))
    answer = ask(name)
    assert answer.unlike_anything is True
    assert (answer.verdict, answer.verdict_chance) == (None, None)
    assert len(answer.hits) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"where": PointFilter(classes=frozenset({"cat"}))},
        {"where": PointFilter(dataset="data")},
        {"where": PointFilter(min_width=1)},
        {"include_self": True},
        {"also": "cat/2.png"},
    ],
    ids=["class", "dataset", "width", "copies", "examples"],
)
def test_narrowed_or_combined_searches_have_no_chances(
    calibrated: Callable[..., str], ask: Callable[..., Answer], options: dict[str, Any]
) -> None:
    """Calibrations are learned from single images and unfiltered neighbours."""
    answer = ask(calibrated(), **options)
    assert answer.hits
    assert set(chances(answer)) == {None}
    assert (answer.verdict_chance, answer.unlike_anything) == (None, None)


def test_a_stale_calibration_gives_no_chances(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """The collection has another number of points than the calibration was learned from."""
    answer = ask(calibrated(points=3))
    assert set(chances(answer)) == {None}
    assert answer.verdict is not None
    assert (answer.verdict_chance, answer.unlike_anything) == (None, None)


def test_a_verdict_by_another_k_has_no_chance(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Shares of two votes are not comparable with those of three."""
    answer = ask(calibrated(), k=2)
    assert answer.verdict is not None
    assert answer.verdict_chance is None
    assert None not in chances(answer)


def test_chances_are_fused_where_both_collections_are_calibrated(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Both have the same curve, so the fused scores are its chances; hits themselves have no chance."""
    answer = ask(calibrated(), calibrated(backbone="resnet101v2"), fusion=FusionRule.CALIBRATED)
    assert [hit.score for hit in answer.hits] == pytest.approx([0.8, 0.6, 0.0], abs=TOLERANCE)
    assert set(chances(answer)) == {None}


def test_chances_are_shown_beside_scores_and_never_as_them(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store
) -> None:
    """They have their own column and JSON key; without a calibration the table has no such column."""
    name, options = calibrated(), QueryOptions()
    manifests = [both_stores.manifest(name)]
    _, heading, first, *_, last = answer_lines(ask(name), manifests, options)
    assert heading.split("  ") == ["rank", "similarity", "same class", "class", "path"]
    assert first.split() == ["1", "0.8000", "≈", "80", "%", "cat", "cat/2.png"]
    assert last.endswith("(nearer-ties), ≈ 67 % right")
    [hit, *_] = answer_json(ask(name), manifests, "embedded", options)["hits"]
    assert (hit["score"], hit["chance"]) == pytest.approx((0.8, 0.8), abs=TOLERANCE)
    plain = ask(name, where=PointFilter(classes=frozenset({"cat"})))
    assert "same class" not in "\n".join(answer_lines(plain, manifests, options))


def test_an_answer_says_that_its_query_is_out_of_distribution(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store
) -> None:
    """The table and the JSON say so instead of naming a class."""
    name, options = calibrated(threshold=Threshold(nearness=0.9, refused=0.01, caught=0.8)), QueryOptions()
    manifests = [both_stores.manifest(name)]
    *_, last = answer_lines(ask(name), manifests, options)
    assert last == "verdict: none; the image is out-of-distribution (unlike all indexed images)"
    data = answer_json(ask(name), manifests, "embedded", options)
    assert (data["verdict"], data["unlike_anything"]) == (None, True)
