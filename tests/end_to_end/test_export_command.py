"""Tests `search export`: its files, its messages, its refusals."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from read_only import read_contents, read_only


@pytest.mark.parametrize("distance", ["cosine", "euclid"])
def test_a_collection_is_written_as_parquet(ingested: Any, tmp_path: Path, distance: str) -> None:
    """Files are absolute paths, and vectors those of the collection."""
    words = ("search", "export", "--distance", distance, "--output", tmp_path / "all.parquet")
    done = ingested(*words)
    assert done.code == 0, done.err
    assert f"{distance}: wrote 12 images with vectors of 64 values to {tmp_path}" in done.out
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert all(Path(row["file"]).is_file() for row in rows)
    lengths = np.linalg.norm([row["vector"] for row in rows], axis=1)
    assert np.allclose(lengths, 1, atol=1e-6) == (distance == "cosine")
    [said] = ingested(*words, "--json").json
    assert (said["images"], said["dimension"], said["table"]) == (12, 64, None)


def test_a_matrix_and_its_table_are_written(ingested: Any, tmp_path: Path) -> None:
    """Both are named, and filters apply."""
    words = ("search", "export", "--distance", "cosine", "--class", "circle", "--dataset", "pictures")
    done = ingested(*words, "--output", tmp_path / "a.npy")
    assert done.code == 0, done.err
    assert (
        f"wrote 4 images with vectors of 64 values to {tmp_path / 'a.npy'} and {tmp_path / 'a.csv'}"
        in done.out
    )
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["circle"] * 4
    assert np.load(tmp_path / "a.npy").shape == (4, 64)


def test_thumbnails_that_are_missing_and_formulas_are_warned_of(
    shell: Any, draw: Any, tmp_path: Path
) -> None:
    """The export is complete without them."""
    draw(tmp_path / "album", "=1+1.png", "cat/1.png")
    assert shell.ingest("album").code == 0
    (tmp_path / "album/cat/1.png").unlink()
    done = shell("search", "export", "--output", "a.parquet", "--thumbnails")
    assert done.code == 0, done.err
    assert "warning: 1 image without a thumbnail, since the file is gone" in done.err
    assert "formula" not in done.err
    done = shell("search", "export", "--output", "a.csv")
    assert done.code == 0, done.err
    assert "wrote 2 images to " in done.out
    assert "warning: 1 image with a name that begins with =" in done.err


def test_a_read_only_store_is_exported(shell: Any, draw: Any, tmp_path: Path) -> None:
    """Nothing in it changes."""
    draw(tmp_path / "album", "cat/1.png", "2.png")
    assert shell.ingest("album").code == 0
    before = read_contents(tmp_path / "home")
    with read_only(tmp_path / "home"):
        done = shell("search", "export", "--output", "a.parquet")
        assert done.code == 0, done.err
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 2
    assert read_contents(tmp_path / "home") == before


def test_without_pyarrow_parquet_is_refused_and_the_others_work(
    ingested: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    words = ("search", "export", "--distance", "cosine", "--output")
    done = ingested(*words, tmp_path / "a.parquet")
    assert (done.code, done.out) == (2, "")
    assert 'pip install "lookalike[parquet]"' in done.err
    for name in ("a.npy", "b.csv"):
        assert ingested(*words, tmp_path / name).code == 0


def test_invalid_requests_are_refused(ingested: Any, tmp_path: Path) -> None:
    """Each has its exit code and says what to do; nothing is written."""
    image = ingested.folder / "query.png"
    (tmp_path / "image.csv").write_bytes(image.read_bytes())
    store = ingested.folder / "home" / "qdrant"
    for words, code, said in [
        (["--output", "-"], 2, "has to end in .parquet, .npy, .csv"),
        (["--output", "a.txt"], 2, "has to end in .parquet, .npy, .csv"),
        (["--output", image], 2, "has to end in"),
        (["--output", tmp_path / "image.csv"], 2, "is a PNG and is not replaced"),
        (["--output", tmp_path / "a.csv", "--thumbnails"], 2, "no room for thumbnails"),
        (["--output", store / "a.csv"], 2, "lookalike's own files"),
        (["--output", tmp_path], 2, "is a folder"),
        ([], 2, "--output"),
        (["--output", tmp_path / "a.csv", "--class", "circel"], 2, "circle"),
        (["--output", tmp_path / "a.csv", "--dataset", "none"], 2, "pictures"),
        (["--output", tmp_path / "a.csv", "--collection", "none"], 6, "none"),
    ]:
        done = (
            ingested("search", "export", "--distance", "cosine", *words)
            if code == 2
            else ingested("search", "export", *words)
        )
        assert (done.code, done.out) == (code, ""), (words, done.err)
        assert said in done.err, done.err
        assert "Traceback" not in done.err
    assert [file.name for file in tmp_path.iterdir()] == ["image.csv"]


@pytest.mark.parametrize(
    "words", [["export", "--output", "x.csv"], ["audit"], ["duplicates"], ["map", "--json"]]
)
def test_a_repeated_collection_is_refused(ingested: Any, words: list[str]) -> None:
    """The last one would be taken without a word; the message says that one is to be named."""
    done = ingested("search", *words, "--collection", "a", "--collection", "b")
    assert (done.code, done.out) == (2, "")
    assert "only one collection can be used here; choose one with --collection" in done.err
    assert not (ingested.folder / "x.csv").exists()
