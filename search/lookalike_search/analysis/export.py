"""Exports a collection to a file: images, classes and vectors, for other programs or another store."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from lookalike_core import progress
from lookalike_core.atomic import atomic_path
from lookalike_core.cpu_count import count_cores
from lookalike_core.errors import ImageError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.thumbnails import AHEAD, Thumbnail, read_thumbnail
from lookalike_core.outputs import check_output_path
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.tables import parquet
from lookalike_core.tables.rows import TableBatch, has_formula
from lookalike_core.tables.text_files import is_csv_table, open_csv, open_matrix

from lookalike_search.analysis.sorted_payloads import SortedPayloads
from lookalike_search.collection_choice import resolve_filter
from lookalike_search.unchanged_files import open_unchanged

THUMBNAIL_EDGE = 256
"""Pixels of the longer side of a thumbnail."""
THUMBNAIL_QUALITY = 85

BATCH_BYTES = 2**24
"""Bytes of a batch, which is a row group in Parquet; several times as much is in memory."""
_THUMBNAIL_BYTES = 2**14
"""About as many bytes has a thumbnail."""


class ExportFormat(StrEnum):
    """The formats, each with the suffix of its files."""

    PARQUET = ".parquet"
    NPY = ".npy"
    CSV = ".csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTarget:
    """What an export writes: a `file`, beside a matrix also a `table` of its rows; perhaps `thumbnails`."""

    file: Path
    format: ExportFormat
    table: Path | None = None
    thumbnails: bool = False
    batch_bytes: int = BATCH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported."""

    collection: str
    """The name of the collection."""
    file: Path
    """The file that was written."""
    table: Path | None
    """The table of the rows of a matrix, beside it; None for the other formats."""
    images: int
    """The number of images: rows of the table, and of the matrix."""
    dimension: int
    """The number of values of a vector."""
    without_thumbnail: int
    """Images without the thumbnail that was wanted: their file is gone, unreadable or has changed."""
    formula_names: int
    """Images with a name that a spreadsheet would take for a formula; 0 unless a CSV table was written."""
    bytes: int
    """The size of all that was written."""
    took_s: float
    """Duration in seconds."""


def check_export(
    output: str | Path, *, thumbnails: bool = False, batch_bytes: int = BATCH_BYTES
) -> ExportTarget:
    """Returns what is written to a path, checked before the work starts; its suffix is the format.

    Raises:
        UsageError: the suffix is none of the three, only Parquet has thumbnails, pyarrow is not installed, or
            a file is there that is no result of an earlier export.
        OSError: nothing can be written there.
    """
    suffix = Path(output).suffix.lower()
    if suffix == ExportFormat.PARQUET:
        parquet.require_pyarrow(Argument.OUTPUT)
    is_ours = _IS_OURS.get(suffix, is_csv_table)
    checked = check_output_path(output, Argument.OUTPUT, list(ExportFormat), is_ours=is_ours)
    kind, table = ExportFormat(suffix), None
    if thumbnails and kind is not ExportFormat.PARQUET:
        raise UsageError.of(
            Argument.OUTPUT, f"{checked} has no room for thumbnails; name a .parquet file, or leave them out"
        )
    if kind is ExportFormat.NPY:
        table = check_output_path(_table_of(checked), Argument.OUTPUT, is_ours=is_csv_table)
    return ExportTarget(
        file=checked, format=kind, table=table, thumbnails=thumbnails, batch_bytes=batch_bytes
    )


def _table_of(matrix: Path) -> Path:
    return matrix.with_suffix(ExportFormat.CSV)


def _is_matrix(path: Path) -> bool:
    """Returns whether a file is a matrix that an export wrote: one with its table beside it."""
    table = _table_of(path)
    return table.is_file() and is_csv_table(table)


_IS_OURS: Mapping[str, Callable[[Path], bool]] = {
    ExportFormat.PARQUET: parquet.is_exported,
    ExportFormat.NPY: _is_matrix,
}
"""Suffix -> whether a file is an earlier result; of all others `is_csv_table` says so."""


