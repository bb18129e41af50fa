"""Evaluations of settings one after the other, in both stores, and their comparisons."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.progress import Bar, shown_by
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.runs import EvaluationOptions, Setting, evaluate_settings
from one_answer import answer_of
from sole_bar import SoleBar

Fill = Callable[..., str]
SETTINGS = Settings(home=Path("never-read"), provider="cpu")
CLASSES = ("ant", "bee", "cat")


def images(count: int, *, dimension: int, seed: int, first: int = 0) -> dict[str, Any]:
    """Makes clouds of three classes."""
    random = np.random.default_rng(seed)
    centres = np.abs(random.normal(size=(3, dimension)))
    vectors = {}
    for number in range(first, first + count):
        noise = np.abs(random.normal(size=dimension))
        vectors[f"{CLASSES[number % 3]}/{number}.png"] = centres[number % 3] + noise
    return vectors


def run(store: Store, plan: Plan, **options: Any) -> list[Setting]:
    """Evaluates all settings of a plan."""
    return list(evaluate_settings(store, plan, EvaluationOptions(**options), settings=SETTINGS))


def compared(setting: Setting) -> list[str]:
    """Returns the names that a setting is compared with."""
    return list(dict.fromkeys(each.one for each in setting.differences))


def pair(store: Store, fill: Fill, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Fills a cosine collection for each network and returns their names."""
    return [fill(store, one, backbone="resnet101v2"), fill(store, other, backbone="vgg16")]


def test_a_fusion_is_compared_with_its_networks_and_other_fusions_of_them(
    both_stores: Store, fill: Fill
) -> None:
    """A collection is compared with all collections before it."""
    names = pair(both_stores, fill, images(30, dimension=6, seed=1), images(30, dimension=3, seed=2))
    names.append(fill(both_stores, images(30, dimension=3, seed=3), distance=Distance.EUCLID))
    plan = Plan(collections=names, pairs=[names[:2]], rules=list(FusionRule))
    settings = run(both_stores, plan)
    fusions = [f"{names[0]} + {names[1]} ({rule})" for rule in ("rrf", "zscore", "calibrated")]
    assert [setting.evaluation.collection for setting in settings] == [*names, *fusions]
    assert [compared(setting) for setting in settings] == [
        [],
        names[:1],
        names[:2],
        names[:2],
        [*names[:2], fusions[0]],
        [*names[:2], *fusions[:2]],
    ]
    assert [setting.evaluation.fusion is not None for setting in settings] == [False] * 3 + [True] * 3


def test_a_fusion_is_compared_on_the_shared_images(both_stores: Store, fill: Fill) -> None:
    """Images in only one collection are counted, and are no neighbours in the comparison."""
    one = images(36, dimension=6, seed=1)
    shared = dict(list(one.items())[6:])
    other = {key: images(36, dimension=3, seed=2)[key] for key in shared} | {"cat/other.png": [1, 2, 3]}
    names = pair(both_stores, fill, one, other)
    first, second, fused = run(both_stores, Plan(collections=names, pairs=[names], rules=[FusionRule.RRF]))
    assert [len(each.evaluation.images.payloads) for each in (first, second, fused)] == [36, 31, 30]
    assert fused.evaluation.fusion is not None
    assert fused.evaluation.fusion.only_in_some == 7
    alone = fill(both_stores, shared)
    [expected] = run(both_stores, Plan(collections=[alone]))
    differences = [each for each in fused.differences if each.one == names[0]]
    assert len(differences) == 3
    for each in differences:
        gain = fused.evaluation.values[each.figure] - expected.evaluation.values[each.figure]
        assert each.difference.value == pytest.approx(np.nanmean(gain), abs=1e-9)
        assert (each.images, each.is_partial) == (30, True)


