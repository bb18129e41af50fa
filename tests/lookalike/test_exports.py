"""Exports and imports by the library: an index becomes a file, and the file an index."""

from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike import errors


def test_an_empty_index_becomes_the_exported_one(
    index: lookalike.Index, images: Path, tmp_path: Path
) -> None:
    """Points, vectors and answers are equal; no model is named."""
    report = index.export(tmp_path / "all.parquet")
    assert (report.collection, report.images, report.dimension) == (index.collection, 26, 64)
    with lookalike.open(tmp_path / "copy.index") as copy:
        done = copy.import_parquet(tmp_path / "all.parquet")
        assert (done.collection, done.added, done.points) == (index.collection, 26, 26)
        assert copy.points() == index.points()
        np.testing.assert_array_equal(copy.vectors()[1], index.vectors()[1])
        here, there = (each.search(images / "dog/3.png") for each in (copy, index))
        assert [(hit.id, hit.score) for hit in here] == [(hit.id, hit.score) for hit in there]


def test_parts_are_imported_one_after_the_other(
    index: lookalike.Index, tiny_model: lookalike.Model, tmp_path: Path
) -> None:
    """A filter selects images; an open index sees what was imported."""
    for name in ("cat", "dog"):
        index.export(tmp_path / f"{name}.parquet", where=lookalike.Where(class_name=name))
    with lookalike.open(tmp_path / "copy.index", model=tiny_model) as copy:
        assert copy.import_parquet(tmp_path / "cat.parquet").added == 13
        assert len(copy.search("cat/1.png", limit=20)) == 12
        report = copy.import_parquet(str(tmp_path / "dog.parquet"))
        assert (report.added, report.replaced, len(copy)) == (12, 0, 25)
        assert copy.classes == {"cat": 13, "dog": 12}
        assert len(copy.search("dog/1.png", limit=20)) == 20


def test_an_index_of_another_model_or_distance_refuses_the_file(
    index: lookalike.Index, tiny_model: lookalike.Model, tiny_weights: Path, tmp_path: Path
) -> None:
    """Also an empty one, which stays empty."""
    index.export(tmp_path / "all.parquet")
    other = lookalike.Model("vgg16", weights=tiny_weights, layer="block1_conv2")
    for model, distance in ((other, None), (tiny_model, "euclid")):
        with lookalike.open(tmp_path / "copy.index", model=model, distance=distance) as copy:
            with pytest.raises(errors.ManifestError, match="is of another embedding space"):
                copy.import_parquet(tmp_path / "all.parquet")
            assert len(copy) == 0
    assert lookalike.list_collections(tmp_path / "copy.index") == []


def test_wrong_paths_are_refused(index: lookalike.Index, tmp_path: Path) -> None:
    """The errors name the argument."""
    with pytest.raises(errors.UsageError, match=r"path: .* does not exist"):
        index.import_parquet(tmp_path / "none.parquet")
    with pytest.raises(errors.UsageError, match=r"has to end in \.parquet, \.npy, \.csv"):
        index.export(tmp_path / "all.txt")
    with pytest.raises(errors.UsageError, match="no room for thumbnails"):
        index.export(tmp_path / "all.csv", thumbnails=True)


def test_an_imported_index_has_the_name_that_is_given(index: lookalike.Index, tmp_path: Path) -> None:
    """It is opened by that name; an index that exists has its own."""
    index.export(tmp_path / "all.parquet")
    with lookalike.open(tmp_path / "copy.index") as copy:
        assert copy.import_parquet(tmp_path / "all.parquet", as_name="holidays").collection == "holidays"
        assert (copy.collection, len(copy)) == ("holidays", 26)
        assert copy.import_parquet(tmp_path / "all.parquet", as_name="holidays").replaced == 26
        with pytest.raises(errors.UsageError, match="this index is the collection holidays already"):
            copy.import_parquet(tmp_path / "all.parquet", as_name="other")
    with lookalike.open(tmp_path / "copy.index", collection="holidays") as opened:
        assert len(opened) == 26
    with (
        lookalike.open(tmp_path / "new.index") as new,
        pytest.raises(errors.UsageError, match="'a/b' cannot be the name of a collection"),
    ):
        new.import_parquet(tmp_path / "all.parquet", as_name="a/b")
