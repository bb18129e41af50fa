"""Fused searches of two collections, in both stores, without a model: all queries are indexed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ImageError, UsageError
from lookalike_core.models.calibration_curves import Calibration, Curve
from lookalike_core.neighbours.rank_fusion import CANDIDATES, FusionRule, fuse_similarities
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter, point_id
from lookalike_core.stores.protocol import Collection, Store
from lookalike_search.asking.answers import Answer, Neighbour, QueryOptions
from lookalike_search.asking.query import Searcher
from one_answer import answer_of
from refusals import refuses

Fill = Callable[..., str]
Vectors = Mapping[str, Any]

ONE = {
    "cat/1.png": [1, 0, 0],
    "cat/2.png": [0.9, 0.1, 0],
    "cat/3.png": [0.7, 0.3, 0.1],
    "dog/1.png": [0.5, 0.5, 0.2],
    "dog/2.png": [0.1, 0.9, 0.4],
    "dog/3.png": [0, 0, 1],
}
OTHER = {
    "cat/1.png": [5, 5],
    "cat/2.png": [1, 5],
    "cat/3.png": [5, 4],
    "dog/1.png": [9, 4],
    "dog/2.png": [5, 9],
    "dog/3.png": [4, 3],
}


@pytest.fixture
def ask(both_stores: Store, fill: Fill, home: Settings) -> Callable[..., Answer]:
    """Returns an answer of a cosine and a Euclidean collection: `ask(name, one=..., other=..., ...)`."""

    def asked(
        name: str,
        *,
        one: Vectors = ONE,
        other: Vectors = OTHER,
        candidates: int = CANDIDATES,
        **options: Any,
    ) -> Answer:
        names = [
            fill(both_stores, one, backbone="resnet101v2"),
            fill(both_stores, other, distance=Distance.EUCLID),
        ]
        with opened(names, both_stores, home) as one_searcher:
            searcher = Searcher(one_searcher.networks, candidates=candidates)
            return answer_of(searcher, name, QueryOptions(**options))

    return asked


@contextmanager
def opened(names: list[str], store: Store, home: Settings) -> Iterator[Searcher]:
    """Yields a searcher over several collections."""
    with Searcher.opened(*names, store=store, settings=home) as searcher:
        yield searcher


def nearness(query: str, one: Vectors, other: Vectors) -> tuple[list[str], list[np.ndarray]]:
    """Returns both similarities of every image but the query, by plain numpy; NaN where it is missing."""
    keys = [key for key in dict.fromkeys([*one, *other]) if key != query]

    def cosine(a: Any, b: Any) -> float:
        return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))

    return keys, [
        np.array([[cosine(one[query], one[key]) if key in one else np.nan for key in keys]]),
        np.array(
            [
                [
                    -float(np.linalg.norm(np.subtract(other[query], other[key]))) if key in other else np.nan
                    for key in keys
                ]
            ]
        ),
    ]


@pytest.mark.parametrize("rule", [FusionRule.RRF, FusionRule.ZSCORE])
def test_fused_neighbours_equal_those_computed_by_numpy(ask: Callable[..., Answer], rule: FusionRule) -> None:
    """Order, fused scores and the scores of each network are equal; no model is loaded."""
    answer = ask("cat/1.png", fusion=rule)
    keys, similarities = nearness("cat/1.png", ONE, OTHER)
    expected = dict(zip(keys, fuse_similarities(similarities, rule)[0], strict=True))
    assert [hit.payload.path for hit in answer.hits] == sorted(expected, key=lambda key: -expected[key])
    for hit in answer.hits:
        assert hit.score == pytest.approx(expected[hit.payload.path], abs=1e-5)
        cosine, euclid = hit.placings.values()
        column = keys.index(hit.payload.path)
        assert cosine is not None
        assert cosine.score == pytest.approx(similarities[0][0, column], abs=1e-6)
        assert euclid is not None
        assert euclid.score == pytest.approx(-similarities[1][0, column], abs=1e-6)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4, 5]
    assert answer.provider is None
    assert answer.class_name == "cat"


def test_each_neighbour_has_its_rank_in_each_network(ask: Callable[..., Answer]) -> None:
    """Counted by hand: cosine 2 3 d1 d2 d3, Euclid c3 (1) d3 (2.2) and then c2 and d2 (4), d1 (4.1)."""
    answer = ask("cat/1.png")
    places = {
        hit.payload.path: [placing and placing.rank for placing in hit.placings.values()]
        for hit in answer.hits
    }
    assert places["cat/3.png"] == [2, 1]
    assert places["dog/3.png"] == [5, 2]
    assert places["dog/1.png"] == [3, 5]
    assert answer.hits[0].payload.path == "cat/3.png", "1/62 + 1/61 is the most that there is"
    assert answer.hits[0].score == pytest.approx(1 / 62 + 1 / 61, abs=2e-9)


def test_an_image_that_one_collection_lacks_is_ranked_by_the_other(ask: Callable[..., Answer]) -> None:
    """It is first in one network, and so in the fusion; in the other it has no placing."""
    other = {key: value for key, value in OTHER.items() if key != "cat/2.png"}
    answer = ask("cat/1.png", other=other)
    assert answer.hits[0].payload.path == "cat/2.png"
    placing, absent = answer.hits[0].placings.values()
    assert placing is not None
    assert placing.rank == 1
    assert absent is None
    assert answer.hits[0].score == pytest.approx(2 / 61, abs=2e-9)
    assert len(answer.hits) == 5


def test_collections_that_share_no_image_but_the_query_answer_together(ask: Callable[..., Answer]) -> None:
    """Each neighbour has one placing, also with a weighted vote."""
    one = {key: value for key, value in ONE.items() if key.startswith("cat")}
    other = {key: value for key, value in OTHER.items() if key.startswith("dog") or key == "cat/1.png"}
    answer = ask("cat/1.png", one=one, other=other, vote=VoteRule.WEIGHTED)
    assert len(answer.hits) == 5
    assert all(sum(placing is not None for placing in hit.placings.values()) == 1 for hit in answer.hits)


def test_a_candidate_of_one_network_has_its_exact_score_in_the_other(ask: Callable[..., Answer]) -> None:
    """With two candidates each, its rank in the other network is unknown."""
    answer = ask("cat/1.png", limit=2, k=1, candidates=1)
    assert [hit.payload.path for hit in answer.hits] == ["cat/3.png", "cat/2.png"]
    cosine, euclid = answer.hits[1].placings.values()
    assert cosine is not None
    assert cosine.rank == 1
    assert euclid is not None
    assert euclid.rank is None, "cat/3 and dog/3 are the two candidates there"
    assert euclid.score == pytest.approx(4)
    assert answer.hits[1].score == pytest.approx(1 / 61, abs=2e-9)


@pytest.mark.slow  # asks two collections for answers of many lengths
@pytest.mark.parametrize("rule", FusionRule)
def test_the_limit_does_not_change_the_order_of_fused_hits(
    both_stores: Store, fill: Fill, home: Settings, calibration: Calibration, rule: FusionRule
) -> None:
    """Neither `limit` nor `k` changes the candidates, although the networks' rankings differ much."""
    random, names = np.random.default_rng(0), []
    for backbone in ("vgg16", "resnet101v2"):
        images = {f"cat/{number}.png": random.normal(size=3) for number in range(300)}
        names.append(fill(both_stores, images, backbone=backbone))
        record_line(both_stores, names[-1], calibration, points=300)
    with opened(names, both_stores, home) as searcher:
        for number in range(5):
            [source] = searcher.find(f"cat/{number}.png")
            short, long, voted = (
                answer_of(searcher, source, QueryOptions(fusion=rule, exact=True, **options)).hits
                for options in ({"limit": 10}, {"limit": 500}, {"limit": 10, "k": 200})
            )
            assert len(long) == 299
            for other in (long[:10], voted):
                assert [hit.payload.path for hit in other] == [hit.payload.path for hit in short]
                assert [hit.score for hit in other] == pytest.approx([hit.score for hit in short], abs=1e-5)
                assert [ranks_of(hit) for hit in other] == [ranks_of(hit) for hit in short]


