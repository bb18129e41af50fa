"""ImageNet's tables, and the classes that they give."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.images.scan import FoundFile
from lookalike_ingest.labels import Label
from lookalike_ingest.synsets import (
    MAX_BYTES,
    Synsets,
    choose_synset_labels,
    find_upward,
    read_names,
    read_solution,
)

NAMES = """\
n01440764 tench, Tinca tinca
n02012849 crane
n02113186 Cardigan, Cardigan Welsh corgi
n02963159 cardigan
n03126707 crane
n03710637 maillot
n03710721 maillot, tank suit
n04008634 projectile, missile
"""
"""Lines of the real mapping, including all cases of two synsets with the same first name."""

SOLUTION = """\
ImageId,PredictionString
ILSVRC2012_val_00048981,n01440764 85 1 499 272
ILSVRC2012_val_00037956,n02012849 131 0 499 254 n02012849 0 39 78 117
ILSVRC2012_val_00000001,n09999999 1 2 3 4
"""


def found(path: str) -> FoundFile:
    """Returns an image file with that path."""
    return FoundFile(path=path, root=Path("/anywhere"), bytes=1, mtime_ns=1, ctime_ns=1)


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    """Makes the competition's unpacked folders, with tables and without images."""
    root = tmp_path / "imagenet-object-localization-challenge"
    (root / "ILSVRC/Data/CLS-LOC/train/n01440764").mkdir(parents=True)
    (root / "LOC_synset_mapping.txt").write_text(NAMES, encoding="utf-8")
    (root / "LOC_val_solution.csv").write_text(SOLUTION, encoding="utf-8")
    return root


def labels_of(root: Path, **given: Path | None) -> Callable[[str], Label]:
    """Returns the labels of a dataset's images, by path."""
    tables = {"names": None, "solution": None} | given
    label_of = choose_synset_labels(root, **tables)
    return lambda path: label_of(found(path))


def tench() -> Label:
    """Returns the label of a tench."""
    return Label(class_name="tench", synset="n01440764")


def written(tmp_path: Path, content: str | bytes) -> Path:
    """Writes a table."""
    file = tmp_path / "table"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_the_class_is_the_first_name(tmp_path: Path) -> None:
    """If two synsets share it, ignoring case, the id is appended."""
    assert read_names(written(tmp_path, NAMES)) == {
        "n01440764": "tench",
        "n02012849": "crane (n02012849)",
        "n02113186": "Cardigan (n02113186)",
        "n02963159": "cardigan (n02963159)",
        "n03126707": "crane (n03126707)",
        "n03710637": "maillot (n03710637)",
        "n03710721": "maillot (n03710721)",
        "n04008634": "projectile",
    }


