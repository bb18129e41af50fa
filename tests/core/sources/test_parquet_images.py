"""Datasets in Parquet: which columns are the images, how they are named, and reading them by row."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.found_files import UNKNOWN_BYTES, FoundFile, open_found
from lookalike_core.images.scan import OtherFiles, count_images, has_images, look_up, scan
from lookalike_core.sources.parquet_images import TRUSTED_SECONDS, open_images
from lookalike_core.sources.parquet_rows import RowPlace, RowsChangedError, read_row
from lookalike_core.sources.source_path import SourcePath

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write(file: Path, table: Any, *, rows: int = 2, names: list[str] | None = None) -> SourcePath:
    """Writes a table in row groups of a few rows, and returns it as a root."""
    info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(info)}), file, row_group_size=rows
    )
    return SourcePath(file)


def structs(*pairs: tuple[str | None, bytes | None], column: str = "image", **more: Any) -> Any:
    """Returns a table as Hugging Face has it."""
    values = [{"path": path, "bytes": content} for path, content in pairs]
    return pa.table({column: pa.array(values, STRUCT), **more})


def found(root: Path, **options: Any) -> list[FoundFile]:
    """Returns what a scan finds, of which nothing is skipped."""
    entries = list(scan(root, **options))
    assert all(isinstance(entry, FoundFile) for entry in entries)
    return [entry for entry in entries if isinstance(entry, FoundFile)]


def content(entry: FoundFile) -> bytes:
    """Returns the bytes of an entry."""
    with open_found(entry) as stream:
        return stream.read()


def test_images_have_the_paths_and_classes_of_their_rows(tmp_path: Path) -> None:
    """A column of numbers has its names in the metadata; -1 and null are no class."""
    table = structs(
        ("a/1.jpg", b"1"), ("a/2.jpg", b"2"), ("3.jpg", b"3"), ("b/4", None), label=[1, -1, None, 0]
    )
    root = write(tmp_path / "x.parquet", table, names=["cat", "dog"])
    entries = found(root)
    assert [entry.path for entry in entries] == ["a/1.jpg", "a/2.jpg", "3.jpg", "b/4"]
    assert [entry.folder_class for entry in entries] == ["dog", None, None, "cat"]
    assert [content(entry) for entry in entries] == [b"1", b"2", b"3", b""]
    assert {entry.bytes for entry in entries} == {UNKNOWN_BYTES}
    assert {entry.mtime_ns for entry in entries} == {(tmp_path / "x.parquet").stat().st_mtime_ns}
    assert str(entries[0].file) == f"{tmp_path}/x.parquet/a/1.jpg"
    assert (count_images(root), has_images(root)) == (4, True)


def test_folders_are_classes_where_no_column_is(tmp_path: Path) -> None:
    """By the rules of a folder, which exclude, too."""
    table = structs(("a/b/1.jpg", b"1"), ("2.jpg", b"2"), (".git/3.jpg", b"3"), ("c/4.jpg", b"4"))
    root = write(tmp_path / "x.parquet", table)
    others = OtherFiles()
    rules = FolderRules(exclude=("c/",), class_level=-1)
    entries = found(root, others=others, rules=rules)
    assert [(entry.path, entry.folder_class) for entry in entries] == [("a/b/1.jpg", "b"), ("2.jpg", None)]
    assert others.excluded_images == 1
    part = found(root, takes=lambda path: path == "2.jpg", others=others)
    assert ([entry.path for entry in part], others.passed_over) == (["2.jpg"], 2)


def test_keys_of_img2dataset_get_an_ending(tmp_path: Path) -> None:
    """They are numbers in text, unique in the whole dataset."""
    table = pa.table({"url": ["u", "v"], "key": ["000000000", "000000001"], "jpg": [b"1", b"2"]})
    entries = found(write(tmp_path / "x.parquet", table))
    assert [(entry.path, content(entry)) for entry in entries] == [
        ("000000000.jpg", b"1"),
        ("000000001.jpg", b"2"),
    ]


@pytest.mark.parametrize(
    "paths", [("1.jpg", None), ("1.jpg", "1.jpg"), ("/x/1.jpg", "2.jpg"), ("../1.jpg", "2.jpg")]
)
def test_unusable_paths_are_replaced_by_file_and_row(tmp_path: Path, paths: tuple[str | None, ...]) -> None:
    """In the whole dataset, so that names depend on nothing but files and rows; the folder is no class."""
    write(tmp_path / "train" / "0.parquet", structs(*((path, b"x") for path in paths)))
    write(tmp_path / "1.parquet", structs(("good.png", b"y")))
    entries = found(SourcePath(tmp_path / "*.parquet"))
    endings = [Path(path).suffix if path else "" for path in paths]
    assert [entry.path for entry in entries] == [
        "1/0.png",
        f"train/0/0{endings[0]}",
        f"train/0/1{endings[1]}",
    ]
    assert {entry.folder_class for entry in entries} == {None}


def test_another_name_of_the_only_column_of_images_is_taken(tmp_path: Path) -> None:
    """Several are refused, as is none, with the columns that there are."""
    assert found(write(tmp_path / "x.parquet", structs(("1.jpg", b"1"), column="img")))
    two = structs(("1.jpg", b"1"), column="a").append_column("b", structs(("1.jpg", b"1"))["image"])
    with pytest.raises(UsageError, match=r"several columns of images \(a, b\)"):
        found(write(tmp_path / "y.parquet", two))
    with pytest.raises(UsageError, match=r"no column of images.*columns are text"):
        found(write(tmp_path / "z.parquet", pa.table({"text": ["x"]})))


def test_rows_are_read_in_any_order_from_threads(tmp_path: Path) -> None:
    """Within a row group that is larger than what is read at a time, and across many."""
    rows = 300
    for group in (1, 7, rows):
        root = write(
            tmp_path / f"{group}.parquet",
            structs(*((f"{row}.jpg", b"%d" % row) for row in range(rows))),
            rows=group,
        )
        entries = found(root)
        order = [(row * 7) % rows for row in range(rows)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(content, (entries[row] for row in order))) == [b"%d" % row for row in order]


def test_an_image_is_read_by_its_path(tmp_path: Path) -> None:
    """As pages and explanations do; its size is known once the dataset was read."""
    root = write(tmp_path / "x.parquet", structs(("a/1.jpg", b"12"), ("a/2.jpg", b"345")))
    image = root / "a/2.jpg"
    assert (image.read_bytes(), image.stat().st_size, image.is_file(), image.exists()) == (
        b"345",
        3,
        True,
        True,
    )
    assert (root.is_dir(), (root / "a/3.jpg").exists(), (root / "a").is_dir()) == (True, False, False)
    with pytest.raises(FileNotFoundError):
        (root / "a/3.jpg").read_bytes()
    assert [entry.path for entry in look_up(root, ["a/2.jpg", "nothing", "a/1.jpg"])] == [
        "a/2.jpg",
        "a/1.jpg",
    ]


def test_a_file_that_was_written_again_is_not_read_by_former_rows(tmp_path: Path) -> None:
    """A row of a listing is refused then, and a path is looked up again."""
    file = tmp_path / "x.parquet"
    root = write(file, structs(("1.jpg", b"one"), ("2.jpg", b"two")))
    [first, _] = found(root)
    assert (root / "2.jpg").read_bytes() == b"two"
    write(file, structs(("2.jpg", b"other"), ("3.jpg", b"three"), ("4.jpg", b"four")))
    os.utime(file, ns=(1, 1))
    assert isinstance(first.row, RowPlace)
    with pytest.raises(RowsChangedError, match=r"x\.parquet was changed"):
        read_row(first.row)
    assert (root / "2.jpg").read_bytes() == b"other"
    write(file, structs(("new.jpg", b"new")))
    assert (root / "new.jpg").read_bytes() == b"new"


def test_a_dataset_is_not_believed_to_be_as_it_was_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither itself, which is looked at each time, nor what is known of its images."""
    root = write(tmp_path / "x.parquet", structs(("1.jpg", b"1"), ("2.jpg", b"2")))
    first, second = root / "1.jpg", root / "2.jpg"
    assert (first.exists(), second.exists(), second.stat().st_size) == (True, True, 1)
    write(tmp_path / "x.parquet", structs(("2.jpg", b"234")))
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 2 * TRUSTED_SECONDS)
    monkeypatch.setattr("lookalike_core.sources.parquet_images.time", clock)
    assert (first.exists(), second.exists(), second.stat().st_size) == (False, True, 3)
    assert open_images(str(root)) is open_images(str(root))
    (tmp_path / "x.parquet").unlink()
    assert (root.exists(), root.is_dir(), root.is_file()) == (False, False, False)
    for lost in (root, second):
        with pytest.raises(FileNotFoundError):
            lost.stat()


