"""Tests Parquet tables: what other programs find in them, and which files are refused as points."""

import errno
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from lookalike_core.errors import LookalikeError, ManifestError, UsageError
from lookalike_core.images.thumbnails import encode
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.points import ImagePoint, Payload, point_id
from lookalike_core.tables.parquet import is_exported, open_parquet, open_table
from lookalike_core.tables.rows import COLUMNS, TableBatch
from made_collections import manifest_of, point_of, random_vectors

DIMENSION = 3
MANIFEST = manifest_of(Distance.EUCLID, DIMENSION, {"data": "/data"})

POINTS = [
    point_of("cat/1.jpg", [1, 2, 3], ctime_ns=5, synset="n01440764", taken_at="2021-03-04T05:06:07+00:00"),
    point_of("dog/ü, 2.jpg", [-0.1, 0.2, 0.3], class_name="dog", moved_from="old/2.jpg"),
    point_of("3.jpg", [1e-30, 1e30, 7], class_name=None, dataset="elsewhere"),
]


def write(path: Path, points: Sequence[ImagePoint] = POINTS, **images: Any) -> Path:
    """Writes points as one row group."""
    vectors = np.array([point.vector for point in points], dtype=np.float32).reshape(-1, DIMENSION)
    write_batch(path, TableBatch(payloads=[point.payload for point in points], vectors=vectors, **images))
    return path


def write_batch(path: Path, batch: TableBatch) -> None:
    """Writes one row group."""
    with open_parquet(path, MANIFEST, with_images=batch.thumbnails is not None) as writer:
        writer.write(batch)


def read(path: Path) -> list[ImagePoint]:
    """Returns all points of a file."""
    return [point for points in open_table(path, "FILE").points() for point in points]


def change(path: Path, /, **columns: Callable[[list[Any]], list[Any]]) -> Path:
    """Writes a file again with other values in some columns, and the same metadata."""
    table = pq.read_table(path)
    for name, changed in columns.items():
        field = table.schema.field(name)
        values = pa.array(changed(table.column(name).to_pylist()), field.type)
        table = table.set_column(table.schema.get_field_index(name), field, values)
    pq.write_table(table, path)
    return path


def test_columns_have_the_documented_names_and_types(tmp_path: Path) -> None:
    """Vectors are lists of fixed size, and the manifest is in the file's metadata."""
    table = pq.read_table(write(tmp_path / "a.parquet"))
    assert table.schema.names == [*COLUMNS, "vector", "ingest"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), DIMENSION)
    assert table.schema.field("taken_at").type == pa.timestamp("ms", tz="UTC")
    taken_at = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert table.column("taken_at").to_pylist() == [taken_at, None, None]
    first = table.slice(0, 1).to_pylist()[0]
    assert first["id"] == point_id("data", "cat/1.jpg")
    assert (first["file"], first["class"], first["synset"]) == ("/data/cat/1.jpg", "cat", "n01440764")
    assert table.column("file").to_pylist()[2] is None
    assert table.column("class").to_pylist() == ["cat", "dog", None]
    stored = json.loads(table.schema.metadata[b"lookalike"])
    assert CollectionManifest.from_json(stored) == MANIFEST
    assert b"huggingface" not in table.schema.metadata


def test_every_field_of_a_payload_has_a_column(tmp_path: Path) -> None:
    """A field that is added to payloads needs one, or an import would lose it.

    Since when a file is missing is left out: an import counts anew.
    """
    ingest = pq.read_schema(write(tmp_path / "a.parquet")).field("ingest").type
    columns = {*COLUMNS, *(field.name for field in ingest)}
    names = {field.name.replace("class_name", "class") for field in fields(Payload)}
    assert names - {"missing_since"} <= columns


def test_points_are_read_back_unchanged(tmp_path: Path) -> None:
    """Payloads are equal, and vectors to the byte."""
    for written, found in zip(POINTS, read(write(tmp_path / "a.parquet")), strict=True):
        assert found.payload == written.payload
        assert found.vector.dtype == np.float32
        assert found.vector.tobytes() == written.vector.tobytes()


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_times_of_another_precision_are_read(tmp_path: Path, unit: str) -> None:
    """Other programs write a table again with the precision of their own times."""
    path = write(tmp_path / "a.parquet")
    table = pq.read_table(path)
    place = table.schema.get_field_index("taken_at")
    times = table.column("taken_at").cast(pa.timestamp(unit, tz="UTC"))
    pq.write_table(table.set_column(place, "taken_at", times), path, version="2.6")
    assert [point.payload for point in read(path)] == [point.payload for point in POINTS]


