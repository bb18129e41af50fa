"""Imports an exported collection from a Parquet file: its points, and what its manifest has besides.

The file is read twice: as a whole before anything is written, so that a file that is refused changes nothing,
and then to write its points. If that is interrupted, the same call continues.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lookalike_core import progress
from lookalike_core.errors import LookalikeError, ManifestError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.missing_path import require_there
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import check_new_name
from lookalike_core.stores.protocol import Collection, Store, require_writable
from lookalike_core.tables.parquet import ParquetTable, open_table
from lookalike_exporter.heads.head_file import head_path, name_of_head

from lookalike_ingest.layout_check import check_layout
from lookalike_ingest.request import StopRequest
from lookalike_ingest.target import complete_written


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did."""

    collection: str
    """The name of the collection."""
    store: str
    """The address of the store, without credentials."""
    file: Path
    """The file that was imported."""
    added: int
    """Images that were new."""
    replaced: int
    """Images that the collection had already."""
    points: int
    """The number of images of the collection now."""
    datasets: Mapping[str, str]
    """The datasets of the file -> their folders, which need not exist on this machine."""
    calibration_imported: bool
    """Whether the collection now has the calibration of the file."""
    calibration_dropped: bool
    """Whether the collection had a calibration and has none now, since its images changed."""
    missing_head: Path | None
    """Where the head of the collection is expected, if it is not there: only queries by indexed images work
    without it. None otherwise."""
    took_s: float
    """Duration in seconds."""


def import_table(
    file: Path,
    *,
    store: Store,
    settings: Settings,
    stop: StopRequest,
    into: str | None = None,
    new_root: bool = False,
    layout: ClusterLayout | None = None,
    check: Callable[[CollectionManifest], None] = lambda _: None,
    origin: Argument | str = "FILE",
) -> ImportReport:
    """Writes the images of an exported collection to that of the same name, or `into` another one.

    The collection is created if there is none, with this `layout`; images that it has already are replaced.
    Datasets come with
    their folders: where the collection has another folder for one, the file's is taken with `new_root`.
    `check` may refuse the manifest of a file; `origin` is what names the file.

    Raises:
        UsageError: there is no such file, it is no Parquet file, pyarrow is not installed, or a dataset has
            another folder; `into` is not a name that a collection may have; or the collection has another
            layout, or cannot have it.
        ManifestError: the file was not exported by Lookalike, or the collection is of another embedding
            space.
        LookalikeError: the file is damaged, or a row is not what an export writes.
        StoreError: the store is read-only.
    """
    started = time.monotonic()
    table = _open(file, origin)
    check(table.manifest)
    name = check_new_name(into) if into is not None else table.manifest.collection
    require_writable(store, name)
    check_layout(layout, [name], store)
    if name in store:
        _require_same_space(store.manifest(name), table, name)
        _require_same_roots(store.manifest(name), table, name, new_root=new_root)
    _require_sound(table, stop)
    local = store.local
    with nullcontext() if local is None else local.ingesting():
        if name not in store:
            store.create(replace(table.manifest, calibration=None, revision=None), name=name, layout=layout)
        with store.open(name) as collection:
            had_calibration = collection.manifest.calibration is not None
            added = _write(collection, table, stop)
            points, is_calibrated = collection.count(), _take_calibration(collection, table)
            complete_written(collection, on_wait=stop.check)
            has_calibration = collection.manifest.calibration is not None
    return ImportReport(
        collection=name,
        store=store.label,
        file=table.path,
        added=added,
        replaced=table.rows - added,
        points=points,
        datasets=dict(table.manifest.datasets),
        calibration_imported=is_calibrated,
        calibration_dropped=had_calibration and not has_calibration,
        missing_head=_find_missing_head(table.manifest, settings),
        took_s=time.monotonic() - started,
    )


