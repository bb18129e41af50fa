"""Pages of neighbours, and cut-offs by score, in both stores."""

from collections.abc import Callable
from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from one_answer import answer_of
from refusals import refuses

Fill = Callable[..., str]

QUERY = "cat/000.png"
COUNT = 130
"""More than the candidates of a fused search."""


def random_images(seed: int) -> dict[str, list[float]]:
    """Returns random images of two classes; each third one is as near as the one before it."""
    vectors = np.random.default_rng(seed).normal(size=(COUNT, 4)).astype(np.float32)
    vectors[2::3] = vectors[1::3][: len(vectors[2::3])]
    return {
        f"{'dog' if number % 2 else 'cat'}/{number:03}.png": vector.tolist()
        for number, vector in enumerate(vectors)
    }


@pytest.fixture
def names(both_stores: Store, fill: Fill) -> list[str]:
    """Returns a cosine and a Euclidean collection; two images have the bytes of the query."""
    copies = {QUERY: "same", "cat/004.png": "same", "dog/051.png": "same"}
    return [
        fill(both_stores, random_images(1), backbone="resnet101v2", copies=copies),
        fill(both_stores, random_images(2), distance=Distance.EUCLID, copies=copies),
    ]


@pytest.mark.parametrize("asked", [[0], [1], [0, 1]], ids=["cosine", "euclid", "fused"])
@pytest.mark.parametrize("size", [10, 33])
def test_pages_partition_the_ranking(
    both_stores: Store, home: Settings, names: list[str], asked: list[int], size: int
) -> None:
    """Ranks go on without gap or repeat to the last image; the query's exact duplicates are on no page."""
    chosen = [names[each] for each in asked]
    with Searcher.opened(*chosen, store=both_stores, settings=home) as searcher:
        whole = answer_of(searcher, QUERY, QueryOptions(limit=1000))
        pages = [
            answer_of(searcher, QUERY, QueryOptions(limit=size, offset=start))
            for start in range(0, COUNT + size, size)
        ]
    assert [len(page.hits) for page in pages[:3]] == [size] * 3
    assert pages[-1].hits == []
    together = [hit for page in pages for hit in page.hits]
    assert [hit.rank for hit in together] == list(range(1, COUNT - 2))
    assert [hit.payload.path for hit in together] == [hit.payload.path for hit in whole.hits]
    assert len({hit.payload.path for hit in together}) == COUNT - 3
    assert {page.verdict for page in pages} == {whole.verdict}


@pytest.fixture
def ask(both_stores: Store, fill: Fill, home: Settings) -> Callable[..., Answer]:
    """Returns an answer from images at 0, 20, 40, 60 and 80 degrees: `ask(distance, **options)`."""
    images = {
        f"{'cat' if angle < 30 else 'dog'}/{angle}.png": [cos(radians(angle)), sin(radians(angle))]
        for angle in (0, 20, 40, 60, 80)
    }

    def asked(distance: Distance, **options: object) -> Answer:
        name = fill(both_stores, images, distance=distance)
        with Searcher.opened(name, store=both_stores, settings=home) as searcher:
            [source] = searcher.find("cat/0.png")
            return answer_of(searcher, source, QueryOptions(**options))  # type: ignore[arg-type]

    return asked


@pytest.mark.parametrize(
    ("distance", "cut_off"),
    [(Distance.COSINE, {"min_score": 0.7}), (Distance.EUCLID, {"max_distance": 0.7})],
)
def test_neighbours_beyond_the_cut_off_are_not_shown_and_do_not_vote(
    ask: Callable[..., Answer], distance: Distance, cut_off: dict[str, float]
) -> None:
    """The cosine of 40 degrees is 0.77, that of 60 degrees 0.5; the distances are 0.68 and 1."""
    everything = ask(distance)
    assert everything.verdict is not None
    assert everything.verdict.class_name == "dog"
    answer = ask(distance, **cut_off)
    assert [hit.payload.path for hit in answer.hits] == ["cat/20.png", "dog/40.png"]
    assert answer.verdict is not None
    assert (answer.verdict.class_name, answer.verdict.voters) == ("cat", 2)