@pytest.mark.parametrize(
    "text",
    [
        "n01440764 tench, Tinca tinca\r\n\r\nn04507155 umbrella",
        "\ufeffn01440764 tench\nn04507155 umbrella\n",
        "n01440764\ttench, Tinca tinca\nn04507155\tumbrella\n",
        "  n01440764   tench \n n04507155 umbrella\n",
    ],
    ids=["windows-line-ends", "byte-order-mark", "tabs-as-in-words.txt", "spaces"],
)
def test_lists_of_other_programs_are_read(text: str, tmp_path: Path) -> None:
    """WordNet's own `words.txt` has tabs."""
    assert read_names(written(tmp_path, text)) == {"n01440764": "tench", "n04507155": "umbrella"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no lines like"),
        ("n01440764 tench\nn04507155\n", "line 2 is not like"),
        ("n01440764 tench\nn04507155 , , \n", "line 2 is not like"),
        ("n1440764 tench\n", "line 1 is not like"),
        ("n0144076\u0664 tench\n", "line 1 is not like"),
        ("path,class\n", "line 1 is not like"),
        ("n01440764 ten\0ch\n", "line 1 is not like"),
        ("n01440764 ten\x1b[31mch\n", "line 1 is not like"),
        ("n01440764 tench\nn01440764 trout\n", "line 2 repeats n01440764"),
        ("n01440764 tench\n".encode("utf-16"), "cannot be read as UTF-8 text"),
        ("n01440764 tanche \u00e0 t\u00eate\n".encode("latin-1"), "cannot be read as UTF-8 text"),
        (b"\0" * 1000, "line 1 is not like"),
        (b"x" * 1_000_000, "line 1 is not like"),
    ],
    ids=[
        "empty",
        "id-alone",
        "no-name",
        "short-id",
        "other-digits",
        "another-table",
        "nul",
        "escape",
        "twice",
        "utf-16",
        "latin-1",
        "zeros",
        "endless-line",
    ],
)
def test_an_invalid_mapping_is_refused_with_its_fault(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    """The message is short and names the file."""
    file = written(tmp_path, content)
    with pytest.raises(UsageError, match=said) as refused:
        read_names(file)
    assert str(file) in str(refused.value)
    assert len(str(refused.value)) < len(str(file)) + 300


def test_the_first_synset_of_a_prediction_counts(tmp_path: Path) -> None:
    """An image has a box for each object; an empty prediction is ignored."""
    assert read_solution(written(tmp_path, f"\ufeff{SOLUTION}ILSVRC2012_val_00000002,\n\n")) == {
        "ILSVRC2012_val_00048981": "n01440764",
        "ILSVRC2012_val_00037956": "n02012849",
        "ILSVRC2012_val_00000001": "n09999999",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the header must be ImageId,PredictionString and is $"),
        ("ILSVRC2012_val_00048981,n01440764 1 2 3 4\n", "header must be .* and is ILSVRC2012_val_00048981"),
        ("ImageId\nx\n", "and is ImageId$"),
        (f"{'x' * 100_000}\n", "header must be"),
        ("ImageId,PredictionString\na,tench 1 2 3 4\n", "line 2 predicts 'tench', which is not a synset"),
        ("ImageId,PredictionString\na,\0\n", r"line 2 predicts '\\x00', which is not a synset"),
        (f"ImageId,PredictionString\na,{'x' * 100_000}\n", "line 2 predicts 'x+', which is not a synset"),
        (f"ImageId,PredictionString\na,{'x' * 200_000}\n", "cannot be read as a CSV"),
        ("ImageId,PredictionString\na,n01440764\na,n01440764\n", "line 3 repeats a"),
        (SOLUTION.encode("utf-16"), "cannot be read as UTF-8 text"),
    ],
    ids=[
        "empty",
        "no-header",
        "missing-column",
        "endless-header",
        "name",
        "nul",
        "long-prediction",
        "endless-field",
        "twice",
        "utf-16",
    ],
)
def test_an_invalid_solution_is_refused_with_its_fault(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    """The message is short and names the file."""
    file = written(tmp_path, content)
    with pytest.raises(UsageError, match=said) as refused:
        read_solution(file)
    assert str(file) in str(refused.value)
    assert len(str(refused.value)) < len(str(file)) + 400


def test_a_short_row_of_a_solution_is_ignored(tmp_path: Path) -> None:
    """It is handled like an empty prediction."""
    assert read_solution(written(tmp_path, "ImageId,PredictionString\na\n")) == {}


@pytest.mark.parametrize("read", [read_names, read_solution])
def test_a_table_that_is_not_a_file_or_too_large_is_refused_unread(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    """The path may be a folder, missing, or a file that would fill the memory."""
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    for name, said in (
        ("folder", "is not a file"),
        ("none", "does not exist"),
        ("large", "is larger"),
    ):
        with pytest.raises(UsageError, match=said):
            read(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Reading it may never end."""
    os.mkfifo(tmp_path / "pipe")
    for read in (read_names, read_solution):
        with pytest.raises(UsageError, match="is not a file; name the table itself"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("ILSVRC/Data/CLS-LOC/train", "n01440764/n01440764_10026.JPEG"),
        (".", "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_10026.JPEG"),
        ("ILSVRC/Data/CLS-LOC", "train/n01440764/n01440764_10026.JPEG"),
        ("ILSVRC/Data/CLS-LOC/train/n01440764", "n01440764_10026.JPEG"),
        ("ILSVRC/Data/CLS-LOC/val", "ILSVRC2012_val_00048981.JPEG"),
        ("ILSVRC/Data/CLS-LOC", "val/ILSVRC2012_val_00048981.JPEG"),
        ("ILSVRC/Data/CLS-LOC/val", "n01440764/ILSVRC2012_val_00037956.JPEG"),
        ("ILSVRC/Data/CLS-LOC/train", "n02012849/n01440764/1.JPEG"),
    ],
    ids=["train", "all", "cls-loc", "one-folder", "val", "val-of-cls-loc", "sorted-val", "nested"],
)
def test_an_image_has_the_synset_of_its_folder_or_of_the_solution(
    root: str, path: str, competition: Path
) -> None:
    """Any of the competition's folders may be the root; the tables are found above it."""
    assert labels_of((competition / root).resolve())(path) == tench()


@pytest.mark.parametrize(
    "path",
    [
        "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000009.JPEG",
        "test/ILSVRC2012_test_00000001.JPEG",
    ],
)
def test_an_image_in_no_table_has_no_class(path: str, competition: Path) -> None:
    """Neither `ILSVRC` nor `test` is a class."""
    assert labels_of(competition)(path) == Label(class_name=None)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("n09999999/1.JPEG", Label(class_name="n09999999", synset="n09999999")),
        ("val/ILSVRC2012_val_00000001.JPEG", Label(class_name="n09999999", synset="n09999999")),
    ],
)
def test_a_synset_without_a_name_has_its_id_as_class(path: str, label: Label, competition: Path) -> None:
    """Training and validation images then have the same class."""
    assert labels_of(competition)(path) == label


@pytest.mark.parametrize(
    ("path", "class_name"),
    [
        ("cat/1.jpg", "cat"),
        ("1.jpg", None),
        ("n0144076/1.jpg", "n0144076"),
        ("n014407641/1.jpg", "n014407641"),
        ("xn01440764/1.jpg", "xn01440764"),
        ("tench/ILSVRC2012_val_00000009.JPEG", "tench"),
        ("val/1.jpg", "val"),
        ("test/ILSVRC2012_val_00000009.JPEG", "test"),
    ],
)
def test_images_without_a_synset_have_the_class_of_their_folder(
    path: str, class_name: str | None, competition: Path
) -> None:
    """Such folders may be beside those of ImageNet."""
    assert labels_of(competition)(path) == Label(class_name=class_name)


def test_without_tables_folders_name_the_classes(tmp_path: Path, said: list[str]) -> None:
    """This holds even for a folder named like a synset."""
    label_of = labels_of(tmp_path)
    assert label_of("n01440764/1.jpg") == Label(class_name="n01440764")
    assert label_of("val/ILSVRC2012_val_00048981.JPEG") == Label(class_name="val")
    assert said == []


def test_the_nearest_table_is_used_and_logged(competition: Path, said: list[str]) -> None:
    """The log names it, because it may not be the expected one."""
    root = competition / "ILSVRC/Data/CLS-LOC/train"
    (root / "LOC_synset_mapping.txt").write_text("n01440764 Schleie\n")
    assert labels_of(root)("n01440764/1.JPEG").class_name == "Schleie"
    assert said == [
        f"names of synsets from {root / 'LOC_synset_mapping.txt'}",
        f"synsets of validation images from {competition / 'LOC_val_solution.csv'}",
    ]


def test_tables_are_searched_for_five_levels_up(competition: Path) -> None:
    """Tables further up belong to another folder."""
    deepest = competition / "ILSVRC/Data/CLS-LOC/train/n01440764"
    assert find_upward(deepest, "LOC_val_solution.csv") == competition / "LOC_val_solution.csv"
    assert find_upward(deepest / "deeper", "LOC_val_solution.csv") is None


def test_given_tables_override_found_ones(competition: Path, tmp_path: Path) -> None:
    """They may be in any folder."""
    names = tmp_path / "names.txt"
    names.write_text("n01440764 Schleie\nn02012849 Kranich\n")
    solution = tmp_path / "solution.csv"
    solution.write_text("ImageId,PredictionString\nILSVRC2012_val_00048981,n02012849 1 2 3 4\n")
    label_of = labels_of(competition, names=names, solution=solution)
    assert label_of("train/n01440764/1.JPEG").class_name == "Schleie"
    assert label_of("val/ILSVRC2012_val_00048981.JPEG").class_name == "Kranich"


@pytest.mark.parametrize("kind", ["folder", "nonsense", "link to nowhere"])
def test_an_invalid_table_that_was_found_is_one_warning(
    kind: str, competition: Path, said: list[str]
) -> None:
    """The ingest continues without it; an invalid table that was given is refused."""
    table = competition / "LOC_synset_mapping.txt"
    table.unlink()
    if kind == "folder":
        table.mkdir()
    elif kind == "nonsense":
        table.write_bytes(b"\xff\x00nonsense")
    else:
        table.symlink_to("nowhere")
    label_of = labels_of(competition)
    assert len([line for line in said if line.startswith("warning: going on without")]) == 1
    assert label_of("val/ILSVRC2012_val_00048981.JPEG").synset == "n01440764"
    with pytest.raises(UsageError, match=str(table)):
        labels_of(competition, names=table)


def test_labels_need_no_file_access() -> None:
    """The scan has already read the folders, perhaps of a million images."""
    synsets = Synsets(names={"n01440764": "tench"}, images={"a": "n01440764"})
    assert synsets.label_of(found("not/there/a.jpg")) == tench()
