"""Datasets of which one lies in the other's folder: a file is one image, in both stores."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.settings import Settings
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.analysis.all_neighbours import every_neighbours
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_json
from lookalike_search.evaluation.labelled_vectors import load_labelled
from made_collections import manifest_of, point_of

COUNT = 30
"""Images that both datasets hold; two more are only in the outer one."""


@pytest.fixture
def name(both_stores: Store, tmp_path: Path) -> Iterator[str]:
    """`all` is the folder, and `pets` its folder `pets`, whose classes are the folders below that."""
    roots = {"all": str(tmp_path / "all"), "pets": str(tmp_path / "all" / "pets")}
    manifest = manifest_of(datasets=roots)
    points = []
    for number in range(COUNT):
        inner, vector, sha256 = f"cat/{number:02}.png", [1, 0.01 * number], secrets.token_hex(32)
        points += [
            point_of(f"pets/{inner}", vector, dataset="all", class_name="pets", sha256=sha256),
            point_of(inner, vector, dataset="pets", class_name="cat", sha256=sha256),
        ]
    points += [
        point_of(f"cars/{number}.png", [number, 1], dataset="all", class_name="cars") for number in (1, 2)
    ]
    both_stores.create(manifest)
    with both_stores.open(manifest.collection) as collection:
        collection.upsert(points)
    yield manifest.collection
    both_stores.delete(manifest.collection)


@pytest.fixture
def searcher(both_stores: Store, name: str, home: Settings) -> Iterator[Searcher]:
    """Open."""
    with Searcher.opened(name, store=both_stores, settings=home) as opened:
        yield opened


def files(answer: Answer) -> list[str]:
    """The files of the hits, by name."""
    return [hit.file.name for hit in answer.hits if hit.file]


def test_a_file_is_one_hit_that_names_the_other_dataset(searcher: Searcher) -> None:
    """Whichever of both was asked with; the query itself is no copy of itself."""
    [source] = searcher.find("all/pets/cat/00.png")
    answer = searcher.answer(source, QueryOptions(limit=12))
    assert files(answer) == [f"{number:02}.png" for number in range(1, 13)]
    for hit in answer.hits:
        assert {hit.payload.dataset, *(each.dataset for each in hit.also_in)} == {"all", "pets"}
        assert {hit.payload.class_name, *(each.class_name for each in hit.also_in)} == {"pets", "cat"}
    assert answer.left_out_total == 0
    data = answer_json(answer, [searcher.manifest], "embedded", QueryOptions())
    assert data["hits"][0]["also_in"][0]["path"] in ("pets/cat/01.png", "cat/01.png")


def test_pages_have_each_file_once(searcher: Searcher) -> None:
    """Twice the points are behind them."""
    [source] = searcher.find("all/cars/1.png")
    pages = [searcher.answer(source, QueryOptions(limit=7, offset=start)) for start in range(0, 35, 7)]
    found = [file for page in pages for file in files(page)]
    assert sorted(found) == sorted(["2.png", *(f"{number:02}.png" for number in range(COUNT))])


def test_one_dataset_alone_is_as_ever(searcher: Searcher) -> None:
    """A hit in it says where else its file is."""
    [source] = searcher.find("all/cars/1.png")
    answer = searcher.answer(source, QueryOptions(dataset="pets"))
    assert {hit.payload.dataset for hit in answer.hits} == {"pets"}
    assert [each.path for each in answer.hits[0].also_in] == [f"pets/{answer.hits[0].payload.path}"]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("include_copies", [True, False])
def test_every_file_asks_once_and_is_found_once(
    searcher: Searcher, exact: bool, include_copies: bool
) -> None:
    """By numpy and by the store, with room for as many others as were asked for."""
    collection = searcher.networks[0].collection
    rows = list(every_neighbours(collection, limit=12, exact=exact, include_copies=include_copies))
    assert len(rows) == COUNT + 2
    for payload, hits in rows:
        found = [hit.payload.id for hit in hits]
        assert len(found) == len(set(found)) == 12
        assert payload.id not in found
        assert {hit.payload.dataset for hit in hits} == {"all"}


def test_an_evaluation_counts_a_file_once(searcher: Searcher) -> None:
    """In the dataset whose name comes first; one dataset alone has all of its own."""
    collection = searcher.networks[0].collection
    assert len(load_labelled(collection).payloads) == COUNT + 2
    assert load_labelled(collection).unlabelled == 0
    assert len(load_labelled(collection, PointFilter(dataset="pets")).payloads) == COUNT


@pytest.fixture
def linking(both_stores: Store, tmp_path: Path, home: Settings) -> Iterator[Searcher]:
    """`pets`, and `all` beside it, which has them through a link that its rules follow."""
    (tmp_path / "pets/cat").mkdir(parents=True)
    (tmp_path / "all").mkdir()
    (tmp_path / "all/link").symlink_to("../pets")
    roots = {name: str(tmp_path / name) for name in ("all", "pets")}
    manifest = replace(manifest_of(datasets=roots), folder_rules={"all": FolderRules(follow_links=True)})
    points = []
    for number in range(5):
        inner, vector, sha256 = f"cat/{number}.png", [1, 0.01 * number], secrets.token_hex(32)
        points.append(point_of(f"link/{inner}", vector, dataset="all", class_name="link", sha256=sha256))
        points.append(point_of(inner, vector, dataset="pets", class_name="cat", sha256=sha256))
    both_stores.create(manifest)
    with both_stores.open(manifest.collection) as collection:
        collection.upsert(points)
    with Searcher.opened(manifest.collection, store=both_stores, settings=home) as opened:
        yield opened
    both_stores.delete(manifest.collection)


@pytest.mark.parametrize("source", ["all/link/cat/0.png", "pets/cat/0.png"])
def test_a_file_that_a_link_leads_to_is_one_hit(linking: Searcher, source: str) -> None:
    """Asked with either name of the query, which is no copy of itself."""
    [found] = linking.find(source)
    answer = linking.answer(found, QueryOptions(limit=12))
    assert files(answer) == ["1.png", "2.png", "3.png", "4.png"]
    for hit in answer.hits:
        assert {hit.payload.dataset, *(each.dataset for each in hit.also_in)} == {"all", "pets"}
    assert answer.left_out_total == 0
    alone = linking.answer(found, QueryOptions(dataset="pets"))
    assert [each.path for each in alone.hits[0].also_in] == ["link/cat/1.png"]


def test_a_file_that_a_link_leads_to_asks_and_counts_once(linking: Searcher) -> None:
    """In all neighbours, and in an evaluation."""
    collection = linking.networks[0].collection
    rows = list(every_neighbours(collection, limit=12))
    assert [len(hits) for _, hits in rows] == [4] * 5
    assert len(load_labelled(collection).payloads) == 5