def test_a_cut_off_may_leave_no_neighbours(ask: Callable[..., Answer]) -> None:
    """Then there is no verdict, either."""
    answer = ask(Distance.COSINE, min_score=0.99)
    assert (answer.hits, answer.verdict) == ([], None)


def test_a_page_counts_from_the_nearest_of_all(ask: Callable[..., Answer]) -> None:
    """The offset counts all neighbours; the cut-off shortens the last page."""
    answer = ask(Distance.COSINE, min_score=0.4, offset=1, limit=5)
    assert [(hit.rank, hit.payload.path) for hit in answer.hits] == [(2, "dog/40.png"), (3, "dog/60.png")]


@pytest.mark.parametrize(
    ("distance", "given", "argument", "instead"),
    [
        (Distance.EUCLID, {"min_score": 0.5}, Argument.MIN_SCORE, Argument.MAX_DISTANCE),
        (Distance.COSINE, {"max_distance": 0.5}, Argument.MAX_DISTANCE, Argument.MIN_SCORE),
    ],
)
def test_a_cut_off_of_the_other_metric_is_refused(
    ask: Callable[..., Answer],
    distance: Distance,
    given: dict[str, float],
    argument: Argument,
    instead: Argument,
) -> None:
    """The hint names the argument to use instead."""
    with pytest.raises(UsageError, match=r"the scores of .* are") as refused:
        ask(distance, **given)
    assert refused.value.argument is argument
    assert refused.value.hint == Hint(Action.USE, {instead: None})


def test_a_cut_off_of_fused_scores_is_refused(both_stores: Store, home: Settings, names: list[str]) -> None:
    """A fused score is neither a similarity nor a distance."""
    with (
        Searcher.opened(*names, store=both_stores, settings=home) as searcher,
        refuses(UsageError, match="--min-score: a fused score is neither a similarity nor a distance"),
    ):
        searcher.resolve_options(QueryOptions(min_score=0.5))


@pytest.mark.parametrize(
    ("distance", "options", "counts", "words"),
    [
        (Distance.COSINE, {"offset": 500}, (5, 0), "there are 5 neighbours, and all of them are passed over"),
        (Distance.COSINE, {"min_score": 0.999}, (0, 5), "none reaches 0.999; the nearest has 0.9"),
        (Distance.COSINE, {"min_score": 0.999, "offset": 3}, (3, 2), "none behind the first 3 reaches 0.999"),
        (Distance.EUCLID, {"max_distance": 0.001}, (0, 5), "none is within 0.001; the nearest has 0."),
        (Distance.COSINE, {"where": PointFilter(classes=frozenset({"dog"}))}, (0, 0), "no image fits"),
    ],
)
def test_an_answer_without_neighbours_tells_why(
    both_stores: Store,
    fill: Fill,
    home: Settings,
    distance: Distance,
    options: dict[str, Any],
    counts: tuple[int, int],
    words: str,
) -> None:
    """The offset passed over all, none is near enough (with the nearest score), or there are none."""
    around = {f"cat/{n}.png": [cos(radians(10 * n)), sin(radians(10 * n))] for n in range(6)}
    name = fill(
        both_stores,
        {**around, "dog/1.png": around["cat/0.png"]},
        distance=distance,
        copies={"cat/0.png": "same", "dog/1.png": "same"},
    )
    asked = QueryOptions(**options)
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        [source] = searcher.find("cat/0.png")
        answer = answer_of(searcher, source, asked)
        [line] = [
            each for each in answer_lines(answer, [searcher.networks[0].manifest], asked) if words in each
        ]
    assert answer.hits == []
    assert (answer.passed_over, answer.cut_off) == counts
    assert line.endswith("; a smaller --offset shows them") == (counts == (5, 0))
