"""Tests full disks, read-only disks, other file systems, and homes that a newer version wrote."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.stores.edge_engine import DEFAULT_ENGINE_TUNING
from read_only import read_contents, read_only

SPARE_BYTES = DEFAULT_ENGINE_TUNING.spare_bytes
DISK_BYTES = 4 * SPARE_BYTES


@pytest.fixture
def images(shell: Any, ingested: Any) -> Path:
    """Copies the small image folder."""
    target: Path = shell.folder / "pictures"
    shutil.copytree(ingested.folder / "pictures", target)
    return target


@pytest.fixture
def disk(shell: Any) -> Iterator[Path]:
    """Mounts a small file system at the home of the shell."""
    home: Path = shell.folder / "home"
    home.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "lookalike", str(home)]
    if sys.platform != "linux" or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield home
    subprocess.run(["umount", home], check=True)  # noqa: S607


def fill(disk: Path, *, free_bytes: int) -> Path:
    """Fills the disk up to `free_bytes`; returns the file that takes the space."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - free_bytes)
    return filler


def count_points(shell: Any) -> int:
    """Returns the number of points in the only collection."""
    (status,) = shell("ingest", "status", "--json").json
    return sum(collection["points"] for collection in status["collections"])


@pytest.mark.parametrize("free_bytes", [0, 60_000, SPARE_BYTES // 2])
def test_a_first_run_on_a_full_disk_leaves_no_partial_files(
    shell: Any, images: Path, disk: Path, free_bytes: int
) -> None:
    """There is no space for lock, model or collection; with space, the same command succeeds."""
    filler = fill(disk, free_bytes=free_bytes)
    done = shell.ingest("pictures")
    assert done.code == 1
    assert str(disk) in done.err
    assert "disk is full; make room and run the same command again" in done.err
    assert not [path for path in disk.rglob(".*") if path.name != "."]
    filler.unlink()
    assert shell.ingest("pictures").code == 0
    assert count_points(shell) == 12


def test_a_full_disk_loses_no_stored_point(shell: Any, images: Path, disk: Path) -> None:
    """New images are not added; searches work while there is space to open a collection, else fail."""
    shell.ingest("pictures")
    shutil.copytree(images / "circle", images / "new")
    (images / "new" / "crimson.png").write_bytes((images / "square/crimson.png").read_bytes() + b"\0")
    # opening takes room here, too: a file system in memory gives the engine's sparse files all of theirs
    filler = fill(disk, free_bytes=4 * DEFAULT_ENGINE_TUNING.spare_to_open_bytes)
    done = shell.ingest("pictures")
    assert (done.code, "disk is full" in done.err) == (1, True)
    assert count_points(shell) == 12
    assert shell("search", "query", images / "circle/crimson.png").code == 0
    filler.unlink()
    filler = fill(disk, free_bytes=100_000)
    done = shell("search", "query", images / "circle/crimson.png")
    assert (done.code, "disk is full" in done.err) == (1, True)
    filler.unlink()
    assert shell.ingest("pictures").code == 0
    assert count_points(shell) == 16


def test_a_read_only_home_can_be_searched(shell: Any, images: Path) -> None:
    """Queries, evaluations, duplicates, lists and dry runs work without a warning and change no byte."""
    assert shell.ingest("pictures").code == 0
    home, temporary, image = shell.folder / "home", shell.folder / "tmp", images / "circle/crimson.png"
    temporary.mkdir()
    shutil.rmtree(home / "models" / "optimized", ignore_errors=True)
    asked = [
        ("search", "query", image),
        ("ingest", "status"),
        ("search", "evaluate"),
        ("search", "duplicates"),
        ("search", "neighbours", "--output", shell.folder / "neighbours.csv"),
        ("ingest", "run", "pictures", "--dry-run", *shell.model),
    ]
    usual = [shell(*words) for words in asked]
    shutil.rmtree(home / "models" / "optimized", ignore_errors=True)
    files = read_contents(home)
    with read_only(home):
        done = [shell(*words, TMPDIR=str(temporary)) for words in asked]
        assert read_contents(home) == files
    assert [each.code for each in done] == [0] * len(asked), done
    assert [without_times(each.out) for each in done] == [without_times(each.out) for each in usual]
    assert not [each.err for each in done if "read" in each.err or "warning" in each.err]
    assert list(temporary.iterdir()) == []


def test_a_read_only_store_is_moved_and_checked(shell: Any, images: Path) -> None:
    """Copy, backup, verification, export and audit read it; what they write is elsewhere."""
    assert images.is_dir()
    assert shell.ingest("pictures").code == 0
    (name,) = [path.parent.name for path in (shell.folder / "home/qdrant").glob("*/manifest.json")]
    assert shell("search", "export", "--output", "first.parquet").code == 0
    assert shell("ingest", "backup", name, "first.tar").code == 0
    files = read_contents(shell.folder / "home/qdrant")
    with read_only(shell.folder / "home/qdrant"):
        for words in (
            ("ingest", "copy", name, "--to", "embedded:copied"),
            ("ingest", "backup", name, "second.tar"),
            ("ingest", "verify", name, "--sample", "3"),
            ("search", "export", "--output", "second.csv"),
            ("search", "audit", "--csv", "findings.csv"),
        ):
            done = shell(*words)
            assert done.code == 0, (words, done.err)
        for words in (
            ("ingest", "copy", name, "--store", "embedded:copied", "--to", "embedded", "--as", "other"),
            ("ingest", "import", "first.parquet"),
            ("ingest", "restore", "first.tar"),
        ):
            done = shell(*words)
            assert (done.code, "is read-only (" in done.err) == (5, True), (words, done.err)
    assert read_contents(shell.folder / "home/qdrant") == files


def without_times(text: str) -> list[str]:
    """Returns the lines that name no duration."""
    return [line for line in text.splitlines() if " ms" not in line and " s" not in line]


def test_writing_to_a_read_only_home_exits_5_before_any_work(shell: Any, images: Path) -> None:
    """The message names the folder, for every command that writes, and no model is loaded."""
    assert shell.ingest("pictures").code == 0
    (name,) = [path.parent.name for path in (shell.folder / "home/qdrant").glob("*/manifest.json")]
    files = read_contents(shell.folder / "home")
    shutil.copytree(images / "circle", images / "new")
    with read_only(shell.folder / "home"):
        for words in (
            ("ingest", "run", "pictures", *shell.model),
            ("ingest", "run", "pictures", *shell.model, "--distance", "euclid"),
            ("ingest", "rebuild", name),
            ("ingest", "remove", "--dataset", "pictures", "--yes"),
            ("search", "calibrate"),
        ):
            done = shell(*words)
            assert done.code == 5, done.err
            assert f"{shell.folder / 'home/qdrant'} is read-only (" in done.err
            assert "make it writable, or name another with --store embedded:DIR" in done.err
            assert "runs on" not in done.err
    assert read_contents(shell.folder / "home") == files


def test_a_read_only_home_without_the_model_names_the_folder_and_the_variable(
    shell: Any, images: Path
) -> None:
    """The model is missing and cannot be saved there; another home makes it again."""
    store = f"embedded:{shell.folder / 'index'}"
    assert shell.ingest("pictures", "--store", store).code == 0
    shutil.rmtree(shell.folder / "home/models")
    query = ("search", "query", images / "circle/crimson.png", "--store", store)
    with read_only(shell.folder / "home", shell.folder / "index"):
        done = shell(*query)
        assert done.code == 1
        assert f"{shell.folder / 'home/models'} may only be read (" in done.err
        assert "LOOKALIKE_HOME" in done.err
        assert shell("exporter", "run", *shell.model).code == 1
        assert shell(*query, LOOKALIKE_HOME=str(shell.folder / "other")).code == 0


def test_the_hint_about_another_home_keeps_the_store(shell: Any, images: Path) -> None:
    """The collections are in the old home, so the hint passes `--store` beside the new one."""
    assert shell.ingest("pictures").code == 0
    shutil.rmtree(shell.folder / "home/models")
    with read_only(shell.folder / "home"):
        done = shell("search", "query", images / "circle/crimson.png")
        assert done.code == 1
        *_, named, store = shlex.split(done.err.splitlines()[-1])
        assert (named, store) == ("--store", f"embedded:{shell.folder / 'home/qdrant'}")
        query = ("search", "query", images / "circle/crimson.png", named, store)
        assert shell(*query, LOOKALIKE_HOME=str(shell.folder / "other")).code == 0


def test_a_home_may_be_on_another_file_system_than_temporary_files(
    shell: Any, images: Path, disk: Path
) -> None:
    """Nothing is renamed across file systems."""
    temporary = shell.folder / "tmp"
    temporary.mkdir()
    words = ("ingest", "run", "pictures", *shell.model)
    assert shell(*words, TMPDIR=str(temporary)).code == 0
    assert count_points(shell) == 12
    assert list(temporary.iterdir()) == []


def test_a_home_of_a_newer_version_is_refused_unchanged(shell: Any, images: Path) -> None:
    """Reading and writing are refused with a remedy, and no byte changes."""
    shell.ingest("pictures")
    (manifest,) = (shell.folder / "home/qdrant").glob("*/manifest.json")
    data = json.loads(manifest.read_text(encoding="utf-8")) | {"schema": 99, "new": {"thing": 1}}
    manifest.write_text(json.dumps(data), encoding="utf-8")
    card, name = next((shell.folder / "home/models").glob("*.json")), manifest.parent.name
    card.write_text(json.dumps({"schema": 99}), encoding="utf-8")
    for words in (
        ("ingest", "run", "pictures", *shell.model),
        ("ingest", "rebuild", name),
        ("search", "query", images / "circle/crimson.png", "--collection", name),
    ):
        done = shell(*words)
        assert done.code == 6, done.err
        assert "schema 99 and this version reads up to 1; upgrade lookalike" in done.err
    assert "is skipped" in shell("ingest", "status").err
    assert json.loads(manifest.read_text(encoding="utf-8")) == data