def test_evaluated_neighbours_and_verdicts_are_those_of_queries(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """The ten neighbours of every image and the verdict by every rule are equal."""
    names = pair(both_stores, fill, images(60, dimension=6, seed=1), images(60, dimension=4, seed=2))
    for rule in (FusionRule.RRF, FusionRule.ZSCORE):
        *_, setting = run(both_stores, Plan(collections=names, pairs=[names], rules=[rule]))
        found = setting.evaluation
        with Searcher.opened(*names, store=both_stores, settings=home) as searcher:
            for vote in VoteRule:
                options = QueryOptions(fusion=rule, vote=vote, exact=True)
                for row, payload in list(enumerate(found.images.payloads))[::7]:
                    answer = answer_of(searcher, payload.path, options)
                    ten = [found.images.payloads[other].path for other in found.results.neighbours[row]]
                    assert [hit.payload.path for hit in answer.hits] == ten
                    scores = [hit.score for hit in answer.hits]
                    np.testing.assert_allclose(scores, found.results.scores[row], atol=1e-4)
                    assert answer.verdict is not None
                    verdict = found.results.verdicts[vote][row]
                    assert answer.verdict.class_name == found.images.vectors.names[verdict]


def test_a_pair_sharing_too_few_images_fails_or_is_left_out(both_stores: Store, fill: Fill) -> None:
    """The plan decides which; earlier settings are returned in either case."""
    names = pair(both_stores, fill, images(9, dimension=3, seed=1), images(9, dimension=3, seed=1, first=9))
    plan = Plan(collections=names, pairs=[names], rules=[FusionRule.RRF])
    with pytest.raises(UsageError, match="share 0 images"):
        run(both_stores, plan)
    lenient = Plan(collections=names, pairs=[names], rules=[FusionRule.RRF], pairs_may_fail=True)
    assert [setting.evaluation.collection for setting in run(both_stores, lenient)] == names


def overlap(store: Store, name: str, **options: Any) -> Any:
    """Evaluates the index of a collection."""
    [setting] = run(store, Plan(collections=[name]), indexed=True, **options)
    assert setting.evaluation.indexed is not None
    return setting


@pytest.mark.parametrize("distance", Distance)
def test_a_collection_without_an_index_has_full_recall(
    both_stores: Store, fill: Fill, distance: Distance
) -> None:
    """Exact duplicates, images without a class and other datasets are not among the ten."""
    all_images = images(40, dimension=5, seed=1)
    copies = {f"ant/copy {number}.png": all_images["ant/0.png"] for number in range(15)}
    near = {f"{number}.png": np.asarray(all_images["bee/1.png"]) + 0.01 * number for number in range(25)}
    elsewhere = {f"other:cat/{number}.png": vector for number, vector in enumerate(near.values())}
    name = fill(
        both_stores,
        {**all_images, **copies, **near, **elsewhere},
        distance=distance,
        copies=dict.fromkeys([*copies, "ant/0.png"], "the same"),
    )
    setting = overlap(both_stores, name, where=PointFilter(dataset="data"))
    found = setting.evaluation.indexed
    assert (found.covered, found.points) == (0, 105)
    assert found.overlap.value == found.complete.value == 1
    for cutoff in (1, 5, 10):
        figure = f"precision_at_{cutoff}"
        assert found.figures[figure] == setting.evaluation.figures[figure]


def test_left_out_near_duplicates_take_no_places_among_the_ten(both_stores: Store, fill: Fill) -> None:
    """Far more than ten of them are nearer than all other images."""
    near = {f"ant/near {number}.png": [5, 1 + number / 1000, 1] for number in range(30)}
    name = fill(both_stores, {**near, **images(40, dimension=3, seed=1)})
    found = overlap(both_stores, name, without_near=True, near_above=0.999).evaluation.indexed
    assert found.overlap.value == 1


def test_recall_of_fewer_than_ten_neighbours_is_of_those(both_stores: Store, fill: Fill) -> None:
    """The collection has too few images for ten."""
    name = fill(both_stores, images(4, dimension=3, seed=1))
    found = overlap(both_stores, name).evaluation.indexed
    assert found.overlap.value == 1
    assert found.figures["precision_at_10"].value <= 0.3


class Counting(SoleBar):
    """Records the calls of progress bars."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self._title = ""

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Yields one bar at a time."""
        assert unit == "images"
        self._title, self.totals[title], self.done[title] = title, total or 0, 0
        return super().__call__(title, unit=unit, total=total)

    def advance(self, done: int, **_: int) -> None:
        """Counts for the current bar."""
        self.done[self._title] += done


def test_every_progress_bar_reaches_its_total(both_stores: Store, fill: Fill) -> None:
    """There is a bar for each collection, each index, and each fusion."""
    names = pair(both_stores, fill, images(12, dimension=3, seed=1), images(12, dimension=3, seed=2))
    plan = Plan(collections=names, pairs=[names], rules=list(FusionRule))
    bars = Counting()
    with shown_by(bars):
        list(evaluate_settings(both_stores, plan, EvaluationOptions(indexed=True), settings=SETTINGS))
    assert len(bars.done) == 2 + 2 + 3
    assert bars.done == bars.totals
