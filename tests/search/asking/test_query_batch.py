"""Batches of folders and examples, without a command: answers and callbacks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from all_hits import all_hits
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.images.scan import OtherFiles
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import PointFilter
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_search.analysis.duplicates import find_duplicates
from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_batch import answer_all
from lookalike_search.collection_choice import CollectionSelector

Draw = Callable[..., list[Path]]


@pytest.fixture
def searcher(tiny_weights: Path, tmp_path: Path, draw: Draw) -> Iterator[Searcher]:
    """Yields a searcher; beside its images is a folder of queries, one of which is damaged."""
    draw(tmp_path / "data", "cat/1.png", "dog/1.png", "dog/2.png")
    draw(tmp_path / "queries", "a.png", "c.png")
    (tmp_path / "queries/b.png").write_bytes(b"no image")
    (tmp_path / "queries/notes.txt").write_text("no image")
    settings = Settings(home=tmp_path / "home", provider="cpu")
    store = EmbeddedStore(settings.qdrant_dir)
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
    request = IngestRequest(
        dataset=Dataset(name="data", root=tmp_path / "data"), specs=[spec], distances=["cosine"]
    )
    run_ingest(request, store=store, settings=settings, stop=StopRequest())
    [name] = CollectionSelector().resolve(store, settings=settings)
    with Searcher.opened(name, store=store, settings=settings) as opened:
        yield opened


def test_a_folder_is_answered_image_by_image(searcher: Searcher, tmp_path: Path) -> None:
    """Answers are in the order of names, with the reason for an unreadable file; other files are counted."""
    others: list[tuple[str, int]] = []

    def note(folder: str, found: OtherFiles) -> None:
        others.append((folder, found.total))

    folder = tmp_path / "queries"
    outcomes = list(answer_all(searcher, [folder, "dog/1.png"], QueryOptions(), on_other_files=note))
    assert [type(outcome) for outcome in outcomes] == [Answer, Unanswered, Answer, Answer]
    assert [Path(outcome.query).name for outcome in outcomes] == ["a.png", "b.png", "c.png", "1.png"]
    assert isinstance(outcomes[1], Unanswered)
    assert outcomes[1].error.reason is SkipReason.NOT_AN_IMAGE
    assert others == [(str(folder), 1)]


def test_examples_go_with_every_query(searcher: Searcher, tmp_path: Path) -> None:
    """Answers show their names as given; unreadable images in a folder of examples are reported."""
    left_out: list[ImageError] = []
    folder = tmp_path / "queries"
    outcomes = list(
        answer_all(
            searcher,
            ["dog/1.png", "dog/2.png"],
            QueryOptions(),
            positives=[folder],
            negatives=[(folder / "c.png").read_bytes()],
            on_left_out=left_out.append,
        )
    )
    for outcome in outcomes:
        assert isinstance(outcome, Answer)
        assert (outcome.positives, outcome.negatives) == ([str(folder)], ["<bytes>"])
    assert [error.reason for error in left_out] == [SkipReason.NOT_AN_IMAGE]


def test_an_unknown_dataset_is_refused_everywhere(searcher: Searcher) -> None:
    """An answer without hits would be mistaken for an empty neighbourhood."""
    [network] = searcher.networks
    elsewhere = PointFilter(dataset="elsewhere")
    calls: list[Callable[[], object]] = [
        lambda: list(
            answer_all(searcher, ["dog/1.png"], QueryOptions(where=PointFilter(dataset="elsewhere")))
        ),
        lambda: all_hits(network.collection, limit=3, where=elsewhere),
        lambda: find_duplicates(network.collection, where=elsewhere),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"there is no dataset elsewhere in .*; available: data"):
            call()


def test_brute_force_and_the_store_find_the_same_neighbours(searcher: Searcher) -> None:
    """By default few images are compared by brute force."""
    [network] = searcher.networks
    ways = [
        [
            (payload.id, [hit.payload.id for hit in hits])
            for payload, hits in all_hits(network.collection, limit=3, exact=exact)
        ]
        for exact in (None, True, False)
    ]
    assert ways[0] == ways[1] == ways[2]


def test_an_unreadable_example_ends_the_batch(searcher: Searcher, tmp_path: Path) -> None:
    """An empty name ends it before any file is read."""
    damaged = tmp_path / "queries/b.png"
    with pytest.raises(ImageError):
        list(answer_all(searcher, ["dog/1.png"], QueryOptions(), positives=[damaged]))
    with pytest.raises(UsageError, match="name is empty"):
        list(answer_all(searcher, ["dog/1.png", ""], QueryOptions(), positives=[damaged]))
