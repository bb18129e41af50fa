"""Exact duplicates of the query, which an answer leaves out and lists, in both stores."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.asking.answers import Answer, QueryOptions
from lookalike_search.asking.query import Searcher
from one_answer import answer_of

IMAGES = {
    "cat/1.png": [1, 0],
    "cat/2.png": [1, 0.1],
    "dog/copy of 1.png": [1, 0],
    "more:a/copy of 1.png": [1, 0],
    "more:a/copy of 2.png": [1, 0.1],
    "more:b/3.png": [0.5, 1],
}
COPIES = {
    "cat/1.png": "first",
    "dog/copy of 1.png": "first",
    "more:a/copy of 1.png": "first",
    "cat/2.png": "second",
    "more:a/copy of 2.png": "second",
}


@pytest.fixture
def ask(both_stores: Store, fill: Callable[..., str], home: Settings) -> Callable[..., Answer]:
    """Returns an answer from collections of one network each: `ask(name, positives, **options)`."""

    def asked(
        name: str,
        positives: tuple[str, ...] = (),
        *,
        backbones: tuple[str, ...] = ("vgg16",),
        **options: object,
    ) -> Answer:
        names = [fill(both_stores, IMAGES, backbone=each, copies=COPIES) for each in backbones]
        with Searcher.opened(*names, store=both_stores, settings=home) as searcher:
            chosen = QueryOptions(**options)  # type: ignore[arg-type]
            return answer_of(searcher, name, chosen, positives=positives)

    return asked


def left_out(answer: Answer) -> list[str]:
    """Returns the exact duplicates, by the names of `IMAGES`."""
    return [f"{each.payload.dataset}:{each.payload.path}".removeprefix("data:") for each in answer.left_out]


@pytest.mark.parametrize("backbones", [("vgg16",), ("vgg16", "resnet101v2")], ids=["one", "fused"])
def test_exact_duplicates_of_the_query_are_listed(
    ask: Callable[..., Answer], tmp_path: Path, backbones: tuple[str, ...]
) -> None:
    """Each is listed once, with its file; the query and its neighbours are not listed."""
    answer = ask("cat/1.png", backbones=backbones)
    assert left_out(answer) == ["dog/copy of 1.png", "more:a/copy of 1.png"]
    assert answer.left_out_total == 2
    assert answer.left_out[0].file == tmp_path / "data" / "dog/copy of 1.png"
    assert {hit.payload.path for hit in answer.hits} == {"cat/2.png", "a/copy of 2.png", "b/3.png"}


def test_include_self_keeps_exact_duplicates(ask: Callable[..., Answer]) -> None:
    """They are neighbours then, and none is listed as left out."""
    answer = ask("cat/1.png", include_self=True)
    assert (answer.left_out, answer.left_out_total) == ([], 0)
    assert len(answer.hits) == len(IMAGES)


def test_exact_duplicates_of_an_example_are_listed_too(ask: Callable[..., Answer]) -> None:
    """The example itself is not."""
    answer = ask("cat/1.png", ("cat/2.png",))
    assert left_out(answer) == ["dog/copy of 1.png", "more:a/copy of 1.png", "more:a/copy of 2.png"]


def test_filters_apply_to_exact_duplicates_too(ask: Callable[..., Answer]) -> None:
    """An exact duplicate in another class or dataset is not listed."""
    assert left_out(ask("cat/1.png", where=PointFilter(dataset="more"))) == ["more:a/copy of 1.png"]
    assert left_out(ask("cat/1.png", where=PointFilter(classes=frozenset({"dog"})))) == ["dog/copy of 1.png"]


def test_at_most_limit_exact_duplicates_are_listed(ask: Callable[..., Answer]) -> None:
    """The total counts all: a placeholder image may be indexed thousands of times."""
    answer = ask("cat/1.png", limit=1)
    assert left_out(answer) == ["dog/copy of 1.png"]
    assert answer.left_out_total == 2
