"""The root that a user means: a folder, a place in an object store, or a dataset in Parquet."""

import sys
from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.sources.source_path import SourcePath
from lookalike_ingest.dataset_roots import find_root
from lookalike_ingest.request import describe_dataset, describe_datasets
from lookalike_ingest.watching.watch import require_watchable

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(file: Path) -> Path:
    """Writes a dataset of one image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array([{"bytes": b"1", "path": "1.jpg"}])
    pq.write_table(pa.table({"image": column}), file)
    return file


def test_a_folder_of_parquet_files_and_no_images_is_a_dataset(tmp_path: Path) -> None:
    """At any depth, also where the folder is named like a file; named again by its root, it is the same."""
    write(tmp_path / "hf" / "data" / "train.parquet")
    write(tmp_path / "spark.parquet" / "part-0.parquet")
    (tmp_path / "hf" / "README.md").write_text("about")
    for folder, name in (("hf", "hf"), ("spark.parquet", "spark.parquet")):
        dataset = describe_dataset(tmp_path / folder)
        assert (str(dataset.root), dataset.name) == (f"{tmp_path}/{folder}/*.parquet", name)
        assert describe_dataset(dataset.root) == dataset
        assert len(describe_datasets([tmp_path / folder, dataset.root])) == 1


def test_a_folder_with_images_stays_a_folder(tmp_path: Path) -> None:
    """Whatever else is in it, as does one that is empty."""
    write(tmp_path / "both" / "train.parquet")
    (tmp_path / "both" / "1.jpg").write_bytes(b"")
    (tmp_path / "empty.parquet").mkdir()
    for name in ("both", "empty.parquet"):
        assert type(find_root(str(tmp_path / name))) is type(Path())


def test_a_file_is_found_through_links_and_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recorded root is absolute."""
    file = write(tmp_path / "photos.parquet")
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "link")
    dataset = describe_dataset("photos.parquet")
    assert (dataset.root, dataset.name) == (SourcePath(file), "photos")
    with pytest.raises(UsageError, match=r"photos\.parquet cannot be watched"):
        require_watchable([dataset.root])


@pytest.mark.parametrize("missing", ["gone.parquet", "gone/*.parquet"])
def test_a_missing_dataset_is_told_before_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Whoever installs it would find that the name is wrong."""
    file = write(tmp_path / "here.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(UsageError, match="does not exist; check its name"):
        find_root(str(tmp_path / missing))
    with pytest.raises(UsageError, match="needs pyarrow"):
        find_root(str(file))


@pytest.mark.parametrize("missing", ["gone.parquet", "gone/*.parquet"])
def test_a_missing_dataset_is_found_only_where_it_may_be(tmp_path: Path, missing: str) -> None:
    """As a missing folder, to remove all of its points by force."""
    with pytest.raises(UsageError, match="does not exist"):
        find_root(f"{tmp_path}/{missing}")
    assert str(find_root(f"{tmp_path}/{missing}", may_be_missing=True)) == f"{tmp_path}/{missing}"


@pytest.mark.parametrize("text", ["s3://bucket/photos", "{folder}/a.parquet", "{folder}"])
def test_the_extra_is_named_where_pyarrow_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Before anything else is tried."""
    write(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(UsageError, match=r'pip install "lookalike\[parquet\]"'):
        find_root(text.format(folder=tmp_path))


def test_what_pyarrow_would_read_is_unreadable_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of datasets that are indexed already; nobody takes them for deleted."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    for path in ("s3://another-bucket/1.jpg", "/data/none.parquet/1.jpg"):
        with pytest.raises(OSError, match="pyarrow is not installed"):
            SourcePath(path).stat()
