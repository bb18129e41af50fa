"""Collections in Parquet, by pyarrow: written in row groups, and read back as points.

The file's metadata has the collection's manifest, in its own form. Beside the columns for everyone there is
`ingest`, with the rest of the payload: times and former paths, which tell an ingest that a file is unchanged.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import parse_json
from lookalike_core.errors import LookalikeError, ManifestError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.thumbnails import Thumbnail
from lookalike_core.instants import format_ns
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import TAKEN_AT, ImagePoint, Payload, point_id, usable_rows
from lookalike_core.tables.rows import COLUMNS, TableBatch, row_of
from lookalike_core.text import json_line, nfc

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR, IMAGE, INGEST = "vector", "image", "ingest"
"""The columns behind `COLUMNS`."""

POINTS_AT_ONCE = 512
"""How many points are read at a time."""

_HUGGING_FACE = {"info": {"features": {IMAGE: {"_type": "Image"}}}}
"""What the library `datasets` reads from the key `huggingface` of the metadata: which columns are images."""

_MAGIC = b"PAR1"
_SHA256 = re.compile("[0-9a-f]{64}")
_LEFT_EMPTY = ("file", "class", "synset", TAKEN_AT, IMAGE)
"""Columns that may have null."""


def require_pyarrow(origin: Argument | str) -> None:
    """Refuses a Parquet file, which `origin` names, where pyarrow is not installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError.of(
            origin, 'Parquet files need pyarrow; install it with: pip install "lookalike[parquet]"'
        ) from error


class ParquetWriter:
    """Writes batches of images, each as a row group; the same images give the same bytes."""

    def __init__(self, file: BinaryIO, manifest: CollectionManifest, *, with_images: bool) -> None:
        import pyarrow.parquet as pq

        self._manifest, self._schema = manifest, _schema_of(manifest, with_images=with_images)
        names = [name for name in self._schema.names if name not in (VECTOR, IMAGE, INGEST)]
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="snappy",
            use_dictionary=False,  # old versions of pyarrow do not check the pages of dictionaries
            write_statistics=names,
            write_page_checksum=True,
        )

    def write(self, batch: TableBatch) -> None:
        """Writes a row group."""
        import pyarrow as pa

        rows = [row_of(payload, self._manifest) for payload in batch.payloads]
        columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
        columns[TAKEN_AT] = [
            None if each is None else datetime.fromisoformat(each) for each in columns[TAKEN_AT]
        ]
        flat = pa.array(np.ascontiguousarray(batch.vectors, dtype=np.float32).reshape(-1))
        columns[VECTOR] = pa.FixedSizeListArray.from_arrays(flat, batch.vectors.shape[1])
        if batch.thumbnails is not None:
            columns[IMAGE] = list(map(_image_of, batch.payloads, batch.thumbnails))
        columns[INGEST] = [_ingest_of(payload) for payload in batch.payloads]
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=max(1, len(rows)))

    def close(self) -> None:
        """Completes the file."""
        self._writer.close()

    def abandon(self) -> None:
        """Ends the writing of a file that stays incomplete; pyarrow would try to complete it in the end."""
        with suppress(Exception):
            self._writer.close()
        self._writer.is_open = False


@contextmanager
def open_parquet(path: Path, manifest: CollectionManifest, *, with_images: bool) -> Iterator[ParquetWriter]:
    """Yields a writer of a file, which is complete when the block ends without an error."""
    with path.open("wb") as file:
        writer = ParquetWriter(file, manifest, with_images=with_images)
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.abandon()
            raise


def _schema_of(manifest: CollectionManifest, *, with_images: bool) -> "pa.Schema":
    import pyarrow as pa

    fields: dict[str, pa.DataType] = {name: pa.string() for name in COLUMNS}
    fields |= {"width": pa.int32(), "height": pa.int32(), "bytes": pa.int64()}
    fields[TAKEN_AT] = pa.timestamp("ms", tz="UTC")
    fields[VECTOR] = pa.list_(pa.float32(), manifest.identity.dimension)
    if with_images:
        fields[IMAGE] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    times = {"mtime_ns": pa.int64(), "ctime_ns": pa.int64()}
    fields[INGEST] = pa.struct({"ingested_at": pa.string(), **times, "moved_from": pa.string()})
    metadata = {METADATA_KEY: json_line(manifest.to_json())}
    if with_images:
        metadata["huggingface"] = json_line(_HUGGING_FACE)
    return pa.schema(fields, metadata=metadata)


