"""Arguments are checked before anything is done, and refused in one way."""

import inspect
from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
from lookalike import errors
from lookalike.index import AddOptions

SEED = (-1, 1.5, "1", True, None)
WHOLE = (0, -2, 1.5, "3", 2.0, True, nan)
OF_ALL: dict[str, tuple[Any, ...]] = {
    "limit": (*WHOLE, 10_001),
    "offset": (-1, 100_001, "1", 1.5, True),
    "k": (*WHOLE, 10_001),
    "seed": SEED,
    "min_score": (-1.5, 2, nan, "0.5", True),
    "max_distance": (-1, nan, "1"),
    "near_above": (-0.1, 1.5, nan, "0.9", None, True),
    "min_chance": (0, 1, 0.0, 1.0, 80, nan, "80%", True),
    "one_per": ("dataset", 1, True),
    "diverse": (-0.1, 1.1, nan, "0.3", None, True),
    "confidence": (0, 1, 0.0, 1.0, 95, nan, "95%", True),
    "above": (-0.1, 2, nan, "0.9", True),
    "false_discoveries": (-0.1, 1.5, nan, "5%", None, True),
    "dims": WHOLE,
    "principal": WHOLE,
    "recognised": (-1, 5_001, "1", 1.5, True),
    "batch_size": (*WHOLE, 1_025),
    "threads": (*WHOLE, 1_025),
    "max_pixels": WHOLE,
    "noise": (-1, [10, 256], [nan], ["10"], "10", True, None),
    "queries": (*WHOLE, 1),
    "sample": WHOLE,
    "poll_s": (0, 0.5, -1, 86_401, nan, "5", True),
    "where": ("bonsai", {"class_name": "cat"}, lookalike.Where(class_name=3), lookalike.Where(dataset=3)),  # type: ignore[arg-type]
    "dataset": (3, b"photos"),
    "rule": ("rfr", 1),
    "vote": ("most", None),
    "distance": ("manhattan", 1),
    "provider": ("tpu", 1),
    "precision": ("fp8", None),
    "pooling": ("median", 1),
    "quantize": ("int2", 4),
    "shards": WHOLE,
    "replicas": WHOLE,
    "write_consistency": WHOLE,
    "classes": (3, [3]),
    "keep_in": (3, [3]),
    "region": ("1,2,3", (1, 2, 3), (0, 0, 0, 5), 7, True, {"x": 1}),
    "positives": (3,),
    "negatives": (3,),
}
"""What no public parameter of the name takes."""

FREE = {"image", "query", "neighbour", "images", "paths", "place", "model", "collection", "name", "path"} | {
    *("weights", "layer", "head", "exact", "include_self", "without_near", "raise_errors", "indexed"),
    *("force", "index", "locate", "unlabelled", "to", "file", "files", "thumbnails", "new_root"),
    *("as_name", "folders", "stop", "options"),
}
"""Paths, names that are looked up, and switches: not numbers and no closed sets."""

ELSEWHERE = {"add", "add_many", "remove"}
"""What the stage below checks."""


class Opened:
    """An index, two fused indexes, and a model."""

    def __init__(self, index: lookalike.Index, fused: lookalike.FusedIndex, model: lookalike.Model) -> None:
        self.index, self.fused, self.model = index, fused, model


@pytest.fixture(scope="module")
def opened(
    index: lookalike.Index,
    images: Path,
    tiny_model: lookalike.Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Opened]:
    """Yields the same images for both distances."""
    with lookalike.open(tmp_path_factory.mktemp("other"), model=tiny_model, distance="euclid") as other:
        other.add(images)
        yield Opened(index, lookalike.fuse([index, other]), tiny_model)


def _methods(cls: type) -> list[tuple[str, Callable[..., Any]]]:
    return [
        (name, method)
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name not in ELSEWHERE
    ]


CALLS: list[tuple[str, str, Callable[..., Any]]] = [
    *(("index", name, method) for name, method in _methods(lookalike.Index)),
    *(("fused", name, method) for name, method in _methods(lookalike.FusedIndex)),
    *(("model", name, method) for name, method in _methods(lookalike.Model)),
    ("", "open", lookalike.open),
    ("", "Model", lookalike.Model),
]
FIRST = {
    "search": ["1.png"],
    "search_many": [["1.png"]],
    "embed": [["1.png"]],
    "explain": ["1.png", "cat/0.png"],
    "fit_head": ["some"],
    "Model": ["vgg16"],
}