@pytest.mark.parametrize("damage", [b"", b"no table", b"PAR1 and nothing that is one PAR1"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    """No error of pyarrow's gets out."""
    (tmp_path / "x.parquet").write_bytes(damage)
    with pytest.raises(LookalikeError, match=r"x\.parquet.* cannot be read"):
        found(SourcePath(tmp_path / "x.parquet"))


def test_unfinished_files_of_writers_are_left_out(tmp_path: Path) -> None:
    """Names that begin with a dot or an underscore are theirs."""
    write(tmp_path / "a.parquet", structs(("1.jpg", b"1")))
    for name in ("_temporary/b.parquet", ".c.parquet", "_d.parquet"):
        write(tmp_path / name, structs(("2.jpg", b"2")))
    assert [entry.path for entry in found(SourcePath(tmp_path / "*.parquet"))] == ["1.jpg"]
    assert [layout.rows for layout in open_images(str(tmp_path / "*.parquet")).layouts] == [1]
    with pytest.raises(UsageError, match=r"does not exist"):
        found(SourcePath(tmp_path / "nothing" / "*.parquet"))


def test_one_dataset_is_opened_by_several_threads(tmp_path: Path) -> None:
    """Each gets the same answers."""
    root = write(tmp_path / "x.parquet", structs(*((f"{row}.jpg", b"%d" % row) for row in range(50))))
    ready = threading.Barrier(4)

    def read(_: int) -> list[bytes]:
        ready.wait()
        return [(root / f"{row}.jpg").read_bytes() for row in range(50)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [[b"%d" % row for row in range(50)]] * 4
