"""Tests exports of whole collections, on both stores."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.images.open_image import hash_stream
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ImagePoint, PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.tables.parquet import open_table
from lookalike_search.analysis import export as module
from lookalike_search.analysis.export import check_export, export_collection
from lookalike_search.analysis.sorted_payloads import SortedPayloads
from made_collections import STORES, collection_of, point_of, random_vectors, store_of
from PIL import Image

Draw = Callable[..., list[Path]]

PATHS = ["cat/2.jpg", "cat/10.jpg", "=1.jpg", "dog/Ä.jpg", "dog/-1.jpg", "dog/z.jpg"]
VECTORS = random_vectors(2 * len(PATHS), 2)


def points() -> list[ImagePoint]:
    """Returns images of two datasets in no order."""
    return [
        point_of(path, vector, dataset=dataset, class_name=path.partition("/")[0] if "/" in path else None)
        for (dataset, path), vector in zip(
            ((dataset, path) for path in PATHS for dataset in ("more", "data")), VECTORS, strict=True
        )
    ]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Returns each store."""
    with store_of(request.param, tmp_path / "store") as one:
        yield one


@pytest.fixture
def filled(store: Store) -> Iterator[Collection]:
    """Returns a Euclidean collection of the images, whose vectors are stored as they are."""
    roots = {"data": "/data", "more": "/more"}
    with collection_of(store, points(), distance=Distance.EUCLID, datasets=roots) as one:
        yield one


def read_csv(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_parquet_has_every_image_in_order(filled: Collection, tmp_path: Path) -> None:
    """By dataset and path; each row has the image's own vector, and the report counts them."""
    report = export_collection(filled, check_export(tmp_path / "a.parquet"))
    assert (report.images, report.dimension, report.table) == (12, 2, None)
    assert report.bytes == (tmp_path / "a.parquet").stat().st_size
    table = open_table(tmp_path / "a.parquet", "FILE")
    found = [point for part in table.points() for point in part]
    assert [point.payload for point in found] == sorted(
        (point.payload for point in points_of(filled)), key=lambda payload: payload.sort_key
    )
    stored = filled.vectors([point.payload.id for point in found])
    assert all(np.array_equal(point.vector, stored[point.payload.id]) for point in found)
    assert table.manifest == filled.manifest


def points_of(collection: Collection) -> list[ImagePoint]:
    """Returns all points of a collection."""
    return [
        ImagePoint(payload=payload, vector=collection.vectors([payload.id])[payload.id])
        for payload in collection.scan()
    ]


def test_batches_of_any_size_give_the_same_rows(filled: Collection, tmp_path: Path) -> None:
    """A batch is a row group, and the same collection gives the same bytes again."""
    export_collection(filled, check_export(tmp_path / "one.parquet"))
    export_collection(filled, check_export(tmp_path / "again.parquet"))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    small = check_export(tmp_path / "many.parquet", batch_bytes=5 * 4 * 2)
    export_collection(filled, small)
    assert pq.read_metadata(tmp_path / "many.parquet").num_row_groups == 3
    assert pq.read_table(tmp_path / "many.parquet").equals(pq.read_table(tmp_path / "one.parquet"))


def test_a_matrix_has_its_rows_in_a_table(filled: Collection, tmp_path: Path) -> None:
    """Row by row the same images as in Parquet; the table alone has the same bytes."""
    report = export_collection(filled, check_export(tmp_path / "a.NPY"))
    assert (report.table, report.formula_names) == (tmp_path / "a.csv", 2)
    export_collection(filled, check_export(tmp_path / "b.csv"))
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    rows, matrix = read_csv(tmp_path / "a.csv"), np.load(tmp_path / "a.NPY")
    assert (matrix.dtype, matrix.shape) == (np.float32, (12, 2))
    stored = filled.vectors([row["id"] for row in rows])
    np.testing.assert_array_equal(matrix, [stored[row["id"]] for row in rows])
    assert [(row["dataset"], row["path"]) for row in rows] == sorted(
        (dataset, path) for dataset in ("data", "more") for path in PATHS
    )
    assert rows[0]["file"] == "/data/=1.jpg"


def test_filters_select_images(filled: Collection, tmp_path: Path, calibration: Calibration) -> None:
    """The manifest of a part has its datasets alone and no calibration; unknown names are refused."""
    revision = filled.mark_revision()
    filled.record_calibration(replace(calibration, revision=revision))
    target = check_export(tmp_path / "a.parquet")
    assert (
        export_collection(
            filled, target, where=PointFilter(dataset="more", classes=frozenset({"dog"}))
        ).images
        == 3
    )
    manifest = open_table(target.file, "FILE").manifest
    assert (manifest.datasets, manifest.calibration) == ({"more": "/more"}, None)
    assert export_collection(filled, target, where=PointFilter(classes=frozenset({""}))).images == 2
    export_collection(filled, target)
    manifest = open_table(target.file, "FILE").manifest
    assert manifest.calibration == filled.manifest.calibration is not None
    before = target.file.read_bytes()
    for where in (PointFilter(dataset="none"), PointFilter(classes=frozenset({"none"}))):
        with pytest.raises(UsageError):
            export_collection(filled, target, where=where)
    assert target.file.read_bytes() == before


@pytest.mark.parametrize("suffix", [".parquet", ".npy", ".csv"])
def test_an_empty_collection_gives_an_empty_table(store: Store, tmp_path: Path, suffix: str) -> None:
    """No images are no error."""
    with collection_of(store, []) as empty:
        report = export_collection(empty, check_export(tmp_path / f"a{suffix}"))
    assert report.images == 0
    if suffix == ".npy":
        assert np.load(tmp_path / "a.npy").shape == (0, 2)
    if suffix == ".parquet":
        assert pq.read_table(tmp_path / "a.parquet").num_rows == 0
    else:
        assert read_csv(tmp_path / "a.csv") == []


def test_thumbnails_are_those_of_unchanged_files(store: Store, draw: Draw, tmp_path: Path) -> None:
    """A file that is gone or has changed has none; a large image is made small."""
    root = tmp_path / "images"
    draw(root, "large.png", size=(900, 300))
    draw(root, "changed.png")
    hashes = {}
    for name in ("large.png", "changed.png"):
        with (root / name).open("rb") as file:
            hashes[name] = hash_stream(file)
    draw(root, "changed.png", seed=1)
    images = [point_of(name, [1, 2], sha256=sha256) for name, sha256 in hashes.items()]
    images.append(point_of("gone.png", [2, 1]))
    with collection_of(store, images, datasets={"data": str(root)}) as collection:
        report = export_collection(collection, check_export(tmp_path / "a.parquet", thumbnails=True))
    assert (report.images, report.without_thumbnail) == (3, 2)
    column = pq.read_table(tmp_path / "a.parquet").column("image").to_pylist()
    assert column[:2] == [None, None]
    assert column[2]["path"] == "large.png"
    with Image.open(pa.BufferReader(column[2]["bytes"])) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (256, 85))