def _image_of(payload: Payload, thumbnail: Thumbnail | None) -> dict[str, Any] | None:
    if thumbnail is None:
        return None
    return {"bytes": thumbnail.data, "path": payload.path}


def _ingest_of(payload: Payload) -> dict[str, Any]:
    return {
        "ingested_at": payload.ingested_at,
        "mtime_ns": payload.mtime_ns,
        "ctime_ns": payload.ctime_ns,
        "moved_from": payload.moved_from,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetTable:
    """A Parquet file of an exported collection: its manifest, and its number of rows."""

    path: Path
    manifest: CollectionManifest
    rows: int

    def points(self) -> Iterator[list[ImagePoint]]:
        """Yields all points in the order of the file, a few hundred at a time.

        Raises:
            LookalikeError: the file is damaged, or a row is not what an export writes; the message has its
                number, from 1.
        """
        first = 1
        with _reading(self.path) as file:
            _require_columns(file.schema_arrow, self)
            wanted = [name for name in file.schema_arrow.names if name not in ("file", IMAGE)]
            for batch in file.iter_batches(POINTS_AT_ONCE, columns=wanted):
                yield _points_of(batch, first, self)
                first += batch.num_rows
        if first - 1 != self.rows:  # the file's own metadata has no checksum, and its damage may hide rows
            raise _damaged(self.path, f"{first - 1:,} of {self.rows:,} rows can be read")


def open_table(path: Path, origin: Argument | str) -> ParquetTable:
    """Opens a file that an export wrote; `origin` is what names it.

    Raises:
        UsageError: it is no Parquet file, or pyarrow is not installed.
        ManifestError: it has no manifest, or a malformed one: another program wrote it.
        LookalikeError: it is damaged.
    """
    require_pyarrow(origin)
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UsageError.of(
                origin, f"{path} is not a Parquet file; name one that was exported", path=path
            )
    with _reading(path) as table:
        rows, metadata = table.metadata.num_rows, table.schema_arrow.metadata or {}
    return ParquetTable(path=path, manifest=_manifest_of(metadata, path), rows=rows)


def is_exported(path: Path) -> bool:
    """Returns whether a file is a Parquet file that an export wrote.

    Raises:
        OSError: it cannot be read.
    """
    try:
        open_table(path, Argument.OUTPUT)
    except LookalikeError:
        return False
    return True


def _manifest_of(metadata: Mapping[bytes, bytes], path: Path) -> CollectionManifest:
    text = metadata.get(METADATA_KEY.encode())
    if text is None:
        raise ManifestError(
            f"{path} has no manifest of lookalike's, so its vectors are of an unknown space; name a file "
            "that was exported from a collection",
            path=path,
        )
    try:
        return CollectionManifest.from_json(parse_json(text))
    except (ValueError, TypeError) as error:
        raise ManifestError(f"the manifest in {path} is not valid JSON ({error})", path=path) from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}", path=path, hint=error.hint) from error


