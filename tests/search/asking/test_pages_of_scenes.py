"""Pages of folded answers, and all details of a hit at once, in both stores."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Store
from lookalike_search.analysis.all_neighbours import find_all_scenes
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, NearDuplicate, Neighbour, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from lookalike_search.reports.query import query_page
from made_collections import manifest_of, point_of, unique_hex
from one_answer import answer_of

from lookalike.records import Hit

Fill = Callable[..., str]

QUERY = "query.png"
SCENES = 30
ABOVE = 0.999


def bursts(seed: int) -> dict[str, list[float]]:
    """Returns 30 scenes of 1 to 20 frames, a third of them without a class, and a query; all shuffled."""
    random = np.random.default_rng(seed)
    images = {QUERY: random.normal(size=8)}
    for scene in range(SCENES):
        centre = random.normal(size=8)
        for frame in range(1 + 7 * scene % 20):
            folder = "" if (scene + frame) % 3 == 0 else "cat/" if scene % 2 else "dog/"
            images[f"{folder}{scene:02}-{frame:02}.png"] = centre + random.normal(scale=0.002, size=8)
    order = np.random.default_rng(0).permutation(len(images))
    listed = [(path, vector.tolist()) for path, vector in images.items()]
    return dict(listed[place] for place in order)


@pytest.fixture
def names(both_stores: Store, fill: Fill) -> list[str]:
    """Returns a cosine and a Euclidean collection of the same scenes."""
    return [
        fill(both_stores, bursts(1), backbone="resnet101v2"),
        fill(both_stores, bursts(2), distance=Distance.EUCLID),
    ]


def paths(hits: Sequence[Neighbour | NearDuplicate]) -> list[str]:
    """Returns the paths of the hits, in their order."""
    return [hit.payload.path for hit in hits]


def images_of(answer: Answer) -> list[str]:
    """Returns the hits with what is folded into them."""
    return [path for hit in answer.hits for path in paths(hit.scene)]


@pytest.mark.parametrize("asked", [[0], [1], [0, 1]], ids=["cosine", "euclid", "fused"])
def test_two_pages_are_the_first_twenty_scenes(
    both_stores: Store, home: Settings, names: list[str], asked: list[int]
) -> None:
    """Pages continue without gap or repeat and have one verdict; no image is on two pages."""
    with Searcher.opened(*(names[each] for each in asked), store=both_stores, settings=home) as searcher:

        def page(offset: int, limit: int) -> Answer:
            options = QueryOptions(limit=limit, offset=offset, without_near_above=ABOVE)
            return answer_of(searcher, QUERY, options)

        first, second, both, everything = page(0, 10), page(10, 10), page(0, 20), page(0, 1000)
        rest, behind = page(20, 20), page(40, 10)
    heads = [*paths(first.hits), *paths(second.hits)]
    assert heads == paths(both.hits) == paths(everything.hits[:20])
    assert [hit.rank for answer in (first, second) for hit in answer.hits] == list(range(1, 21))
    assert len({path.rpartition("/")[2][:2] for path in heads}) == 20
    paged = images_of(first) + images_of(second)
    assert len(paged) == len(set(paged))
    assert [paths(hit.near) for hit in second.hits] == [paths(hit.near) for hit in both.hits[10:]]
    assert set(paged) <= set(images_of(both))
    behind_first = [path for hit in both.hits[:10] for path in paths(hit.near)]
    assert set(images_of(both)) - set(paged) <= set(behind_first)
    assert (len(everything.hits), len(rest.hits), behind.hits) == (SCENES, SCENES - 20, [])
    assert sorted(images_of(everything)) == sorted(set(bursts(1)) - {QUERY})
    assert {answer.verdict for answer in (first, second, both, rest)} == {everything.verdict}


@pytest.mark.parametrize("asked", [[0], [1], [0, 1]], ids=["cosine", "euclid", "fused"])
def test_of_tied_images_the_first_one_represents_the_scene(
    both_stores: Store, fill: Fill, home: Settings, asked: list[int]
) -> None:
    """The same image represents it with and without folding, in whatever order the store returns ties."""
    equal = {f"cat/{number:02}.png": [1.0, 0.3] for number in np.random.default_rng(3).permutation(60)}
    images = {QUERY: [1.0, 0.0], **equal, "cat/far.png": [0.2, 1.0]}
    names = [
        fill(both_stores, images, backbone="resnet101v2"),
        fill(both_stores, images, distance=Distance.EUCLID),
    ]
    with Searcher.opened(*(names[each] for each in asked), store=both_stores, settings=home) as searcher:
        [source] = searcher.find(QUERY)
        plain = answer_of(searcher, source, QueryOptions(limit=1000))
        folded = answer_of(searcher, source, QueryOptions(limit=1000, without_near_above=ABOVE))
    assert paths(folded.hits) == [plain.hits[0].payload.path, "cat/far.png"]
    assert paths(folded.hits[0].scene) == paths(plain.hits[:60])


@pytest.fixture
def mixed(both_stores: Store, tmp_path: Path) -> Iterator[str]:
    """Returns a collection: `pets` is below `all`; `other` has a path of `all` and the query's bytes."""
    roots = {name: str(tmp_path / folder) for name, folder in [("all", "all"), ("pets", "all/pets")]}
    manifest = manifest_of(datasets=roots | {"other": str(tmp_path / "other")})
    query = {"vector": [1, 0], "sha256": unique_hex()}
    points = [
        point_of("query.png", dataset="all", class_name=None, **query),
        point_of("copy.png", dataset="other", class_name=None, **query),
        point_of("pets/0.png", [1, 0.2], dataset="other", class_name="cat"),
        point_of("far.png", [0, 1], dataset="other", class_name="cat"),
    ]
    for number, vector in enumerate([[1, 0.21], [1, 0.22], [1, 0.8], [1, 0.81], [1, 0.85]]):
        sha256 = unique_hex()
        points += [
            point_of(f"pets/{number}.png", vector, dataset="all", class_name="pets", sha256=sha256),
            point_of(f"{number}.png", vector, dataset="pets", class_name="cat", sha256=sha256),
        ]
    both_stores.create(manifest)
    with both_stores.open(manifest.collection) as collection:
        collection.upsert(points)
    yield manifest.collection
    both_stores.delete(manifest.collection)


