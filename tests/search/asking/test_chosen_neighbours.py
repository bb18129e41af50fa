"""Chosen neighbours of answers and of all images, in both stores."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.calibration_curves import Calibration, Curve, Threshold
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.analysis.all_neighbours import find_all_chosen
from lookalike_search.asking.answers import Answer, QueryOptions, why_empty
from lookalike_search.asking.choice import HitChoice, OnePer, group_of
from lookalike_search.asking.chosen_neighbours import count_classes
from lookalike_search.asking.query import Searcher
from one_answer import answer_of
from refusals import refuses

Fill = Callable[..., str]

QUERY = "cat/00.png"
COUNT = 40


def random_images(seed: int) -> dict[str, list[float]]:
    """Returns random images of three classes in five folders, and some without a class; some are equal."""
    vectors = np.random.default_rng(seed).normal(size=(COUNT, 4)).astype(np.float32)
    vectors[2::5] = vectors[1::5]
    folders = ("cat/", "dog/", "dog/old/", "owl/", "")
    return {f"{folders[n % 5]}{n:02}.png": vector.tolist() for n, vector in enumerate(vectors)}


@pytest.fixture
def names(both_stores: Store, fill: Fill) -> list[str]:
    """Returns a cosine and a Euclidean collection."""
    return [
        fill(both_stores, random_images(1), backbone="resnet101v2"),
        fill(both_stores, random_images(2), distance=Distance.EUCLID),
    ]


def paths(answer: Answer) -> list[str]:
    """Returns the paths of the neighbours in their order."""
    return [hit.payload.path for hit in answer.hits]


@pytest.mark.parametrize("asked", [[0], [1], [0, 1]], ids=["cosine", "euclid", "fused"])
def test_chosen_pages_fit_together_and_keep_scores_and_verdict(
    both_stores: Store, home: Settings, names: list[str], asked: list[int]
) -> None:
    """Ranks count on, scores are those of the plain answer, and the same neighbours vote."""
    chosen = [names[each] for each in asked]
    with Searcher.opened(*chosen, store=both_stores, settings=home) as searcher:

        def ask(**options: Any) -> Answer:
            return answer_of(searcher, QUERY, QueryOptions(**options))

        plain = ask(limit=COUNT)
        scores = {hit.payload.path: hit.score for hit in plain.hits}
        assert paths(ask(limit=COUNT, choice=HitChoice(diverse=0.0))) == paths(plain)
        for choice in (
            HitChoice(diverse=0.6),
            HitChoice(one_per=OnePer.FOLDER),
            HitChoice(one_per=OnePer.CLASS, diverse=0.5),
        ):
            whole = ask(limit=COUNT, choice=choice)
            pages = [ask(limit=3, offset=start, choice=choice) for start in range(0, len(whole.hits), 3)]
            together = [hit for page in pages for hit in page.hits]
            assert [hit.payload.path for hit in together] == paths(whole)
            assert [hit.rank for hit in together] == list(range(1, len(together) + 1))
            assert {path: score for path, score in scores.items() if path in paths(whole)} == pytest.approx(
                {hit.payload.path: hit.score for hit in together}
            )
            assert {page.verdict for page in pages} == {plain.verdict}
            if choice.one_per is None:
                assert sorted(paths(whole)) == sorted(paths(plain))
                assert paths(whole) != paths(plain)
                continue
            groups = [group_of(hit.payload, choice.one_per) for hit in plain.hits]
            best = [path for n, path in enumerate(paths(plain)) if groups[n] not in groups[:n]]
            assert (paths(whole) if not choice.diverse else sorted(paths(whole))) == (
                best if not choice.diverse else sorted(best)
            )


def test_a_cut_off_comes_before_the_choice(both_stores: Store, home: Settings, names: list[str]) -> None:
    """The best of a folder is shown only if it is near enough; the others are counted."""
    with Searcher.opened(names[0], store=both_stores, settings=home) as searcher:
        one_per = HitChoice(one_per=OnePer.FOLDER, diverse=0.5)
        whole = answer_of(searcher, QUERY, QueryOptions(choice=one_per))
        third = sorted((hit.score for hit in whole.hits), reverse=True)[2]
        answer = answer_of(searcher, QUERY, QueryOptions(choice=one_per, min_score=third))
    assert len(whole.hits) == 5
    assert {hit.payload.path for hit in answer.hits} == {
        hit.payload.path for hit in whole.hits if hit.score >= third
    }
    assert (len(answer.hits), answer.cut_off) == (3, 2)


@pytest.mark.parametrize("asked", [[0], [0, 1]], ids=["cosine", "fused"])
@pytest.mark.parametrize(
    "where",
    [
        make_filter(classes=["cat", "dog"]),
        make_filter(classes=["owl", ""]),
        make_filter(not_classes=["cat"], folders=["dog", "owl"]),
        make_filter(classes=["cat", "owl"], folders=["dog"]),
    ],
)
def test_a_choice_is_made_of_what_a_filter_leaves(
    both_stores: Store, home: Settings, names: list[str], asked: list[int], where: PointFilter
) -> None:
    """Of few images, or none, too."""
    with Searcher.opened(*(names[each] for each in asked), store=both_stores, settings=home) as searcher:

        def ask(choice: HitChoice) -> list[Payload]:
            answer = answer_of(searcher, QUERY, QueryOptions(limit=COUNT, where=where, choice=choice))
            return [hit.payload for hit in answer.hits]

        plain = ask(HitChoice())
        assert sorted(ask(HitChoice(diverse=0.5)), key=plain.index) == plain
        for one_per in OnePer:
            groups = [group_of(payload, one_per) for payload in plain]
            best = [payload for n, payload in enumerate(plain) if groups[n] not in groups[:n]]
            assert ask(HitChoice(one_per=one_per)) == best


@pytest.mark.parametrize(
    ("asked", "where", "count"),
    [
        ([0], EVERYTHING, 3 + 8),
        ([0, 1], EVERYTHING, 3 + 2 * 8),  # others may lack a class in each
        ([0], make_filter(classes=["cat", "dog"]), 2),
        ([0, 1], make_filter(classes=["cat", "dog"]), 2),
        ([0], make_filter(classes=["cat", ""]), 1 + 8),
        ([0], make_filter(not_classes=["cat", ""]), 2),
    ],
)
def test_as_many_classes_are_searched_for_as_can_be_found(
    both_stores: Store, names: list[str], asked: list[int], where: PointFilter, count: int
) -> None:
    """More would be searched for among all images."""
    with ExitStack() as stack:
        opened = [stack.enter_context(both_stores.open(names[each])) for each in asked]
        assert count_classes(opened, where) == count


@pytest.fixture
def calibrated(both_stores: Store, fill: Fill, calibration: Calibration) -> Callable[..., str]:
    """Makes a collection whose calibration gives the similarity as the chance of the three nearest."""

    def make(**changes: Any) -> str:
        images = {"cat/0.png": 0.0, "1.png": 0.1, "cat/2.png": 0.4, "dog/3.png": 0.6, "cat/4.png": 1.3}
        vectors = {path: [np.cos(angle), np.sin(angle)] for path, angle in images.items()}
        name = fill(both_stores, vectors)
        line = Curve(knots=(0.0, 1.0), chances=(0.0, 1.0))
        record = replace(
            calibration,
            identity=both_stores.manifest(name).identity.key,
            points=len(images),
            k=3,
            neighbours=line,
            threshold=Threshold(nearness=0.5, refused=0.01, caught=0.8),
        )
        with both_stores.open(name) as collection:
            collection.record_calibration(replace(record, **changes))
        return name

    return make


@pytest.mark.parametrize(
    ("chance", "options", "shown", "cut_off"),
    [
        (0.9, {}, ["cat/2.png"], 3),
        (0.8, {}, ["cat/2.png", "dog/3.png"], 2),
        (0.8, {"limit": 1}, ["cat/2.png"], 0),
        (0.8, {"limit": 1, "offset": 1}, ["dog/3.png"], 0),
        (0.8, {"limit": 1, "offset": 2}, [], 1),
        (0.001, {}, ["cat/2.png", "dog/3.png", "cat/4.png"], 1),
        (0.8, {"min_score": 0.9}, ["cat/2.png"], 3),
    ],
)
def test_only_likely_neighbours_are_shown(
    both_stores: Store,
    home: Settings,
    calibrated: Callable[..., str],
    chance: float,
    options: dict[str, Any],
    shown: list[str],
    cut_off: int,
) -> None:
    """Chances are 0.92, 0.83 and 0.27; an image without a class has none, and others take its place."""
    asked = QueryOptions(choice=HitChoice(min_chance=chance), **options)
    with Searcher.opened(calibrated(), store=both_stores, settings=home) as searcher:
        answer = answer_of(searcher, "cat/0.png", asked)
    assert paths(answer) == shown
    assert answer.cut_off == cut_off
    assert answer.verdict is not None
    assert answer.verdict.voters == (3 if "min_score" not in options else 1)


def test_an_answer_without_likely_neighbours_says_why(
    both_stores: Store, home: Settings, calibrated: Callable[..., str]
) -> None:
    """The chance of the nearest is named, where it is known."""
    asked = QueryOptions(choice=HitChoice(min_chance=0.95))
    with Searcher.opened(calibrated(), store=both_stores, settings=home) as searcher:
        answer = answer_of(searcher, "cat/0.png", asked)
        later = answer_of(searcher, "cat/0.png", replace(asked, offset=1))
    assert why_empty(answer, asked) == "none has a chance of 0.95; that of the nearest is not known"
    assert (
        why_empty(later, asked)
        == "none behind the first 1 has a chance of 0.95; that of the nearest is ≈ 92 %"
    )
    assert (answer.cut_off, later.cut_off, later.passed_over) == (4, 3, 1)


def test_chances_need_a_calibration(
    both_stores: Store, home: Settings, names: list[str], calibrated: Callable[..., str]
) -> None:
    """The remedy is to calibrate; several collections, examples and filters have none."""
    likely = QueryOptions(choice=HitChoice(min_chance=0.8))
    stale = calibrated(points=3)
    for opened, action, words in (
        (names[0], Action.CALIBRATE, "is not calibrated"),
        (stale, Action.RECALIBRATE, "is stale"),
    ):
        with (
            Searcher.opened(opened, store=both_stores, settings=home) as searcher,
            pytest.raises(UsageError, match=words) as refused,
        ):
            answer_of(searcher, QUERY, likely)
        assert refused.value.hint == Hint(action, {Argument.COLLECTION: opened})
    with (
        Searcher.opened(*names, store=both_stores, settings=home) as searcher,
        refuses(UsageError, match="--min-chance: chances are learned for each collection alone"),
    ):
        answer_of(searcher, QUERY, likely)
    with Searcher.opened(names[0], store=both_stores, settings=home) as searcher:
        for options, what in (
            ({"where": PointFilter(classes=frozenset({"cat"}))}, "within a part of one; leave --class out"),
            ({"where": PointFilter(dataset="data")}, "within a part of one; leave --dataset out"),
            ({"where": PointFilter(min_width=3)}, "within a part of one; leave --min-width out"),
            ({"include_self": True}, "with exact duplicates of the query; leave --include-self out"),
            ({"without_near_above": 0.99}, "without near-duplicates; leave --without-near out"),
        ):
            with refuses(UsageError, match=what):
                answer_of(searcher, QUERY, replace(likely, **options))
        with refuses(UsageError, match="for several examples; leave --and and --not out"):
            answer_of(searcher, QUERY, likely, positives=["dog/01.png"])


def test_one_hit_of_each_class_is_not_for_a_single_class(
    both_stores: Store, home: Settings, names: list[str]
) -> None:
    """Of a query and of all neighbours; one of each folder is."""
    one_per = HitChoice(one_per=OnePer.CLASS)
    with (
        Searcher.opened(names[0], store=both_stores, settings=home) as searcher,
        refuses(UsageError, match="leave one of --one-per or --class out"),
    ):
        of_cats = QueryOptions(where=PointFilter(classes=frozenset({"cat"})), choice=one_per)
        answer_of(searcher, QUERY, of_cats)
    with Searcher.opened(names[0], store=both_stores, settings=home) as searcher:
        options = QueryOptions(
            where=PointFilter(classes=frozenset({"dog"})), choice=HitChoice(one_per=OnePer.FOLDER)
        )
        answer = answer_of(searcher, QUERY, options)
    assert {group_of(hit.payload, OnePer.FOLDER) for hit in answer.hits} == {
        ("data", "dog"),
        ("data", "dog/old"),
    }


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("which", [0, 1], ids=["cosine", "euclid"])
def test_all_neighbours_are_chosen_as_those_of_a_query(
    both_stores: Store, home: Settings, names: list[str], which: int, exact: bool
) -> None:
    """By brute force and by the store, for each image."""
    choices = (HitChoice(diverse=0.5), HitChoice(one_per=OnePer.CLASS), HitChoice(one_per=OnePer.FOLDER))
    with Searcher.opened(names[which], store=both_stores, settings=home) as searcher:
        for choice in choices:
            all_found = find_all_chosen(
                searcher.networks[0].collection, limit=4, above=None, choice=choice, exact=exact
            )
            for found in list(all_found)[::9]:
                asked = QueryOptions(limit=4, choice=choice)
                answer = answer_of(searcher, found.payload.id, asked)
                assert [scene.hit.score for scene in found.scenes] == pytest.approx(
                    [hit.score for hit in answer.hits], abs=1e-5
                )
                assert found.cut_off == 0


def test_unlikely_neighbours_of_all_images_are_counted(
    both_stores: Store, home: Settings, calibrated: Callable[..., str]
) -> None:
    """As in the answer of each; without a calibration they are refused at once."""
    choice, name = HitChoice(min_chance=0.8), calibrated()
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        collection = searcher.networks[0].collection
        for found in find_all_chosen(collection, limit=3, above=None, choice=choice):
            answer = answer_of(searcher, found.payload.id, QueryOptions(limit=3, choice=choice))
            assert [scene.hit.payload.path for scene in found.scenes] == paths(answer)
            assert found.cut_off == answer.cut_off
        with refuses(UsageError, match="there is none without near-duplicates"):
            find_all_chosen(collection, limit=3, above=0.99, choice=choice)
