"""Datasets whose folders overlap: a file is one image, in both stores."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from all_hits import all_hits
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.overlapping_roots import first_by_rule
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.examples import Example
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_sources import find_known_payload
from lookalike_search.evaluation.calibration_run import calibrate_collection
from lookalike_search.evaluation.labelled_vectors import load_labelled
from made_collections import manifest_of, point_of, unique_hex
from one_answer import answer_of

COUNT = 30
"""Images that both datasets hold; two more are only in the outer one."""


@pytest.fixture
def name(both_stores: Store, tmp_path: Path) -> Iterator[str]:
    """`all` is the folder, and `pets` its folder `pets`, whose classes are the folders below that."""
    roots = {"all": str(tmp_path / "all"), "pets": str(tmp_path / "all" / "pets")}
    manifest = manifest_of(datasets=roots)
    points = []
    for number in range(COUNT):
        inner, vector, sha256 = f"cat/{number:02}.png", [1, 0.01 * number], unique_hex()
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
    """Yields a searcher of that collection."""
    with Searcher.opened(name, store=both_stores, settings=home) as opened:
        yield opened


def files(answer: Answer) -> list[str]:
    """Returns the names of the hits' files."""
    return [hit.file.name for hit in answer.hits if hit.file]


def test_a_file_is_one_hit_that_names_the_other_dataset(searcher: Searcher) -> None:
    """This holds for a query in either dataset; the query's other point is no exact duplicate of it."""
    [source] = searcher.find("all/pets/cat/00.png")
    answer = answer_of(searcher, source, QueryOptions(limit=12))
    assert files(answer) == [f"{number:02}.png" for number in range(1, 13)]
    for hit in answer.hits:
        assert {hit.payload.dataset, *(each.dataset for each in hit.also_in)} == {"all", "pets"}
        assert {hit.payload.class_name, *(each.class_name for each in hit.also_in)} == {"pets", "cat"}
    assert answer.left_out_total == 0
    data = answer_json(answer, [searcher.networks[0].manifest], "embedded", QueryOptions())
    assert data["hits"][0]["also_in"][0]["path"] in ("pets/cat/01.png", "cat/01.png")


def test_pages_have_each_file_once(searcher: Searcher) -> None:
    """Most files have two points."""
    [source] = searcher.find("all/cars/1.png")
    pages = [answer_of(searcher, source, QueryOptions(limit=7, offset=start)) for start in range(0, 35, 7)]
    found = [file for page in pages for file in files(page)]
    assert sorted(found) == sorted(["2.png", *(f"{number:02}.png" for number in range(COUNT))])


def test_a_search_of_one_dataset_returns_its_own_points(searcher: Searcher) -> None:
    """Each hit names the other dataset that holds its file."""
    [source] = searcher.find("all/cars/1.png")
    answer = answer_of(searcher, source, QueryOptions(where=PointFilter(dataset="pets")))
    assert {hit.payload.dataset for hit in answer.hits} == {"pets"}
    assert [each.path for each in answer.hits[0].also_in] == [f"pets/{answer.hits[0].payload.path}"]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("include_copies", [True, False])
def test_every_file_is_one_query_and_one_hit(searcher: Searcher, exact: bool, include_copies: bool) -> None:
    """This holds for brute force and for the store's search, which return as many hits as requested."""
    collection = searcher.networks[0].collection
    rows = all_hits(collection, limit=12, exact=exact, include_copies=include_copies)
    assert len(rows) == COUNT + 2
    for payload, hits in rows:
        found = [hit.payload.id for hit in hits]
        assert len(found) == len(set(found)) == 12
        assert payload.id not in found
        assert {hit.payload.dataset for hit in hits} == {"all"}


def test_an_evaluation_counts_a_file_once(searcher: Searcher) -> None:
    """It counts in the dataset with the outermost folder; an evaluation of one dataset has all its images."""
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
        inner, vector, sha256 = f"cat/{number}.png", [1, 0.01 * number], unique_hex()
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
    """This holds for a query by either path; it is no exact duplicate of itself."""
    [found] = linking.find(source)
    answer = answer_of(linking, found, QueryOptions(limit=12))
    assert files(answer) == ["1.png", "2.png", "3.png", "4.png"]
    for hit in answer.hits:
        assert {hit.payload.dataset, *(each.dataset for each in hit.also_in)} == {"all", "pets"}
    assert answer.left_out_total == 0
    alone = answer_of(linking, found, QueryOptions(where=PointFilter(dataset="pets")))
    assert [each.path for each in alone.hits[0].also_in] == ["link/cat/1.png"]


