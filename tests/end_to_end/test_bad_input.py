"""Tests the commands on unusable input: one clear line, its exit code, and no side effect."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

NOBODY = "~nobody-of-this-name/x"
ENDLESS = "x" * 5_000


def error_line(done: Any) -> str:
    """Returns the one line that names the fault; there is no traceback and nothing on stdout."""
    assert "Traceback" not in done.err
    assert done.out == ""
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return str(line)


@pytest.fixture
def images(shell: Any, ingested: Any) -> Path:
    """Links the small image folder beside an empty store."""
    (shell.folder / "pictures").symlink_to(ingested.folder / "pictures")
    return Path(shell.folder / "pictures")


def test_a_label_table_that_matches_no_image_exits_2_before_any_work(shell: Any, images: Path) -> None:
    """No row names an image, since the table belongs to another root."""
    (shell.folder / "labels.csv").write_text("path,class\npictures/circle/crimson.png,round\n")
    done = shell.ingest("pictures", "--labels", "labels.csv")
    assert done.code == 2
    assert "'pictures/circle/crimson.png'" in error_line(done)
    assert not (shell.folder / "home").exists()


def test_unmatched_rows_of_a_label_table_are_counted(shell: Any, images: Path) -> None:
    """The count is also in the JSON report."""
    (shell.folder / "labels.csv").write_text("path,class\ncircle/crimson.png,round\na.png,x\nb.png,x\n")
    (report,) = shell.ingest("pictures", "--labels", "labels.csv", "--dry-run", "--json").json
    assert report["unused_labels"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes and devices of this kind")
@pytest.mark.parametrize(("option", "code"), [("--labels", 2), ("--weights", 3)])
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_as_query_is_refused_without_waiting(
    option: str, code: int, name: str, shell: Any, images: Path
) -> None:
    """Reading a pipe that has no writer, or a device without an end, would block the command."""
    os.mkfifo(shell.folder / "pipe")
    done = shell("ingest", "run", "pictures", "--backbone", "vgg", option, name)
    assert done.code == code
    assert f"{name} is not a file" in error_line(done)


def test_an_empty_query_exits_2(ingested: Any) -> None:
    """An empty shell variable is not taken for the current folder."""
    done = ingested("search", "query", "")
    assert done.code == 2
    assert "name is empty" in error_line(done)


@pytest.mark.parametrize("name", ["file", "file/below"])
@pytest.mark.parametrize("words", [["ingest", "status"], ["search", "query", "x.png"]])
def test_a_store_that_is_a_file_exits_5(words: list[str], name: str, shell: Any) -> None:
    """It is not reported as an empty store."""
    (shell.folder / "file").write_text("no folder")
    done = shell(*words, "--store", f"embedded:{shell.folder / name}")
    assert done.code == 5
    assert "cannot hold collections" in error_line(done)


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "run", "pictures"],
        ["ingest", "status"],
        ["search", "query", "pictures/circle/crimson.png"],
        ["exporter", "run", "--backbone", "vgg"],
        ["exporter", "list"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_home_that_is_a_file_exits_1_in_every_command(words: list[str], shell: Any, images: Path) -> None:
    """The file is not replaced by a folder."""
    (shell.folder / "file").write_text("no folder")
    done = shell(*words, LOOKALIKE_HOME=str(shell.folder / "file"))
    assert done.code == 1
    assert "LOOKALIKE_HOME" in error_line(done)


@pytest.mark.parametrize("name", [NOBODY, ENDLESS], ids=["nobody", "endless"])
@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "run", "pictures", "--backbone", "vgg", "--weights", "{}"],
        ["ingest", "run", "pictures", "--labels", "{}"],
        ["ingest", "run", "{}"],
        ["ingest", "sample", "{}"],
        ["ingest", "sample", "drawn", "--query", "{}.png"],
        ["ingest", "status", "--store", "embedded:{}"],
        ["exporter", "run", "--backbone", "vgg", "--output", "{}.onnx"],
    ],
    ids=" ".join,
)
def test_an_impossible_path_exits_2(words: list[str], name: str, shell: Any, images: Path) -> None:
    """It may be in the home of an unknown user, or have a name longer than the system allows."""
    done = shell(*(word.format(name) for word in words))
    assert done.code == 2
    assert len(error_line(done)) < 1_000
    assert sorted(path.name for path in shell.folder.iterdir()) == ["pictures"]


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "run", "{}"],
        ["ingest", "run", "pictures", "--labels", "{}"],
        ["ingest", "run", "pictures", "--synsets", "{}"],
        ["ingest", "run", "pictures", "--backbone", "vgg", "--weights", "{}"],
        ["exporter", "run", "--backbone", "vgg", "--calibrate", "{}"],
        ["exporter", "verify", "--backbone", "vgg", "--images", "{}"],
    ],
    ids=" ".join,
)
def test_a_missing_path_is_reported_with_similar_ones(words: list[str], shell: Any, images: Path) -> None:
    """The message names the deepest existing folder or a similar name, and a remedy."""
    done = shell(*(word.format("pictuers/x") for word in words))
    assert done.code in (2, 3)
    assert f"{shell.folder / 'pictuers/x'} does not exist, but {images} does;" in error_line(done)


def test_a_missing_query_is_reported_with_similar_paths(shell: Any, images: Path) -> None:
    """The message names a similar path and a remedy."""
    assert shell.ingest(images).code == 0
    done = shell("search", "query", "pictures/circle/crimsn.png")
    assert done.code == 4
    line = error_line(done)
    assert "pictures/circle/crimsn.png does not exist, but pictures/circle/crimson.png does" in line
    assert line.endswith("check its name, and whether its disk is mounted")


def test_an_unwritable_output_exits_2_before_a_download(shell: Any) -> None:
    """The official weights are not downloaded first."""
    (shell.folder / "model.onnx").mkdir()
    done = shell("exporter", "run", "--backbone", "vgg", "--output", "model.onnx")
    assert done.code == 2
    assert "is a folder" in error_line(done)
    assert not (shell.folder / "home").exists()


@pytest.mark.parametrize("query", ["q.bmp", "q", "folder.png"])
def test_a_sample_with_an_unwritable_query_exits_2_before_any_work(query: str, shell: Any) -> None:
    """No sample folder is left without its query image."""
    (shell.folder / "folder.png").mkdir()
    done = shell("ingest", "sample", "drawn", "--query", query)
    assert done.code == 2
    assert query in error_line(done)
    assert not (shell.folder / "drawn").exists()


def test_deeply_nested_manifests_are_invalid_manifests(shell: Any, images: Path, ingested: Any) -> None:
    """The collection is refused with its path, and a model with such a card is exported again."""
    shell.ingest("pictures")
    (card,) = (shell.folder / "home/models").glob("*.json")
    card.write_text("[" * 100_000)
    assert shell("exporter", "list", "--json").out == ""
    (manifest,) = (shell.folder / "home/qdrant").glob("*/manifest.json")
    manifest.write_text("[" * 100_000)
    done = shell.ingest("pictures")
    assert done.code == 6
    assert f"{manifest} cannot be read: it is nested too deeply" in error_line(done)


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        (["ingest", "status"], "make one with: ingest run{store} DIR"),
        (["search", "query", "pictures/circle/crimson.png"], "with: ingest run{store} DIR"),
        (["search", "duplicates", "--collection", "nothing"], "with: ingest run{store} DIR"),
        (["ingest", "rebuild", "nothing"], "there with: ingest status{store}"),
    ],
)
@pytest.mark.usefixtures("images")
def test_advised_commands_name_the_store_of_the_command(
    shell: Any, tmp_path: Path, words: list[str], advised: str
) -> None:
    """Without it they would look at another store."""
    store = f"embedded:{tmp_path / 'my store'}"
    done = shell(*words, "--store", store)
    assert advised.format(store=f" --store {shlex.quote(store)}") in done.out + done.err
    done = shell(*words)
    assert advised.format(store="") in done.out + done.err
