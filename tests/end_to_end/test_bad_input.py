"""What the commands say to input that cannot be meant: one clear line, its exit code, and nothing done."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

NOBODY = "~nobody-of-this-name/x"
ENDLESS = "x" * 5_000


def error_line(done: Any) -> str:
    """The one line that says what failed; there is no traceback and nothing on stdout."""
    assert "Traceback" not in done.err
    assert done.out == ""
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return str(line)


@pytest.fixture
def images(shell: Any, ingested: Any) -> Path:
    """A link to the small image folder beside an empty store."""
    (shell.folder / "pictures").symlink_to(ingested.folder / "pictures")
    return Path(shell.folder / "pictures")


def test_labels_of_another_folder_are_2_before_anything_is_done(shell: Any, images: Path) -> None:
    """Not one row names an image: the root is another one than the table's."""
    (shell.folder / "labels.csv").write_text("path,class\npictures/circle/crimson.png,round\n")
    done = shell.ingest("pictures", "--labels", "labels.csv")
    assert done.code == 2
    assert "'pictures/circle/crimson.png'" in error_line(done)
    assert not (shell.folder / "home").exists()


def test_labels_that_were_not_used_are_counted(shell: Any, images: Path) -> None:
    """In the report, too, for those who read nothing else."""
    (shell.folder / "labels.csv").write_text("path,class\ncircle/crimson.png,round\na.png,x\nb.png,x\n")
    (report,) = shell.ingest("pictures", "--labels", "labels.csv", "--dry-run", "--json").json
    assert report["unused_labels"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize(("option", "code"), [("--labels", 2), ("--weights", 3)])
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_is_not_waited_for(option: str, code: int, name: str, shell: Any, images: Path) -> None:
    """Nobody may ever write to it; nor does a device end."""
    os.mkfifo(shell.folder / "pipe")
    done = shell("ingest", "run", "pictures", "--backbone", "vgg", option, name)
    assert done.code == code
    assert f"{name} is not a file" in error_line(done)


def test_a_query_without_a_name_is_2(ingested: Any) -> None:
    """A script's empty variable, say; it is not the current folder."""
    done = ingested("search", "query", "")
    assert done.code == 2
    assert "name is empty" in error_line(done)


@pytest.mark.parametrize("name", ["file", "file/below"])
@pytest.mark.parametrize("words", [["ingest", "status"], ["search", "query", "x.png"]])
def test_a_store_that_is_a_file_is_5(words: list[str], name: str, shell: Any) -> None:
    """It is not an empty store."""
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
def test_a_home_that_is_a_file_is_1_for_every_command(words: list[str], shell: Any, images: Path) -> None:
    """And no folder is made of it."""
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
def test_a_path_that_cannot_be_is_2(words: list[str], name: str, shell: Any, images: Path) -> None:
    """The folder of a user who is not there, or a name longer than names may be."""
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
def test_a_path_that_is_not_there_is_said_with_what_is(words: list[str], shell: Any, images: Path) -> None:
    """Which of its folders are there, or what is called almost like it, and what to do."""
    done = shell(*(word.format("pictuers/x") for word in words))
    assert done.code in (2, 3)
    assert f"{shell.folder / 'pictuers/x'} does not exist, but {images} does;" in error_line(done)


def test_a_query_that_is_not_there_is_said_with_what_is(shell: Any, images: Path) -> None:
    """And in which collection it was looked for, for it may have been a path there."""
    assert shell.ingest(images).code == 0
    done = shell("search", "query", "pictures/circle/crimsn.png")
    assert done.code == 4
    line = error_line(done)
    assert "pictures/circle/crimsn.png does not exist, but pictures/circle/crimson.png does" in line
    assert line.endswith("check its name, and whether its disk is mounted")


def test_an_output_that_cannot_be_written_is_2_before_anything_is_fetched(shell: Any) -> None:
    """The official weights would be looked for otherwise."""
    (shell.folder / "model.onnx").mkdir()
    done = shell("exporter", "run", "--backbone", "vgg", "--output", "model.onnx")
    assert done.code == 2
    assert "is a folder" in error_line(done)
    assert not (shell.folder / "home").exists()


@pytest.mark.parametrize("query", ["q.bmp", "q", "folder.png"])
def test_a_query_that_cannot_be_drawn_is_2_before_the_set_is(query: str, shell: Any) -> None:
    """No set of images is left without its query."""
    (shell.folder / "folder.png").mkdir()
    done = shell("ingest", "sample", "drawn", "--query", query)
    assert done.code == 2
    assert query in error_line(done)
    assert not (shell.folder / "drawn").exists()


def test_manifests_and_cards_nested_without_end_are_no_manifests(
    shell: Any, images: Path, ingested: Any
) -> None:
    """The collection is refused with its path, and a model with such a card is exported anew."""
    shell.ingest("pictures")
    (card,) = (shell.folder / "home/models").glob("*.json")
    card.write_text("[" * 100_000)
    assert shell("exporter", "list", "--json").out == ""
    (manifest,) = (shell.folder / "home/qdrant").glob("*/manifest.json")
    manifest.write_text("[" * 100_000)
    done = shell.ingest("pictures")
    assert done.code == 6
    assert f"{manifest} cannot be read: it is nested too deeply" in error_line(done)
