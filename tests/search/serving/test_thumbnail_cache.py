"""Thumbnails on the disk, within a bound."""

import os
from pathlib import Path

import pytest
from lookalike_search.serving.thumbnail_cache import ThumbnailCache

KEYS = [f"{number:064x}" for number in range(10)]


def test_the_thumbnails_that_were_not_wanted_for_longest_are_removed(tmp_path: Path) -> None:
    """Until a fifth of the bound is free again, and after a restart, too."""
    cache = ThumbnailCache(tmp_path, most_bytes=1000)
    for age, key in enumerate(KEYS):
        cache.put(key, 64, b"x" * 100)
        os.utime(next(tmp_path.rglob(f"{key}-64")), (age, age))
    assert all(path.stat().st_size == 100 for path in tmp_path.rglob("*-64"))
    assert cache.get(KEYS[0], 64) == b"x" * 100
    again = ThumbnailCache(tmp_path, most_bytes=1000)
    again.put("f" * 64, 64, b"y" * 100)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*-64")) <= 800
    assert again.get(KEYS[0], 64) is not None
    assert again.get(KEYS[1], 64) is None
    assert again.get("f" * 64, 64) == b"y" * 100


def test_edges_are_told_apart_and_too_large_ones_not_kept(tmp_path: Path) -> None:
    """A thumbnail as large as the bound would drive out all others."""
    cache = ThumbnailCache(tmp_path / "new", most_bytes=10)
    cache.put(KEYS[0], 64, b"small")
    cache.put(KEYS[0], 128, b"larger than all")
    assert (cache.get(KEYS[0], 64), cache.get(KEYS[0], 128), cache.get(KEYS[1], 64)) == (b"small", None, None)


@pytest.mark.skipif(os.name == "nt", reason="there, a file is a folder's name as well")
def test_nothing_is_kept_where_the_folder_cannot_be(tmp_path: Path) -> None:
    """A home may be read-only."""
    (tmp_path / "file").touch()
    cache = ThumbnailCache(tmp_path / "file", most_bytes=10)
    cache.put(KEYS[0], 64, b"small")
    assert cache.get(KEYS[0], 64) is None