def test_a_large_file_is_read_in_parts(tmp_path: Path) -> None:
    """Each part has a few hundred points, in the order of the file."""
    points = [point_of(f"{i:04}.jpg", vector) for i, vector in enumerate(random_vectors(1_100, DIMENSION))]
    parts = list(open_table(write(tmp_path / "a.parquet", points), "FILE").points())
    assert [len(part) for part in parts] == [512, 512, 76]
    assert [point.payload for part in parts for point in part] == [point.payload for point in points]


def test_a_part_that_pyarrow_selects_is_read(tmp_path: Path) -> None:
    """A filtered table keeps the manifest, also without the columns that are for others."""
    path = write(tmp_path / "a.parquet", thumbnails=[None] * len(POINTS))
    table = pq.read_table(path)
    part = table.filter(pa.compute.equal(table.column("class"), "dog")).drop_columns(["image"])
    pq.write_table(part, path, compression="zstd", use_dictionary=True)
    assert [point.payload for point in read(path)] == [POINTS[1].payload]


def test_an_empty_collection_is_a_table_without_rows(tmp_path: Path) -> None:
    """It still has its columns and its manifest."""
    path = write(tmp_path / "a.parquet", [])
    assert open_table(path, "FILE").rows == 0
    assert read(path) == []


def test_thumbnails_are_images_as_hugging_face_reads_them(tmp_path: Path) -> None:
    """The column is a struct of bytes and path, and the metadata says that it holds images."""
    thumbnail = encode(np.zeros((4, 6, 3), dtype=np.uint8))
    path = write(tmp_path / "a.parquet", thumbnails=[thumbnail, None, thumbnail])
    table = pq.read_table(path)
    assert table.schema.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = table.column("image").to_pylist()
    assert images[0] == {"bytes": thumbnail.data, "path": "cat/1.jpg"}
    assert images[1] is None
    known = json.loads(table.schema.metadata[b"huggingface"])
    assert known["info"]["features"] == {"image": {"_type": "Image"}}
    assert [point.payload for point in read(path)] == [point.payload for point in POINTS]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": lambda ids: ["x", *ids[1:]]}, "row 1 of .*: the id 'x' does not follow from its dataset"),
        ({"path": lambda paths: [*paths[:2], "../3.jpg"]}, "row 3 of .*: the path '../3.jpg' is not one"),
        ({"path": lambda paths: ["/etc/1.jpg", *paths[1:]]}, "the path '/etc/1.jpg' is not one"),
        ({"path": lambda paths: ["", *paths[1:]]}, "the path '' is not one"),
        ({"sha256": lambda hashes: ["0", *hashes[1:]]}, "'0' is not a SHA-256"),
        ({"width": lambda widths: [widths[0], 0, widths[2]]}, "row 2 of .*: its size is impossible"),
        ({"dataset": lambda names: [*names[:2], None]}, "row 3 of .*: dataset is missing"),
        ({"ingest": lambda rows: [rows[0] | {"mtime_ns": None}, *rows[1:]]}, "mtime_ns is missing"),
        ({"ingest": lambda rows: [None, *rows[1:]]}, "row 1 of .*: ingest is missing"),
        ({"vector": lambda rows: [rows[0], [1, float("nan"), 1], rows[2]]}, "row 2 .* zero or not finite"),
        ({"vector": lambda rows: [rows[0], [1, float("inf"), 1], rows[2]]}, "row 2 .* zero or not finite"),
        ({"vector": lambda rows: [*rows[:2], [0.0, -0.0, 0.0]]}, "row 3 .* zero or not finite"),
        ({"vector": lambda rows: [*rows[:2], None]}, "vector is missing|is damaged"),
        ({"vector": lambda rows: [*rows[:2], [1, None, 1]]}, "is damaged .a value of a vector is missing"),
    ],
)
def test_rows_that_no_export_wrote_are_refused(tmp_path: Path, columns: Any, said: str) -> None:
    """The message has the number of the row and the problem."""
    path = change(write(tmp_path / "a.parquet"), **columns)
    with pytest.raises(LookalikeError, match=said) as refused:
        read(path)
    assert (refused.value.exit_code, refused.value.path) == (1, path)
    assert "export the collection again" in str(refused.value)


