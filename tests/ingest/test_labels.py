"""Classes from a CSV file, and invalid files."""

import os
import sys
from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_ingest.labels import check_labels, read_labels


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Writes a CSV file with these very line ends."""
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_each_row_gives_a_path_its_class(tmp_path: Path) -> None:
    """Paths may be in any script, and are quoted if they contain a comma."""
    text = 'path,class\na/1.jpg,cat\n"b, c/2.jpg","dog, small"\n日本/3.jpg,büffel\n'
    assert read_labels(table(tmp_path, text)) == {
        "a/1.jpg": "cat",
        "b, c/2.jpg": "dog, small",
        "日本/3.jpg": "büffel",
    }


def test_an_empty_class_is_no_class(tmp_path: Path) -> None:
    """It overrides the folder's class, too."""
    assert read_labels(table(tmp_path, "path,class\na/1.jpg,\n")) == {"a/1.jpg": None}


def test_a_row_without_a_class_cell_is_refused(tmp_path: Path) -> None:
    """It is more likely a mistake than an empty class."""
    with pytest.raises(UsageError, match="line 3 has too few cells"):
        read_labels(table(tmp_path, "path,class\na/1.jpg,cat\na/2.jpg\n"))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,class\r\na/1.jpg,cat\r\n", "utf-8"),
        ("path,class\na/1.jpg,cat", "utf-8-sig"),
        ("path,class\n\na/1.jpg,cat\n\n", "utf-8"),
        ("class,path\ncat,a/1.jpg\n", "utf-8"),
        ("id,path,class,note\n7,a/1.jpg,cat,fine\n", "utf-8"),
        ("path,class\n./a/1.jpg,cat\n", "utf-8"),
    ],
    ids=["windows-line-ends", "byte-order-mark", "blank-lines", "other-order", "more-columns", "dot-slash"],
)
def test_tables_of_other_programs_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    """They may have a byte order mark, Windows line ends, blank lines or more columns."""
    assert read_labels(table(tmp_path, text, encoding)) == {"a/1.jpg": "cat"}


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("a/1.jpg,cat\n", "utf-8", "the header must be path,class and is a/1.jpg,cat"),
        ("path;class\na/1.jpg;cat\n", "utf-8", "the header must be path,class and is path;class"),
        ("", "utf-8", "the header must be path,class and is "),
        (
            "path,class,class\na/1.jpg,cat,dog\n",
            "utf-8",
            "the header must be path,class and is path,class,class",
        ),
        ("path,path,class\na/1.jpg,b/1.jpg,dog\n", "utf-8", "path,class and is path,path,class"),
        ("path,class\na/1.jpg,cat\n./a/1.jpg,dog\n", "utf-8", "line 3 repeats a/1.jpg"),
        ("path,class\na/1.jpg,caf\u00e9\n", "latin-1", "cannot be read as a UTF-8 CSV"),
        ("path,class\na/1.jpg,cat\n", "utf-16", "cannot be read as a UTF-8 CSV"),
        (f"path,class\na/1.jpg,{'x' * 200_000}\n", "utf-8", "cannot be read as a UTF-8 CSV"),
    ],
    ids=[
        "no-header",
        "semicolons",
        "empty",
        "class-twice",
        "path-twice",
        "twice",
        "latin-1",
        "utf-16",
        "endless-field",
    ],
)
def test_an_invalid_table_is_refused_with_its_fault(
    tmp_path: Path, text: str, encoding: str, said: str
) -> None:
    """The message names the file and the fault."""
    file = table(tmp_path, text, encoding)
    with pytest.raises(UsageError) as refused:
        read_labels(file)
    assert str(file) in str(refused.value)
    assert said in str(refused.value)


def test_a_missing_table_is_a_usage_error(tmp_path: Path) -> None:
    """The message has its path."""
    with pytest.raises(UsageError, match=r"none\.csv"):
        read_labels(tmp_path / "none.csv")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Reading it may never end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=rf"{name} is not a file; write the labels to one"):
        read_labels(tmp_path / name)


def test_a_table_for_another_folder_is_refused(tmp_path: Path) -> None:
    """If no row matches a file of the folder, the message shows the first row and the folder."""
    with pytest.raises(
        UsageError, match=r"none of the 2 rows of the labels matches a file below (.*)"
    ) as refused:
        check_labels({"data/a/1.jpg": "cat", "data/a/2.jpg": None}, tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "'data/a/1.jpg'" in str(refused.value)


@pytest.mark.parametrize("path", ["/{root}/1.jpg", "", ".", "x" * 5_000, "nul\0"])
def test_a_row_with_an_absolute_or_impossible_path_matches_no_file(path: str, tmp_path: Path) -> None:
    """This holds even if a file exists at the absolute path."""
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="none of the 1 rows"):
        check_labels({path.format(root=tmp_path): "cat"}, tmp_path)


def test_one_row_that_matches_a_file_is_enough(tmp_path: Path) -> None:
    """Unmatched rows are counted after the scan; an empty table is accepted."""
    (tmp_path / "1.jpg").write_bytes(b"")
    check_labels({"gone.jpg": "cat", "1.jpg": "dog"}, tmp_path)
    check_labels({}, tmp_path)


def test_a_table_in_another_unicode_form_matches_files(tmp_path: Path) -> None:
    """Folder names are compared too; a table of another folder is still refused."""
    composed, decomposed = "K\u00e4fer", "Ka\u0308fer"
    (tmp_path / composed).mkdir()
    (tmp_path / composed / f"{decomposed}.png").touch()
    check_labels({"1.png": "x", f"{composed}/{composed}.png": "beetle"}, tmp_path)
    check_labels({f"{decomposed}/{decomposed}.png": "beetle"}, tmp_path)
    with pytest.raises(UsageError, match="none of the 1 rows"):
        check_labels({f"{decomposed}/{decomposed}2.png": "beetle"}, tmp_path)