def _open(file: Path, origin: Argument | str) -> ParquetTable:
    require_there(file, origin)
    if not file.is_file():
        raise UsageError.of(origin, f"{file} is not a file; name one that was exported", path=file)
    return open_table(file, origin)


def _require_same_space(manifest: CollectionManifest, table: ParquetTable, name: str) -> None:
    try:
        manifest.require(table.manifest.identity, table.manifest.distance, name=name)
    except ManifestError as error:
        raise ManifestError(
            f"{table.path} does not fit: {error}; import it into a collection or a store of its own",
            collection=name,
            path=table.path,
            hint=Hint(Action.USE, {Argument.AS: None}),
        ) from error


def _require_same_roots(
    manifest: CollectionManifest, table: ParquetTable, name: str, *, new_root: bool
) -> None:
    for dataset, root in table.manifest.datasets.items():
        if manifest.datasets.get(dataset, root) != root and not new_root:
            raise UsageError(
                f"dataset {dataset} of {name} has the root {manifest.datasets[dataset]}, and {root} in "
                f"{table.path}",
                path=table.path,
                hint=Hint(Action.TAKE_NEW_ROOT),
            )


def _require_sound(table: ParquetTable, stop: StopRequest) -> None:
    """Reads the whole file, and refuses it if any row is wrong or an image is in it twice."""
    ids = bytearray()
    with progress.bar(f"checking {table.path.name}", unit="images", total=table.rows) as bar:
        for points in table.points():
            stop.check()
            ids += b"".join(uuid.UUID(point.payload.id).bytes for point in points)
            bar.advance(len(points))
    if len(ids) != _ID_BYTES * table.rows:
        raise LookalikeError(
            f"{table.path} is damaged (it has {len(ids) // _ID_BYTES} rows and not {table.rows}); export the "
            "collection again",
            path=table.path,
        )
    halves = np.frombuffer(bytes(ids), dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort(halves.T)
    is_repeated = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    if is_repeated.any():
        place = int(np.argmax(is_repeated))
        one, other = sorted((int(order[place]) + 1, int(order[place + 1]) + 1))
        raise LookalikeError(
            f"rows {one} and {other} of {table.path} are the same image; export the collection again",
            path=table.path,
        )


_ID_BYTES = 16


def _write(collection: Collection, table: ParquetTable, stop: StopRequest) -> int:
    """Writes all points; returns how many the collection did not have."""
    if collection.upkeep is not None:
        collection.delete(collection.upkeep.find_damaged())  # or they might stay damaged
        collection.upkeep.invalidate_cache()
    recorded = collection.manifest
    for dataset, root in table.manifest.datasets.items():
        rules = table.manifest.rules_of(dataset)
        if (recorded.datasets.get(dataset), recorded.rules_of(dataset)) != (root, rules):
            collection.record_dataset(dataset, root, rules)
    added = 0
    stop.waits_for_batch = True
    try:
        with progress.bar(collection.name, unit="images", total=table.rows) as bar:
            for points in table.points():
                added += len(points) - len(collection.payloads([point.payload.id for point in points]))
                collection.upsert(points)
                bar.advance(len(points))
                stop.check()
    finally:
        stop.be_done()
    return added


def _take_calibration(collection: Collection, table: ParquetTable) -> bool:
    """Records the file's calibration, if the collection has exactly the images that it was learned from."""
    calibration, manifest = table.manifest.calibration, collection.manifest
    key, distance = manifest.identity.key, manifest.distance
    points = collection.count()
    if (
        calibration is None
        or points != table.rows
        or not calibration.fits(identity=key, distance=distance, points=points)
    ):
        return False
    revision = collection.mark_revision()
    collection.record_calibration(replace(calibration, revision=revision))
    return True


def _find_missing_head(manifest: CollectionManifest, settings: Settings) -> Path | None:
    if manifest.identity.head is None:
        return None
    path = head_path(name_of_head(manifest.identity), settings)
    return None if path.is_file() else path