def _cases() -> Iterator[Any]:
    for holder, name, call in CALLS:
        for parameter in inspect.signature(call).parameters:
            for bad in OF_ALL.get(parameter, ()):
                yield pytest.param(
                    holder, name, parameter, bad, id=f"{holder}.{name}({parameter}={bad!r})".lstrip(".")
                )


@pytest.mark.parametrize(("holder", "name", "parameter", "bad"), list(_cases()))
def test_invalid_arguments_are_refused_by_name(
    opened: Opened, tmp_path: Path, holder: str, name: str, parameter: str, bad: object
) -> None:
    """Values of every wrong kind raise `UsageError`, whose `argument` is the parameter's name."""
    call = getattr(getattr(opened, holder) if holder else lookalike, name)
    at = {
        "open": "store",
        "export": "images.csv",
        "watch": "",
        "copy": "other",
        "import_parquet": "a.parquet",
    }
    first = [tmp_path / at[name]] if name in at else FIRST.get(name, [])
    with pytest.raises(errors.UsageError) as refused:
        call(*first, **{parameter: bad})
    assert refused.value.argument == parameter


def test_every_public_parameter_is_in_the_table() -> None:
    """A new parameter has to be checked, or listed as neither a number nor a choice."""
    named = {key for _, _, call in CALLS for key in inspect.signature(call).parameters} - {"self"}
    assert named == (set(OF_ALL) | FREE) & named
    assert set(OF_ALL) <= named


def test_a_number_out_of_its_range_comes_with_its_bounds(opened: Opened) -> None:
    """The error has them as data, or the choices of an enumeration."""
    with pytest.raises(errors.UsageError, match="limit is 0; it must be a whole number from 1 to") as refused:
        opened.index.search("1.png", limit=0)
    assert refused.value.bounds == (1, 10_000)
    with pytest.raises(errors.UsageError, match=r"vote is .most.; use one of majority, ") as unknown:
        opened.index.search("1.png", vote="most")
    assert unknown.value.choices == ("majority", "nearer-ties", "nearest-class", "weighted")
    assert unknown.value.bounds is None


def test_numbers_of_numpy_are_numbers(opened: Opened) -> None:
    """Values taken from arrays are accepted."""
    assert len(opened.index.search("1.png", limit=np.int64(3), min_score=np.float32(-1))) == 3  # type: ignore[arg-type]


def test_a_single_name_needs_no_list(opened: Opened, images: Path) -> None:
    """A single class, folder or image equals a list of one; a text is not split into letters."""
    for classes in ("zebra", ["zebra"]):
        with pytest.raises(errors.UsageError, match="zebra"):
            opened.index.fit_head("some", classes=classes)
    kept = [opened.index.duplicates(keep_in=folder).groups for folder in (str(images), [images])]
    assert kept[0] == kept[1]
    file = images / "cat/0.png"
    assert np.array_equal(opened.model.embed(file), opened.model.embed([file]))
    one, several = (
        opened.index.search(images / "1.png", positives=also) for also in (str(file), [str(file)])
    )
    assert list(one) == list(several)


def test_add_many_has_the_options_of_add(index: lookalike.Index) -> None:
    """Options that belong to one folder are refused as unknown parameters."""
    of_one = {"self", "folder", "dataset", "labels"}
    assert AddOptions.__annotations__.keys() == inspect.signature(index.add).parameters.keys() - of_one
    with pytest.raises(TypeError, match="no parameter dataset"):
        index.add_many([], dataset="photos")  # type: ignore[call-arg]


def test_several_numbers_of_voters_are_each_checked(opened: Opened) -> None:
    """One of them out of range, none at all, and a sample without noise are refused."""
    for k in ([], [1, 0], [1, 1_001], [1, "2"], [True]):
        with pytest.raises(errors.UsageError) as raised:
            opened.index.evaluate(k=k)  # type: ignore[arg-type]
        assert raised.value.argument == "k"
    with pytest.raises(errors.UsageError, match="a sample is for images with noise"):
        opened.index.evaluate(sample=3)
    found = opened.fused.evaluate(k=np.array([1, 3])).vote_study  # type: ignore[arg-type]
    assert found is not None
    assert found.ks == [1, 3]