@contextmanager
def _reading(path: Path) -> "Iterator[Any]":
    """Yields an open Parquet file; what pyarrow raises about its content becomes an error of ours.

    Raises:
        LookalikeError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        try:
            with pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=True) as file:
                yield file
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise _damaged(path, what) from error


def _damaged(path: Path, what: str) -> LookalikeError:
    return LookalikeError(f"{path} is damaged ({what}); export the collection again", path=path)


def _require_columns(schema: "pa.Schema", table: ParquetTable) -> None:
    """Refuses a file whose columns are not those of an export.

    Raises:
        LookalikeError: one is missing, or has another type; or the vectors have another dimension.
    """
    wanted = _schema_of(table.manifest, with_images=False)
    if missing := [name for name in wanted.names if schema.names.count(name) != 1]:
        raise LookalikeError(
            f"{table.path} does not have one column {', '.join(missing)}; export the collection again, and "
            "keep its columns",
            path=table.path,
        )
    for name in wanted.names:
        here, there = schema.field(name).type, wanted.field(name).type
        if here != there and name != "file" and not (name == TAKEN_AT and _is_time(here)):
            raise LookalikeError(
                f"the column {name} of {table.path} has the type {here}, not {there}; export the collection "
                "again",
                path=table.path,
            )


def _points_of(batch: "pa.RecordBatch", first: int, table: ParquetTable) -> list[ImagePoint]:
    """Returns the points of consecutive rows, of which the first has this number."""
    for name in batch.schema.names:
        if name not in _LEFT_EMPTY and batch.column(name).null_count:
            raise _bad_row(table, first + _find_null(batch.column(name)), f"{name} is missing")
    vectors = _vectors_of(batch.column(VECTOR), table)
    usable = usable_rows(vectors)
    columns = [
        _times_of(batch.column(name)) if name == TAKEN_AT else batch.column(name).to_pylist()
        for name in _READ
    ]
    points = []
    for place, values in enumerate(zip(*columns, strict=True)):
        row = dict(zip(_READ, values, strict=True))
        if problem := _find_problem(row) or ("" if usable[place] else "its vector is zero or not finite"):
            raise _bad_row(table, first + place, problem)
        points.append(ImagePoint(payload=_payload_of(row), vector=vectors[place]))
    return points


_READ = (*(name for name in COLUMNS if name != "file"), INGEST)


def _is_time(kind: "pa.DataType") -> bool:
    """Returns whether a column has times, of any precision, or nothing but null."""
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) or pa.types.is_null(kind))


def _times_of(column: "pa.Array") -> list[str | None]:
    """Returns times as payloads have them; other programs may have changed their precision."""
    import pyarrow as pa

    seconds = column.cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64()).to_pylist()
    return [None if each is None else format_ns(each * 10**9) for each in seconds]


def _vectors_of(column: "pa.Array", table: ParquetTable) -> FloatVector:
    values = column.flatten()
    if values.null_count:
        raise _damaged(table.path, "a value of a vector is missing")
    matrix = values.to_numpy(zero_copy_only=False).reshape(-1, table.manifest.identity.dimension)
    return np.asarray(matrix, dtype=np.float32)


def _find_problem(row: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with a row; None if an export may have written it."""
    path, ingest = PurePosixPath(row["path"]), row[INGEST]
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in row["path"]:
        return f"the path {row['path']!r} is not one below a dataset's folder"
    if row["id"] != point_id(row["dataset"], row["path"]):
        return f"the id {row['id']!r} does not follow from its dataset and path"
    if not _SHA256.fullmatch(row["sha256"]):
        return f"{row['sha256']!r} is not a SHA-256"
    if min(row["width"], row["height"]) < 1 or row["bytes"] < 0:
        return "its size is impossible"
    if ingest["ingested_at"] is None or ingest["mtime_ns"] is None:
        return "ingested_at or mtime_ns is missing"
    return None


_AS_THEY_ARE = ("dataset", "path", "synset", "sha256", "width", "height", "bytes", TAKEN_AT)


def _payload_of(row: Mapping[str, Any]) -> Payload:
    class_name: str | None = row["class"]
    return Payload(
        **{name: row[name] for name in _AS_THEY_ARE},
        class_name=nfc(class_name) if class_name else None,
        **row[INGEST],
    )


def _find_null(column: "pa.Array") -> int:
    nulls: Sequence[bool] = column.is_null().to_pylist()
    return nulls.index(True)


def _bad_row(table: ParquetTable, row: int, problem: str) -> LookalikeError:
    return LookalikeError(
        f"row {row} of {table.path}: {problem}; export the collection again",
        path=table.path,
    )
