"""Folding of near-duplicates among hits, in both stores, by one network and by several."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from one_answer import answer_of

Fill = Callable[..., str]

BURST = {f"cat/burst_{number:02}.png": [1, 0.2 + 0.0001 * number] for number in range(30)}
OTHERS = {
    "dog/1.png": [1, 0.7],
    "dog/2.png": [1, 0.7001],
    "dog/3.png": [1, 1.2],
    "cat/far.png": [1, 2.5],
    "fish.png": [0.1, 1],
}
IMAGES = {"cat/query.png": [1, 0], **BURST, **OTHERS}
SCENES = {
    "cat/burst_00.png": [f"cat/burst_{number:02}.png" for number in range(1, 30)],
    "dog/1.png": ["dog/2.png"],
    "dog/3.png": [],
    "cat/far.png": [],
    "fish.png": [],
}
"""By how near they are to the query, best first."""


def ask(names: Sequence[str], store: Store, home: Settings, **options: Any) -> Answer:
    """Returns the answer to the query, with near-duplicates folded."""
    with Searcher.opened(*names, store=store, settings=home) as searcher:
        [source] = searcher.find("cat/query.png")
        return answer_of(searcher, source, QueryOptions(**{"without_near_above": 0.999} | options))


def folded(answer: Answer) -> dict[str, list[str]]:
    """Returns path -> the paths that are folded into it, in the order of ranks."""
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    return {hit.payload.path: [near.payload.path for near in hit.near] for hit in answer.hits}


@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize("exact", [False, True])
def test_each_scene_is_a_hit_once(
    both_stores: Store, fill: Fill, home: Settings, distance: Distance, exact: bool
) -> None:
    """Thirty frames of a burst are one hit, which lists the others with scores; further hits are searched."""
    name = fill(both_stores, IMAGES, distance=distance)
    for limit in (1, 3, 5, 10):
        answer = ask([name], both_stores, home, limit=limit, k=1, exact=exact)
        assert folded(answer) == dict(list(SCENES.items())[:limit])
    scores = [answer.hits[0].score, *(near.score for near in answer.hits[0].near)]
    assert scores == sorted(scores, reverse=distance.higher_is_nearer)
    assert len(set(scores)) > 20
    assert answer.hits[0].near[-1].file is not None
    unfolded = ask([name], both_stores, home, limit=10, exact=exact, without_near_above=None)
    assert [hit.payload.path for hit in unfolded.hits] == list(BURST)[:10]
    assert all(not hit.near for hit in unfolded.hits)


def test_the_order_of_folded_hits_is_that_of_the_whole_ranking(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """A copy in another dataset with the same bytes is folded, too."""
    images = {"cat/query.png": [1, 0], "a.png": [1, 0.5], "other:a.png": [1, 0.5], "b.png": [1, 0.9]}
    name = fill(both_stores, images, copies={"a.png": "same", "other:a.png": "same"})
    answer = ask([name], both_stores, home)
    assert [len(hit.near) for hit in answer.hits] == [1, 0]
    [near] = answer.hits[0].near
    assert {answer.hits[0].payload.dataset, near.payload.dataset} == {"data", "other"}
    assert near.score == pytest.approx(answer.hits[0].score)


def test_the_querys_exact_duplicate_is_a_scene_with_its_near_duplicates(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """It is a hit only with `include_self`; then its near-duplicates are folded into it."""
    images = {"cat/query.png": [1, 0], "cat/near.png": [1, 0.01], "cat/b.png": [1, 0.02], "a.png": [0, 1]}
    name = fill(both_stores, images)
    assert folded(ask([name], both_stores, home)) == {"cat/near.png": ["cat/b.png"], "a.png": []}
    own = folded(ask([name], both_stores, home, include_self=True))
    assert own == {"cat/query.png": ["cat/near.png", "cat/b.png"], "a.png": []}


def test_filters_apply_to_hits_and_folded_images(both_stores: Store, fill: Fill, home: Settings) -> None:
    """Images that do not fit the filter are neither hits nor folded."""
    name = fill(both_stores, IMAGES)
    dogs = folded(ask([name], both_stores, home, where=PointFilter(classes=frozenset({"dog"}))))
    assert dogs == {key: value for key, value in SCENES.items() if key.startswith("dog")}
    unclassed = folded(ask([name], both_stores, home, where=PointFilter(classes=frozenset({""}))))
    assert unclassed == {"fish.png": []}
    assert folded(ask([name], both_stores, home, where=PointFilter(dataset="data"))) == SCENES


@pytest.mark.parametrize("rule", VoteRule)
def test_a_burst_has_one_vote(both_stores: Store, fill: Fill, home: Settings, rule: VoteRule) -> None:
    """Thirty frames of a cat outvote two dogs; folded they do not, unless a rule weighs the nearest most."""
    name = fill(both_stores, IMAGES)
    answer = ask([name], both_stores, home, k=3, vote=rule)
    assert answer.verdict is not None
    assert answer.verdict.voters == 3
    nearest_counts = rule in (VoteRule.WEIGHTED, VoteRule.NEAREST_CLASS)
    assert (answer.verdict.class_name == "dog") or nearest_counts
    unfolded = ask([name], both_stores, home, k=3, vote=rule, without_near_above=None)
    assert unfolded.verdict is not None
    assert unfolded.verdict.class_name == "cat"


def test_voters_with_a_class_are_scenes_too(both_stores: Store, fill: Fill, home: Settings) -> None:
    """Images without a class fill the first places, so more hits are searched for, and folded as well."""
    unclassed = {f"{number}.png": [1, 0.05 + 0.02 * number] for number in range(5)}
    name = fill(both_stores, {"cat/query.png": [1, 0], **unclassed, **BURST, **OTHERS})
    answer = ask([name], both_stores, home, k=3, limit=2, without_near_above=0.9999)
    assert answer.verdict is not None
    assert (answer.verdict.class_name, answer.verdict.voters) == ("dog", 3)


@pytest.mark.parametrize("rule", [FusionRule.RRF, FusionRule.ZSCORE])
@pytest.mark.parametrize("vote", [VoteRule.NEARER_TIES, VoteRule.NEAREST_CLASS])
def test_a_near_duplicate_for_one_network_is_one_for_both(
    both_stores: Store, fill: Fill, home: Settings, rule: FusionRule, vote: VoteRule
) -> None:
    """One network folds the burst, the other two dogs; both foldings apply."""
    angles = np.deg2rad(3 * np.arange(len(IMAGES)))
    spread = {key: [np.cos(angle), np.sin(angle)] for key, angle in zip(IMAGES, angles, strict=True)}
    spread["dog/3.png"] = spread["dog/1.png"]
    names = [fill(both_stores, IMAGES), fill(both_stores, spread, backbone="resnet101v2")]
    answer = ask(names, both_stores, home, fusion=rule, vote=vote, k=2)
    found = {frozenset([key, *near]) for key, near in folded(answer).items()}
    assert found == {
        frozenset(BURST),
        frozenset({"dog/1.png", "dog/2.png", "dog/3.png"}),
        frozenset({"cat/far.png"}),
        frozenset({"fish.png"}),
    }
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(near.score <= hit.score for hit in answer.hits for near in hit.near)
    assert all(hit.placings for hit in answer.hits)


def test_folding_searches_beyond_the_candidates(both_stores: Store, fill: Fill, home: Settings) -> None:
    """A burst of 250 frames fills both networks' 100 candidates, and other scenes rank behind it."""
    burst = {f"cat/burst_{number:03}.png": [1, 0.2 + 0.00001 * number] for number in range(250)}
    images = {"cat/query.png": [1, 0], **burst, **OTHERS}
    names = [fill(both_stores, images), fill(both_stores, images, backbone="resnet101v2")]
    answer = ask(names, both_stores, home, limit=4, k=1)
    assert [len(hit.near) for hit in answer.hits] == [249, 1, 0, 0]


