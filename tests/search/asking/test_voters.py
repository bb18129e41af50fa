"""Votes of the k nearest with a class, in both stores."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from lookalike_search.evaluation.labelled_vectors import load_labelled
from lookalike_search.evaluation.leave_one_out import leave_one_out
from one_answer import answer_of

Fill = Callable[..., str]

BURIED = {
    "cat/query.png": [1, 0],
    "1.png": [1, 0.01],
    "2.png": [1, 0.02],
    "3.png": [1, 0.03],
    "cat/1.png": [1, 0.04],
    "4.png": [1, 0.05],
    "dog/1.png": [1, 0.5],
    "dog/2.png": [1, 0.6],
    "cat/2.png": [1, 0.7],
}
"""Of the five nearest one has a class, and all four have one that do."""


def ask(names: list[str], path: str, store: Store, home: Settings, **options: Any) -> Answer:
    """Returns an answer of one or several collections."""
    with Searcher.opened(*names, store=store, settings=home) as searcher:
        return answer_of(searcher, path, QueryOptions(**options))


def ask_few(names: list[str], path: str, store: Store, home: Settings, **options: Any) -> Answer:
    """Returns an answer of which each fused collection has five candidates."""
    with Searcher.opened(*names, store=store, settings=home) as opened:
        searcher = Searcher(opened.networks, candidates=5)
        return answer_of(searcher, path, QueryOptions(**options))


def mostly_unlabelled() -> Mapping[str, Any]:
    """Returns 150 images in two clouds, four in five without a class."""
    random = np.random.default_rng(0)
    vectors = random.normal([3, 0, 0, 0], size=(150, 4))
    folders = ["cat/" if each[1] + each[2] > 0 else "dog/" for each in vectors]
    return {
        f"{folder if number % 5 == 0 else ''}{number}.png": vector
        for number, (folder, vector) in enumerate(zip(folders, vectors, strict=True))
    }


@pytest.mark.slow  # asks with every image of a collection, by every rule
@pytest.mark.parametrize("rule", VoteRule)
@pytest.mark.parametrize("distance", Distance)
def test_a_query_has_the_verdict_that_an_evaluation_measures(
    both_stores: Store, fill: Fill, home: Settings, rule: VoteRule, distance: Distance
) -> None:
    """Verdicts and shares are equal for each image; an evaluation leaves out images without a class."""
    name = fill(both_stores, mostly_unlabelled(), distance=distance)
    with both_stores.open(name) as collection:
        labelled = load_labelled(collection)
    results = leave_one_out(labelled.vectors, k=5)
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        for row, payload in enumerate(labelled.payloads):
            [source] = searcher.find(payload.path)
            verdict = answer_of(searcher, source, QueryOptions(vote=rule, k=5, exact=True)).verdict
            assert verdict is not None
            assert verdict.class_name == labelled.vectors.names[results.verdicts[rule][row]]
            assert verdict.share == pytest.approx(results.shares[rule][row], abs=1e-4)
            assert verdict.voters == 5


@pytest.mark.parametrize("fusion", [None, FusionRule.RRF, FusionRule.ZSCORE])
@pytest.mark.parametrize("rule", [VoteRule.MAJORITY, VoteRule.NEARER_TIES])
def test_images_without_a_class_do_not_use_up_votes(
    both_stores: Store,
    fill: Fill,
    home: Settings,
    fusion: FusionRule | None,
    rule: VoteRule,
) -> None:
    """The nearest cat and the next dogs vote; the neighbours shown include images without a class."""
    names = [fill(both_stores, BURIED)]
    if fusion:
        names.append(fill(both_stores, BURIED, backbone="resnet101v2", distance=Distance.EUCLID))
    options = {"fusion": fusion} if fusion else {}
    answer = ask_few(names, "cat/query.png", both_stores, home, vote=rule, k=3, limit=5, **options)
    assert [hit.payload.path for hit in answer.hits] == ["1.png", "2.png", "3.png", "cat/1.png", "4.png"]
    assert answer.verdict is not None
    assert (answer.verdict.class_name, answer.verdict.voters) == ("dog", 3)
    assert answer.verdict.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("fused", [False, True])
def test_nearest_class_vote_skips_images_without_a_class(
    both_stores: Store, fill: Fill, home: Settings, fused: bool
) -> None:
    """Cats at 0.04 and 0.7 against dogs at 0.5 and 0.6; one of two voters is a cat."""
    names = [fill(both_stores, BURIED, distance=Distance.EUCLID)]
    if fused:
        names.append(fill(both_stores, BURIED, backbone="resnet101v2", distance=Distance.EUCLID))
    found = ask_few(names, "cat/query.png", both_stores, home, vote=VoteRule.NEAREST_CLASS, k=2, limit=2)
    assert found.verdict is not None
    assert (found.verdict.class_name, found.verdict.voters) == ("cat", 2)
    assert found.verdict.share == 1 / 2


def test_an_answer_shows_the_true_number_of_voters(both_stores: Store, fill: Fill, home: Settings) -> None:
    """The table shows it, and JSON has it beside `k`."""
    name = fill(both_stores, {key: BURIED[key] for key in ("cat/query.png", "1.png", "cat/1.png")})
    manifests, options = [both_stores.manifest(name)], QueryOptions()
    for path, votes in (("cat/query.png", "1 neighbour's vote"), ("1.png", "2 neighbours' votes")):
        answer = ask([name], path, both_stores, home)
        *_, last = answer_lines(answer, manifests, options)
        assert last == f"verdict: cat, 100% of {votes} (nearer-ties)"
        said = answer_json(answer, manifests, "embedded", options)["verdict"]
        assert (said["k"], said["voters"]) == (10, int(votes[0]))


def test_a_verdict_by_fewer_voters_than_calibrated_has_no_chance(
    both_stores: Store, fill: Fill, home: Settings, calibration: Calibration
) -> None:
    """Four voters do not fit a calibration by ten, but fit one by four, whatever `k` is."""
    name = fill(both_stores, BURIED)
    record = replace(
        calibration,
        identity=both_stores.manifest(name).identity.key,
        distance=Distance.COSINE,
        points=len(BURIED),
        threshold=replace(calibration.threshold, nearness=0.0),
    )
    said = {}
    for k in (10, 4):
        with both_stores.open(name) as collection:
            collection.record_calibration(replace(record, k=k))
        said[k] = ask([name], "cat/query.png", both_stores, home, vote=VoteRule.MAJORITY).verdict_chance
    assert said[10] is None
    assert said[4] is not None