def record_line(store: Store, name: str, calibration: Calibration, *, points: int) -> None:
    """Stores a calibration whose chance rises linearly with the similarity."""
    line = Curve(knots=(-1.0, 1.0), chances=(0.0, 1.0))
    identity = store.manifest(name).identity.key
    with store.open(name) as collection:
        collection.record_calibration(
            replace(calibration, identity=identity, distance=Distance.COSINE, points=points, candidates=line)
        )


def ranks_of(hit: Neighbour) -> list[int | None]:
    """Returns the ranks in each network."""
    return [placing.rank if placing else None for placing in hit.placings.values()]


def test_limit_and_filters_apply_to_fused_hits(ask: Callable[..., Answer]) -> None:
    """The filters apply in both networks."""
    assert len(ask("cat/1.png", limit=2).hits) == 2
    dogs = ask("cat/1.png", where=PointFilter(classes=frozenset({"dog"})))
    assert {hit.payload.path for hit in dogs.hits} == {"dog/1.png", "dog/2.png", "dog/3.png"}
    assert dogs.verdict is None
    assert len(ask("cat/1.png", where=PointFilter(dataset="data")).hits) > 2


def test_the_query_is_left_out_even_where_one_collection_is_stale(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """An exact duplicate is left out of all networks, although one has stored older bytes of it."""
    names = [
        fill(both_stores, ONE, copies={"cat/1.png": "same", "cat/2.png": "same"}),
        fill(both_stores, OTHER, distance=Distance.EUCLID, copies={"cat/1.png": "same"}),
    ]
    with opened(names, both_stores, home) as searcher:
        [source] = searcher.find("cat/1.png")
        without = answer_of(searcher, source, QueryOptions())
        with_it = answer_of(searcher, source, QueryOptions(include_self=True))
    assert {hit.payload.path for hit in without.hits} == {"cat/3.png", "dog/1.png", "dog/2.png", "dog/3.png"}
    assert with_it.hits[0].payload.path == "cat/1.png"
    assert len(with_it.hits) == 6


@pytest.mark.parametrize("rule", VoteRule)
def test_fused_neighbours_vote(ask: Callable[..., Answer], rule: VoteRule) -> None:
    """Two cats lead by fused score and win among three voters by every rule."""
    answer = ask("cat/1.png", k=3, vote=rule)
    first = [hit.payload.class_name for hit in answer.hits[:3]]
    assert sorted(str(name) for name in first) == ["cat", "cat", "dog"]
    assert answer.verdict is not None
    assert answer.verdict.class_name == "cat"
    if rule is VoteRule.WEIGHTED:
        scores = np.array([hit.score for hit in answer.hits[:3]]) * 61 / 2
        weights = np.exp(scores / 0.07)
        cats = [name == "cat" for name in first]
        assert answer.verdict.share == pytest.approx(weights[cats].sum() / weights.sum())
    else:
        assert answer.verdict.share == pytest.approx(2 / 3)


def test_collections_are_opened_by_name_and_answer_in_the_order_asked_for(
    both_stores: Store, fill: Fill, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two searches that name them in opposite orders do not deadlock."""
    names = sorted([fill(both_stores, ONE), fill(both_stores, OTHER, distance=Distance.EUCLID)])
    locked: list[str] = []
    plain = both_stores.open

    def noted(name: str) -> Collection:
        locked.append(name)
        return plain(name)

    monkeypatch.setattr(both_stores, "open", noted)
    for asked in (names, names[::-1]):
        locked.clear()
        with opened(asked, both_stores, home) as searcher:
            assert [network.name for network in searcher.networks] == asked
            answer = answer_of(searcher, "cat/1.png", QueryOptions())
        assert locked == names
        assert list(answer.hits[0].placings) == asked


def test_a_calibrated_fusion_without_calibrations_says_how_to_make_them(ask: Callable[..., Answer]) -> None:
    """Options are checked before any search."""
    with refuses(UsageError, match="run: search calibrate"):
        ask("cat/1.png", fusion=FusionRule.CALIBRATED)


def test_a_query_that_one_collection_lacks_needs_its_file(
    ask: Callable[..., Answer],
) -> None:
    """The other network has to embed it."""
    other = {key: value for key, value in OTHER.items() if key != "cat/1.png"}
    with pytest.raises(ImageError, match=r"cat/1\.png is not in every collection.*does not exist"):
        ask("cat/1.png", other=other)


def test_a_query_that_one_collection_lacks_without_a_known_file_is_refused(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """The dataset may have been ingested on another machine."""
    other = {key: value for key, value in OTHER.items() if key != "cat/1.png"}
    names = [fill(both_stores, ONE), fill(both_stores, other, distance=Distance.EUCLID)]
    with opened(names, both_stores, home) as searcher:
        [source] = searcher.find("cat/1.png")
        with pytest.raises(ImageError, match=r"not in every collection.*no file path is recorded"):
            answer_of(searcher, replace(source, file=None), QueryOptions())


def test_examples_are_combined_in_each_network_and_left_out(
    both_stores: Store, fill: Fill, home: Settings
) -> None:
    """Each network combines its own vectors, as in a search of one collection."""
    names = [fill(both_stores, ONE), fill(both_stores, OTHER, distance=Distance.EUCLID)]
    ids = [point_id("data", path) for path in ("cat/1.png", "cat/2.png", "dog/3.png")]
    with opened(names, both_stores, home) as searcher:
        answer, everything = (
            answer_of(
                searcher,
                ids[0],
                QueryOptions(include_self=include_self),
                positives=ids[1:2],
                negatives=ids[2:],
            )
            for include_self in (False, True)
        )
    assert {hit.payload.path for hit in answer.hits} == {"cat/3.png", "dog/1.png", "dog/2.png"}
    assert len(everything.hits) == 6
    target = 2 * (np.array([5, 5]) + np.array([1, 5])) / 2 - np.array([4, 3])
    for hit in answer.hits:
        _, euclid = hit.placings.values()
        assert euclid is not None
        distance = np.linalg.norm(np.array(OTHER[hit.payload.path]) - target)
        assert euclid.score == pytest.approx(distance, abs=1e-5)
    assert (answer.positives, answer.negatives) == (ids[1:2], ids[2:])
