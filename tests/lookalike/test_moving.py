"""Copies and backups of an index."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lookalike_core import errors

import lookalike

Draw = Callable[..., list[Path]]


@pytest.fixture
def folder(tiny_model: lookalike.Model, draw: Draw, tmp_path: Path) -> Path:
    """Makes an index of three images; returns its folder."""
    draw(tmp_path / "album", "cat/1.png", "cat/2.png", "dog/1.png")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(tmp_path / "album")
    return tmp_path


def test_an_index_is_copied_while_it_is_open(folder: Path, tiny_model: lookalike.Model) -> None:
    """The copy opens by the same model, or by its name where it has another."""
    with lookalike.open(folder / "photos.index", model=tiny_model) as index:
        report = index.copy(folder / "copy.index")
        assert (report.points, report.written) == (3, 3)
        named = index.copy(folder / "copy.index", as_name="holidays")
        assert named.new_name == "holidays"
        with pytest.raises(errors.UsageError, match="copied to itself"):
            index.copy(folder / "photos.index")
        found = [hit.path for hit in index.search(folder / "album/cat/1.png")]
    with lookalike.open(folder / "copy.index", model=tiny_model) as copy:
        assert [hit.path for hit in copy.search(folder / "album/cat/1.png")] == found
    with lookalike.open(folder / "copy.index", collection="holidays") as copy:
        assert len(copy) == 3


def test_an_index_is_restored_from_its_backup(folder: Path, tiny_model: lookalike.Model) -> None:
    """A check alone makes nothing."""
    with lookalike.open(folder / "photos.index", model=tiny_model) as index:
        assert index.backup(folder / "photos.tar").points == len(index) == 3
    assert lookalike.restore(folder / "photos.tar", check=True).store is None
    report = lookalike.restore(folder / "photos.tar", folder / "restored.index")
    with lookalike.open(folder / "restored.index", collection=report.name) as restored:
        assert restored.classes == {"cat": 2, "dog": 1}
    with pytest.raises(errors.ManifestError, match="already"):
        lookalike.restore(folder / "photos.tar", folder / "restored.index")
