"""Tests `search duplicates`: its table, its JSON, and the paths that it prints for deletion."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def album(shell: Any, draw: Any, tmp_path: Path) -> Path:
    """Ingests an image in two sizes and as a copy with a line break in its name, and another image."""
    folder = tmp_path / "album"
    draw(folder, "cat/large.png", size=(640, 480))
    draw(folder, "dog/other.png", seed=5)
    with Image.open(folder / "cat/large.png") as image:
        image.resize((320, 240), Image.Resampling.LANCZOS).save(folder / "cat/small.png")
    (folder / "cat/a\nb.png").write_bytes((folder / "cat/large.png").read_bytes())
    os.utime(folder / "cat/large.png", ns=(10, 10))
    assert shell.ingest("album").code == 0
    return folder


def test_groups_name_the_file_to_keep(shell: Any, album: Path) -> None:
    """Each group is one JSON object; no file is deleted."""
    before = sorted(album.rglob("*.png"))
    done = shell("search", "duplicates", "--json", "--above", "0.98")
    assert done.code == 0, done.err
    (group,) = done.json
    assert list(group) == [
        "schema",
        "collection",
        "group",
        "because",
        "proven",
        "frees",
        "kept",
        "others",
    ]
    assert (group["schema"], group["group"], group["because"]) == (1, 1, "oldest")
    assert group["kept"]["file"] == str(album / "cat/large.png")
    copy, small = group["others"]
    assert (copy["path"], copy["identical"], copy["similarity"]) == ("cat/a\nb.png", True, 1)
    assert (group["proven"], copy["match"], small["match"]) == (True, "identical", "near-duplicate")
    assert (small["path"], small["identical"], small["width"], small["height"]) == (
        "cat/small.png",
        False,
        320,
        240,
    )
    assert 0.98 < small["similarity"] <= 1
    assert group["frees"] == copy["bytes"] + small["bytes"] == copy["frees"] + small["frees"]
    assert {each["state"] for each in (group["kept"], copy, small)} == {"present"}
    assert sorted(album.rglob("*.png")) == before


def test_the_table_lists_files_that_could_be_deleted(shell: Any, album: Path) -> None:
    """The kept file comes first, each name takes one line, and the last line is the total."""
    done = shell("search", "duplicates", "--above", "0.98")
    first, *rows, blank, total = done.out.splitlines()
    assert first.startswith("group 1: 3 images, ")
    assert first.endswith("could go; kept: oldest")
    assert [row.split()[0] for row in rows] == ["keep", "same", "near-duplicate"]
    assert rows[0].endswith(str(album / "cat/large.png"))
    assert rows[1].endswith("a\\nb.png")
    assert blank == ""
    assert total.startswith("groups: 1, of 3 images; files that could go: 2, ")
    assert total.endswith("; only similar: 0; nothing was deleted")


def test_paths_can_be_piped(shell: Any, album: Path) -> None:
    """Only deletable files are printed; names with line breaks need `--print0`, changed files are omitted."""
    done = shell("search", "duplicates", "--above", "0.98", "--paths")
    assert done.out == f"{album / 'cat/small.png'}\n"
    assert "--print0" in done.err
    done = shell("search", "duplicates", "--above", "0.98", "--print0")
    assert done.out.split("\0") == [str(album / "cat/a\nb.png"), str(album / "cat/small.png"), ""]
    (album / "cat/small.png").write_bytes(b"something else")
    done = shell("search", "duplicates", "--above", "0.98", "--print0")
    assert done.out.split("\0") == [str(album / "cat/a\nb.png"), ""]
    assert "1 of these files are gone, or changed" in done.err
    assert "similar, changed" in shell("search", "duplicates", "--above", "0.98").out


def test_no_duplicate_of_a_changed_file_is_offered(shell: Any, album: Path) -> None:
    """If the bytes of the file to keep changed since the ingest, its group offers nothing."""
    data = bytearray((album / "cat/large.png").read_bytes())
    data[-20] ^= 1
    (album / "cat/large.png").write_bytes(data)
    done = shell("search", "duplicates", "--above", "0.98")
    assert "keep, changed" in done.out
    assert "files that could go: 0, " in done.out
    assert shell("search", "duplicates", "--above", "0.98", "--print0").out == ""


def test_copies_in_a_preferred_folder_are_kept(shell: Any, album: Path) -> None:
    """The path may be absolute or relative; the group notes it, and a folder without any image is refused."""
    for named in ("album/dog", "album/dog/", str(album / "dog")):
        (album / "dog/copy.png").write_bytes((album / "cat/large.png").read_bytes())
        assert shell.ingest("album").code == 0
        done = shell("search", "duplicates", "--above", "1", "--print0", "--keep-in", named)
        assert sorted(done.out.split("\0")) == ["", str(album / "cat/a\nb.png"), str(album / "cat/large.png")]
    shown = shell("search", "duplicates", "--above", "1", "--keep-in", "album/dog").out
    assert f"could go; kept: in {album / 'dog'}" in shown
    (shell.folder / "elsewhere").mkdir()
    for named in ("elsewhere", "missing", "album/cat/large.png"):
        done = shell("search", "duplicates", "--keep-in", named)
        assert (done.code, done.out) == (2, "")
        assert "--keep-in" in done.err


def test_without_duplicates_nothing_is_printed(ingested: Any) -> None:
    """JSON and paths are empty; the table says zero."""
    words = ("search", "duplicates", "--above", "1")
    assert ingested(*words, "--json").out == ""
    assert ingested(*words, "--paths").out == ""
    assert ingested(*words).out.startswith("groups: 0, of 0 images")


def test_invalid_requests_are_refused(ingested: Any) -> None:
    """Wrong usage and a missing collection have their exit codes."""
    for words, code in [
        (["--above", "1.5"], 2),
        (["--above", "nan"], 2),
        (["--paths", "--json"], 2),
        (["--paths", "--print0"], 2),
        (["--collection", "none"], 6),
    ]:
        assert ingested("search", "duplicates", *words).code == code, words