def export_collection(
    collection: Collection, target: ExportTarget, *, where: PointFilter = EVERYTHING
) -> ExportReport:
    """Writes the images of a collection, sorted by dataset and path, and their vectors.

    Nothing is written to the collection. The files appear once they are complete, and replace earlier ones.
    In memory is a batch at a time. Images that are removed in the meantime are left out.

    Raises:
        UsageError: the collection has no such dataset or class.
    """
    started = time.monotonic()
    where = resolve_filter(where, collection)
    manifest, dimension = collection.manifest, collection.manifest.identity.dimension
    images = without_thumbnail = formula_names = 0
    with closing(SortedPayloads(collection, where)) as payloads:
        if where != EVERYTHING:
            manifest = _manifest_of_part(manifest, payloads.datasets)
        with (
            _open_writers(target, manifest) as writers,
            progress.bar(collection.name, unit="images", total=len(payloads)) as bar,
        ):
            for some in payloads.batches(_rows_of_batch(dimension, target)):
                batch = _read_batch(collection, some, manifest, target)
                for writer in writers:
                    writer.write(batch)
                images += len(batch.payloads)
                without_thumbnail += list(batch.thumbnails or ()).count(None)
                if target.format is not ExportFormat.PARQUET:  # only a spreadsheet takes a name for a formula
                    formula_names += sum(map(has_formula, batch.payloads))
                bar.advance(len(some))
    written = [file for file in (target.file, target.table) if file is not None]
    return ExportReport(
        collection=collection.name,
        file=target.file,
        table=target.table,
        images=images,
        dimension=dimension,
        without_thumbnail=without_thumbnail,
        formula_names=formula_names,
        bytes=sum(file.stat().st_size for file in written),
        took_s=time.monotonic() - started,
    )


class _Writer(Protocol):
    """Writes a part of each batch to a file."""

    def write(self, batch: TableBatch) -> None:
        """Writes a batch behind the earlier ones."""


@contextmanager
def _open_writers(target: ExportTarget, manifest: CollectionManifest) -> Iterator[Sequence[_Writer]]:
    """Yields the writers of a format; their files appear when the block ends without an error."""
    with ExitStack() as stack:
        file = stack.enter_context(atomic_path(target.file))
        match target.format:
            case ExportFormat.PARQUET:
                opened = parquet.open_parquet(file, manifest, with_images=target.thumbnails)
                yield [stack.enter_context(opened)]
            case ExportFormat.CSV:
                yield [stack.enter_context(open_csv(file, manifest))]
            case ExportFormat.NPY:
                table = stack.enter_context(atomic_path(target.table or _table_of(target.file)))
                matrix = stack.enter_context(open_matrix(file, manifest.identity.dimension))
                yield [matrix, stack.enter_context(open_csv(table, manifest))]


def _manifest_of_part(manifest: CollectionManifest, datasets: set[str]) -> CollectionManifest:
    """Returns the manifest of some of the images: with their datasets, and without a calibration."""
    for name in manifest.datasets.keys() - datasets:
        manifest = manifest.without_dataset(name)
    return replace(manifest, calibration=None, revision=None)


def _rows_of_batch(dimension: int, target: ExportTarget) -> int:
    row_bytes = 4 * dimension + (_THUMBNAIL_BYTES if target.thumbnails else 0)
    return max(1, target.batch_bytes // row_bytes)


def _read_batch(
    collection: Collection, payloads: Sequence[Payload], manifest: CollectionManifest, target: ExportTarget
) -> TableBatch:
    """Returns a batch with what the format has of it; in CSV are no vectors."""
    if target.format is ExportFormat.CSV:
        none = np.empty((len(payloads), 0), dtype=np.float32)
        return TableBatch(payloads=payloads, vectors=none)
    there, vectors = read_vectors(collection, payloads)
    if not target.thumbnails:
        return TableBatch(payloads=there, vectors=vectors)
    make = partial(_make_thumbnail, manifest=manifest)
    made = map_ahead(make, iter(there), ahead=AHEAD, workers=min(8, count_cores() + 1))
    return TableBatch(payloads=there, vectors=vectors, thumbnails=list(made))


def _make_thumbnail(payload: Payload, *, manifest: CollectionManifest) -> Thumbnail | None:
    """Returns the thumbnail of an indexed image; None if its file is not the one that was ingested."""
    file = file_of(manifest, payload.dataset, payload.path)
    if file is None:
        return None
    try:
        with open_unchanged(file, payload) as stream:
            return read_thumbnail(stream, str(file), THUMBNAIL_EDGE, quality=THUMBNAIL_QUALITY)
    except ImageError:
        return None