def name_of(places: Sequence[Any]) -> set[tuple[str, str]]:
    """Returns datasets and paths of a hit or JSON object, with those of `also_in`."""
    return {(each["dataset"], each["path"]) for each in places}


def test_folding_overlap_cut_off_and_duplicates_work_together(
    both_stores: Store, mixed: str, home: Settings, tmp_path: Path
) -> None:
    """Hits are folded, in two datasets, cut off by score, and without an exact duplicate of the query.

    The cosine of the last image of the second scene is 0.762, that of the others 0.777 and 0.781.
    """
    options = QueryOptions(without_near_above=0.999, min_score=0.77)
    with Searcher.opened(mixed, store=both_stores, settings=home) as searcher:
        [source] = searcher.find("all/query.png")
        answer = answer_of(searcher, source, options)
        second = answer_of(searcher, source, QueryOptions(without_near_above=0.999, min_score=0.77, offset=1))
        manifests = [searcher.networks[0].manifest]
    first, last = answer.hits
    assert second.hits == [last]
    assert (first.payload.dataset, first.payload.path, first.also_in) == ("other", "pets/0.png", ())
    assert [len(hit.near) for hit in answer.hits] == [2, 1]
    found = answer_json(answer, manifests, "embedded", options)
    assert (found["left_out_total"], found["left_out"][0]["path"]) == (1, "copy.png")
    for number, near in enumerate(found["hits"][0]["near"]):
        places = {("all", f"pets/{number}.png"), ("pets", f"{number}.png")}
        assert name_of([near, *near["also_in"]]) == places
    last_json = found["hits"][1]
    assert name_of([last_json, *last_json["also_in"]]) == {("all", "pets/2.png"), ("pets", "2.png")}

    lines = list(answer_lines(answer, manifests, options))
    assert "3 near-duplicates are folded into a nearer neighbour (similarity over 0.999)" in lines[-3]
    assert lines[-2].startswith("1 image with the same bytes left out: ")
    assert lines[-1].startswith("verdict: ")

    query_page([answer], manifests, options).write(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "and 2 near-duplicates" in page
    shown = [each.payload for hit in answer.hits for each in (hit, *hit.near)]
    collide = len({payload.path for payload in shown}) < len(
        shown
    )  # a near one may be named by either dataset
    assert all((f"{each.dataset}: {each.path}" if collide else each.path) in page for each in shown)
    assert "copy.png" in page

    hits = [Hit._of(hit) for hit in answer.hits]  # noqa: SLF001 - what the library answers
    assert [len(hit.also_in) for hit in hits] == [0, 1]
    assert [len(near.also_in) for hit in hits for near in hit.near] == [1, 1, 1]


@pytest.mark.parametrize("exact", [True, False])
def test_neighbours_of_all_fold_each_file_once(both_stores: Store, mixed: str, exact: bool) -> None:
    """Two datasets hold the file; the first of them is the query."""
    with both_stores.open(mixed) as collection:
        found = {
            payload.path: {scene.hit.payload.path: len(scene.near) for scene in scenes}
            for payload, scenes in find_all_scenes(collection, limit=2, above=0.999, exact=exact)
        }
        images = collection.count() - 5
    assert len(found) == images - 1  # two have the same path
    assert sorted(found["query.png"].values()) == [2, 2]
    assert sorted(found["far.png"].values()) == [2, 2]