def test_a_linked_file_is_one_query_and_counts_once(linking: Searcher) -> None:
    """This holds for all neighbours and for an evaluation."""
    collection = linking.networks[0].collection
    rows = all_hits(collection, limit=12)
    assert [len(hits) for _, hits in rows] == [4] * 5
    assert len(load_labelled(collection).payloads) == 5


@pytest.mark.parametrize(
    ("points", "first"),
    [
        ([("in", "cat"), ("out", "pets")], "out"),
        ([("in", "cat"), ("out", None)], "in"),
        ([("in", None), ("out", None)], "out"),
        ([("zoo", "cat"), ("out", "pets")], "out"),
        ([("zoo", "cat"), ("in", "dog")], "in"),
    ],
)
def test_the_outermost_dataset_with_a_class_represents_a_file(
    points: list[tuple[str, str | None]], first: str
) -> None:
    """Of two at the same depth it is the first by name, in whichever order they are read."""
    roots = {"in": "/data/pets", "out": "/data", "zoo": "/data/pets"}
    payloads = [point_of("1.png", [1, 0], dataset=name, class_name=of).payload for name, of in points]
    assert first_by_rule(payloads, roots).dataset == first
    assert first_by_rule(payloads[::-1], roots).dataset == first


INNER = [f"{'cat' if number % 3 else 'dog'}/{number:02}.png" for number in range(COUNT)]


@pytest.fixture
def grown(both_stores: Store, tmp_path: Path) -> Iterator[Callable[[str | None], str]]:
    """`grown(class_name)`: a collection of the outer dataset, which gives that class to all in `pets`.

    `ingest_inner` makes a dataset of that folder, too.
    """
    names = []

    def made(class_name: str | None) -> str:
        manifest = manifest_of(datasets={"zoo": str(tmp_path / "zoo")})
        both_stores.create(manifest)
        names.append(manifest.collection)
        points = [
            point_of(
                f"pets/{path}", vector_of(number), dataset="zoo", class_name=class_name, sha256=sha_of(number)
            )
            for number, path in enumerate(INNER)
        ]
        points += [point_of("cars/1.png", [0.9, 1], dataset="zoo", class_name="cars")]
        with both_stores.open(manifest.collection) as collection:
            collection.upsert(points)
        return manifest.collection

    yield made
    for name in names:
        both_stores.delete(name)


def vector_of(number: int) -> list[float]:
    """Returns the vector of a path: a higher number is farther."""
    return [1, 0.01 * number]


def sha_of(number: int) -> str:
    """Returns the SHA-256 of the file's bytes."""
    return f"{number:064x}"


def ingest_inner(store: Store, name: str, root: Path) -> None:
    """Makes the folder `pets` the dataset `inner`, with classes of its own."""
    with store.open(name) as collection:
        collection.record_dataset("inner", str(root / "zoo" / "pets"))
        collection.upsert(
            [
                point_of(
                    path,
                    vector_of(number),
                    dataset="inner",
                    class_name=path.split("/")[0],
                    sha256=sha_of(number),
                )
                for number, path in enumerate(INNER)
            ]
        )


@pytest.mark.parametrize("vote", list(VoteRule))
@pytest.mark.parametrize("without_near_above", [None, 0.9999])
def test_an_overlapping_ingest_changes_no_class_and_no_verdict(
    both_stores: Store,
    grown: Callable[[str | None], str],
    home: Settings,
    tmp_path: Path,
    vote: VoteRule,
    without_near_above: float | None,
) -> None:
    """Classes of the outer dataset count; each hit lists the inner dataset's class, too."""
    name = grown("pets")
    options = QueryOptions(limit=7, vote=vote, without_near_above=without_near_above)
    answers = []
    for _ in range(2):
        with Searcher.opened(name, store=both_stores, settings=home) as searcher:
            [source] = searcher.find("zoo/cars/1.png")
            answers.append(answer_of(searcher, source, options))
        ingest_inner(both_stores, name, tmp_path)
    before, after = answers
    assert [hit.payload for hit in after.hits] == [hit.payload for hit in before.hits]
    assert [hit.score for hit in after.hits] == pytest.approx([hit.score for hit in before.hits])
    assert before.verdict is not None
    assert after.verdict is not None
    assert after.verdict.class_name == before.verdict.class_name
    assert after.verdict.share == pytest.approx(before.verdict.share)
    assert {each.dataset for hit in after.hits for each in hit.also_in} == {"inner"}


