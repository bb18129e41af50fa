"""Filters that a collection cannot meet are refused, in both stores."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_search.collection_choice import resolve_filter

IMAGES = ("a/b/1.png", "a/bc/2.png", "cats/3.png", "top.png")


@pytest.fixture
def collection(both_stores: Store, fill: Callable[..., str]) -> Iterator[Collection]:
    """Yields a collection of images in these folders, which were taken at no known time."""
    name = fill(both_stores, {image: [1, place] for place, image in enumerate(IMAGES)})
    with both_stores.open(name) as opened:
        yield opened


def resolve(collection: Collection, **given: Any) -> PointFilter:
    """Returns the filter as a search uses it."""
    return resolve_filter(make_filter(**given), collection)


@pytest.mark.parametrize(
    ("folder", "said", "first"),
    [
        ("a/b2/", "no image is in the folder a/b2/ in {name}; nearest: a/b/, a/bc/", "a/b"),
        ("cat", "no image is in the folder cat/ in {name}; nearest: cats/", "cats"),
        ("b", "no image is in the folder b/ in {name}; nearest: a/b/", "a/b"),
        ("holidays", "no image is in the folder holidays/ in {name}; available: a/, cats/", "a"),
        ("\udcff", "no image is in the folder \udcff/ in {name}; available: a/, cats/", "a"),
    ],
)
def test_an_unknown_folder_is_refused_with_similar_ones(
    collection: Collection, folder: str, said: str, first: str
) -> None:
    """Part of a folder's name is none."""
    with pytest.raises(UsageError) as refused:
        resolve(collection, folders=[folder])
    assert str(refused.value) == said.format(name=collection.name)
    assert (refused.value.argument, refused.value.choices[0]) == (Argument.PATH, first)


def test_known_folders_are_searched(collection: Collection) -> None:
    """The dataset's own folder holds all images."""
    for folders, count in ((["a"], 2), (["a/b", "cats"], 2), (["."], 4)):
        assert collection.count(resolve(collection, folders=folders)) == count


def test_an_unknown_class_that_is_not_wanted_is_refused_too(collection: Collection) -> None:
    """Otherwise a mistyped one would leave nothing out."""
    with pytest.raises(UsageError, match=r"there is no class cat in .*; nearest: cats") as refused:
        resolve(collection, not_classes=["cat"])
    assert refused.value.argument == Argument.NOT_CLASS
    assert collection.count(resolve(collection, not_classes=["cats", ""])) == 2


@pytest.mark.parametrize("argument", [Argument.SINCE, Argument.UNTIL])
def test_a_collection_without_times_is_not_filtered_by_them(
    collection: Collection, argument: Argument
) -> None:
    """An ingest adds them; an empty answer would be wrong."""
    with pytest.raises(UsageError, match="an older version, which stored no times") as refused:
        resolve(collection, **{str(argument): "2024-05-31"})
    assert refused.value.argument == argument
    assert refused.value.hint is not None
    assert refused.value.hint.action is Action.INGEST_AGAIN


def test_images_without_times_beside_others_are_left_out(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so: their files may be gone, so that no ingest can read them."""
    payloads = sorted(collection.scan(), key=lambda payload: payload.path)
    collection.replace_payloads([replace(payloads[0], taken_at="2024-05-31T12:00:00+00:00")])
    with caplog.at_level(logging.WARNING, logger="lookalike"):
        assert collection.count(resolve(collection, since="2024-05-31", until="2024-05-31")) == 1
    [message] = caplog.messages
    assert message.startswith(f"3 images of 4 in {collection.name} are left out: they were ingested by an")