def test_missing_columns_and_other_types_are_refused(tmp_path: Path) -> None:
    """The message names the column; the paths of files and the thumbnails are not needed."""
    path = write(tmp_path / "a.parquet")
    whole = pq.read_table(path)
    pq.write_table(whole.drop_columns(["sha256", "vector"]), path)
    with pytest.raises(LookalikeError, match="does not have one column sha256, vector; export"):
        read(path)
    pq.write_table(whole.append_column("sha256", whole.column("sha256")), path)
    with pytest.raises(LookalikeError, match="does not have one column sha256; export"):
        read(path)
    texts = whole.set_column(7, "width", pa.array(["1"] * len(POINTS)))
    pq.write_table(texts, path)
    with pytest.raises(LookalikeError, match=r"width of .* has the type string, not int32"):
        read(path)
    longer = pa.array([[1.0] * 4] * len(POINTS), pa.list_(pa.float32(), 4))
    pq.write_table(whole.set_column(11, "vector", longer), path)
    with pytest.raises(LookalikeError, match=r"vector of .*\[4\], not .*\[3\]"):
        read(path)
    assert is_exported(path)


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    """A Parquet file without a manifest is of an unknown space; any other file is a wrong name."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["1"]}), path)
    with pytest.raises(ManifestError, match="has no manifest of lookalike's"):
        open_table(path, "FILE")
    for text in (b"{", b'{"schema": 1}', b'{"schema": 99}', b"[]"):
        pq.write_table(pa.table({"id": ["1"]}).replace_schema_metadata({b"lookalike": text}), path)
        with pytest.raises(ManifestError, match=r"a\.parquet"):
            open_table(path, "FILE")
        assert not is_exported(path)
    path.write_text("id,dataset\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"FILE: .* is not a Parquet file; name one that was exported"):
        open_table(path, "FILE")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Wherever a file was cut off or lost bytes: pages have checksums. No foreign error is raised."""
    points = [point_of(f"{i:03}.jpg", vector) for i, vector in enumerate(random_vectors(40, DIMENSION))]
    whole = write(tmp_path / "a.parquet", points).read_bytes()
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    in_pages = {
        each.data_page_offset + each.total_compressed_size - 3
        for each in columns
        if each.path_in_schema in ("path", "sha256", "vector.list.element", "ingest.mtime_ns")
    }
    assert len(in_pages) == 4
    path = tmp_path / "b.parquet"
    for place in [*range(4, len(whole), 97), *in_pages]:
        path.write_bytes(whole[:place])
        with pytest.raises(LookalikeError, match=f"{path} is damaged"):
            read(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if place in in_pages:
            with pytest.raises(LookalikeError, match=f"{path} is damaged"):
                read(path)
        else:  # some bytes, as of statistics or of columns that are not read, have no effect
            with suppress(LookalikeError):
                assert [point.payload for point in read(path)] == [point.payload for point in points]


@pytest.mark.slow  # thousands of damaged files
def test_damaged_metadata_of_a_file_hides_no_rows(tmp_path: Path) -> None:
    """It has no checksum: a changed count of values or rows would end the reading early, without an error."""
    points = [point_of(f"{i:03}.jpg", vector) for i, vector in enumerate(random_vectors(40, DIMENSION))]
    whole = write(tmp_path / "a.parquet", points).read_bytes()
    path, ends = tmp_path / "b.parquet", len(whole) - 8
    refused = 0
    for place in range(ends - int.from_bytes(whole[-8:-4], "little"), ends, 3):
        bit = 1 << place % 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            found = read(path)
        except LookalikeError:
            refused += 1
            continue
        assert [point.payload for point in found] == [point.payload for point in points], (place, bit)
        assert all(np.array_equal(a.vector, b.vector) for a, b in zip(found, points, strict=True))
    assert refused


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    """The system's own error arrives, wherever it happens, and pyarrow does not try again."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    vectors = np.array(random_vectors(20_000, DIMENSION))
    payloads = [point_of(f"{i}.jpg", row).payload for i, row in enumerate(vectors)]
    with pytest.raises(OSError, match="No space left on device") as full:
        write_batch(Path("/dev/full"), TableBatch(payloads=payloads, vectors=vectors))
    assert full.value.errno == errno.ENOSPC


def test_the_same_points_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing in the file is of the time that it was written at."""
    one, other = (write(tmp_path / name).read_bytes() for name in ("a.parquet", "b.parquet"))
    assert one == other