def test_a_class_that_only_the_inner_dataset_gives_counts_everywhere(
    both_stores: Store, grown: Callable[[str | None], str], home: Settings, tmp_path: Path
) -> None:
    """It counts in queries, all neighbours, an evaluation and a calibration."""
    name = grown(None)
    ingest_inner(both_stores, name, tmp_path)
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        [source] = searcher.find("zoo/cars/1.png")
        answer = answer_of(searcher, source, QueryOptions(limit=COUNT))
        collection = searcher.networks[0].collection
        assert {hit.payload.class_name for hit in answer.hits} == {"cat", "dog"}
        assert {hit.payload.dataset for hit in answer.hits} == {"inner"}
        labelled = load_labelled(collection)
        assert (len(labelled.payloads), labelled.unlabelled) == (COUNT + 1, 0)
        for exact in (True, False):
            rows = all_hits(collection, limit=3, exact=exact)
            assert {payload.class_name for payload, _ in rows} == {"cat", "dog", "cars"}
    run = calibrate_collection(both_stores, name)
    assert (run.calibration.images, run.unlabelled) == (COUNT + 1, 0)


def test_an_indexed_file_is_known_by_the_point_that_represents_it(
    both_stores: Store, grown: Callable[[str | None], str], tmp_path: Path
) -> None:
    """The payload of a query does not depend on the order of the datasets."""
    name = grown(None)
    ingest_inner(both_stores, name, tmp_path)
    with both_stores.open(name) as collection:
        known = find_known_payload(tmp_path / "zoo" / "pets" / INNER[1], sha_of(1), [collection])
    assert known is not None
    assert (known.dataset, known.class_name) == ("inner", "cat")


FEW = 3
"""Candidates of each network, so that it has to be asked for the others' own."""


@pytest.mark.parametrize("vote", list(VoteRule))
def test_a_file_is_found_in_the_other_network_under_another_datasets_name(
    both_stores: Store, home: Settings, tmp_path: Path, vote: VoteRule
) -> None:
    """One network has only the outer dataset, the other only the inner one; each file has a score in both.

    Its class is the outer dataset's, whichever network found it.
    """
    root = tmp_path / "zoo"
    outer = manifest_of(datasets={"zoo": str(root)}, backbone="resnet101v2")
    inner = manifest_of(datasets={"inner": str(root / "pets")})
    numbers = range(1, 9)
    outer_points = [
        point_of(
            f"pets/{INNER[number]}",
            [1, 0.1 * number],
            dataset="zoo",
            class_name="pets",
            sha256=sha_of(number),
        )
        for number in numbers
    ]
    inner_points = [
        point_of(
            INNER[number], [1, 0.9 - 0.1 * number], dataset="inner", class_name="cat", sha256=sha_of(number)
        )
        for number in numbers
    ]
    for manifest, points in [(outer, outer_points), (inner, inner_points)]:
        both_stores.create(manifest)
        with both_stores.open(manifest.collection) as collection:
            collection.upsert(points)
    names = [outer.collection, inner.collection]
    with Searcher.opened(*names, store=both_stores, settings=home) as opened:
        example = Example(
            name="query",
            file=None,
            indexed=None,
            vectors=[AHEAD, AHEAD],
            sha256=frozenset(),
            provider=None,
            embed_ms=0,
        )
        searcher = Searcher(opened.networks, candidates=FEW)
        answer = searcher.answer(example, QueryOptions(limit=2 * FEW, vote=vote, k=2))
    assert len({hit.file for hit in answer.hits}) == len(answer.hits) == 2 * FEW
    for hit in answer.hits:
        assert all(placing is not None for placing in hit.placings.values())
        assert (hit.payload.dataset, hit.payload.class_name) == ("zoo", "pets")
    assert answer.verdict is not None
    assert answer.verdict.class_name == "pets"
    for name in names:
        both_stores.delete(name)


AHEAD = np.array([1, 0], dtype=np.float32)