def test_images_that_are_removed_meanwhile_are_left_out(
    filled: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table and the matrix still have the same rows."""
    listed = SortedPayloads.batches

    def batches(self: SortedPayloads, size: int) -> Iterator[Sequence[object]]:
        filled.delete([next(filled.scan()).id])
        yield from listed(self, size)

    monkeypatch.setattr(SortedPayloads, "batches", batches)
    report = export_collection(filled, check_export(tmp_path / "a.npy"))
    assert report.images == len(read_csv(tmp_path / "a.csv")) == len(np.load(tmp_path / "a.npy")) == 11


def test_an_export_that_fails_leaves_the_files_as_they_were(
    filled: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a part of a file nor a temporary one stays."""
    export_collection(filled, check_export(tmp_path / "a.npy"), where=PointFilter(dataset="data"))
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_vectors", lambda *_: 1 / 0)
        for name in ("a.npy", "b.parquet"):
            with pytest.raises(ZeroDivisionError):
                export_collection(filled, check_export(tmp_path / name))
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.*")} == before


def test_only_earlier_exports_are_replaced(filled: Collection, tmp_path: Path, draw: Draw) -> None:
    """An image, a user's table, a user's matrix and foreign Parquet stay, whatever their names are."""
    (image,) = draw(tmp_path, "a.png")
    (tmp_path / "image.csv").write_bytes(image.read_bytes())
    (tmp_path / "image.npy").write_bytes(image.read_bytes())
    (tmp_path / "image.parquet").write_bytes(image.read_bytes())
    np.save(tmp_path / "own.npy", np.zeros(3))
    (tmp_path / "table.csv").write_text("path,class\n1.jpg,cat\n", encoding="utf-8")
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "own.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    names = ["image.csv", "image.npy", "image.parquet", "own.npy", "own.parquet", "cut.parquet"]
    for name in [*names, "table.csv", "table.npy"]:
        with pytest.raises(UsageError, match="is not replaced; name another file, or remove it"):
            check_export(tmp_path / name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before
    for name in ("empty.parquet", "mine.npy", "mine.csv"):
        (tmp_path / "empty.parquet").touch()
        assert export_collection(filled, check_export(tmp_path / name)).images == 12
        assert export_collection(filled, check_export(tmp_path / name)).images == 12


@pytest.mark.parametrize("name", ["a", "-", "a.txt", "a.parquet.gz", "a.jsonl"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    """The message names the three that there are."""
    with pytest.raises(UsageError, match=r"has to end in \.parquet, \.npy, \.csv"):
        check_export(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.csv"])
def test_only_parquet_has_thumbnails(tmp_path: Path, name: str) -> None:
    """The others would leave them out without a word."""
    with pytest.raises(UsageError, match=r"no room for thumbnails; name a \.parquet file") as refused:
        check_export(tmp_path / name, thumbnails=True)
    assert refused.value.argument == "output"