def test_folded_answers_have_no_chances(
    both_stores: Store, fill: Fill, home: Settings, calibration: Calibration
) -> None:
    """Calibrations are learned from unfolded answers."""
    name = fill(both_stores, IMAGES)
    with both_stores.open(name) as collection:
        identity, points = collection.manifest.identity.key, collection.count()
        fitting = replace(calibration, identity=identity, distance=Distance.COSINE, points=points)
        collection.record_calibration(fitting)
    plain, answer = (ask([name], both_stores, home, without_near_above=above) for above in (None, 0.999))
    assert plain.unlike_anything is not None
    assert answer.unlike_anything is None
    assert all(hit.chance is None for hit in answer.hits)


def test_folded_hits_are_counted_in_the_table_and_named_in_json(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """The table has a column and JSON has the keys only where near-duplicates are folded."""
    name = fill(both_stores, IMAGES)
    options = QueryOptions(without_near_above=0.999, limit=2)
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        [source] = searcher.find("cat/query.png")
        answer, plain = answer_of(searcher, source, options), answer_of(searcher, source, QueryOptions())
        manifests = [searcher.networks[0].manifest]
    lines = list(answer_lines(answer, manifests, options))
    assert lines[1].split() == ["rank", "similarity", "near", "class", "path"]
    assert lines[2].split()[2:] == ["+29", "cat", "cat/burst_00.png"]
    assert lines[4] == (
        "30 near-duplicates are folded into a nearer neighbour (similarity over 0.999); --json names each"
    )
    found = answer_json(answer, manifests, "embedded", options)["hits"]
    assert [near["path"] for near in found[1]["near"]] == ["dog/2.png"]
    assert found[1]["near"][0].keys() == {"score", "class", "dataset", "path", "file", "id"}
    assert all("near" not in hit for hit in answer_json(plain, manifests, "", QueryOptions())["hits"])
    assert np.isfinite([near["score"] for hit in found for near in hit["near"]]).all()
