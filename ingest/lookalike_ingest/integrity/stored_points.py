"""Checks every point of a collection without reading its file: id, payload, vector, and that the file exists.

A page of points is in memory at a time.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.batched import batched
from lookalike_core.errors import StoreError
from lookalike_core.images.exclusion import is_made_by_systems
from lookalike_core.instants import parse_instant
from lookalike_core.sources.source_path import SourcePath, parse_root
from lookalike_core.stores.bulk_reads import AT_ONCE
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import FOLDERS, Payload
from lookalike_core.stores.protocol import Collection
from lookalike_core.stores.server_collection import ServerCollection
from lookalike_core.stores.shared import SharedCollection

from lookalike_ingest.absence import Absence, Absences
from lookalike_ingest.integrity.faults import Fault, Finding, Findings
from lookalike_ingest.integrity.point_list import PointList
from lookalike_ingest.integrity.tolerance import LENGTH

_SHA256 = re.compile("[0-9a-f]{64}")
_TEXTS = ("dataset", "path", "sha256", "ingested_at")
_NUMBERS = ("width", "height", "bytes", "mtime_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentPoint:
    """A point without a fault so far, whose file is there; `has_other_size`: than the payload says."""

    id: str
    payload: Payload
    file: Path
    status: os.stat_result
    has_other_size: bool


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many points were checked, whose files are away, unreadable, or have another time alone."""

    checked: int = 0
    away: int = 0
    unreadable: int = 0
    touched: int = 0


def check_stored_points(
    collection: Collection, listed: PointList | None, counts: Counts, findings: Findings
) -> Iterator[PresentPoint]:
    """Checks all points, and yields those without a fault whose files are there."""
    files = Files(collection.manifest.datasets)
    with progress.bar(f"points of {collection.name}", unit="images", total=collection.count()) as bar:
        for rows in read_pages(collection):
            vectors = _read_vectors(collection, [id_ for id_, _ in rows])
            unlike = set(_find_unlike_replicas(collection, [id_ for id_, _ in rows]))
            for id_, data in rows:
                counts.checked += 1
                payload, found = _check_payload(id_, data, collection)
                found += _check_vector(vectors.get(id_), collection, _about(id_, payload))
                if id_ in unlike:
                    detail = "its replicas on the server differ in payload or vector"
                    found.append(Finding(fault=Fault.REPLICAS_DIFFER, detail=detail, **_about(id_, payload)))
                if payload is not None:
                    found += listed.compare(payload, id_) if listed is not None else []
                    point = files.find(id_, payload, counts) if not found else None
                    if isinstance(point, Finding):
                        found.append(point)
                    elif point is not None:
                        yield point
                findings.add(*found)
            bar.advance(len(rows))


def _find_unlike_replicas(collection: Collection, ids: Sequence[str]) -> list[str]:
    """Returns those of the ids whose replicas differ; an embedded collection has none."""
    if isinstance(collection, SharedCollection):
        with collection.locked() as held:
            return _find_unlike_replicas(held, ids)
    return collection.find_unlike_replicas(ids) if isinstance(collection, ServerCollection) else []


def read_pages(collection: Collection) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """Returns an iterator over ids and payloads of all points, some at a time."""
    return batched(collection.scan_points(), AT_ONCE)


def parse_payload(data: Mapping[str, Any]) -> Payload | None:
    """Returns the payload that was stored; None if it is malformed."""
    try:
        payload = Payload.from_json(data)
    except (KeyError, TypeError):
        return None
    is_typed = all(isinstance(getattr(payload, name), str) for name in _TEXTS) and all(
        isinstance(getattr(payload, name), int) for name in _NUMBERS
    )
    return payload if is_typed else None


def _check_payload(
    id_: str, data: Mapping[str, Any], collection: Collection
) -> tuple[Payload | None, list[Finding]]:
    """Returns a point's payload, None if it is lost, and what is wrong with it or the id."""
    payload = parse_payload(data)
    if payload is None:
        what = "the payload is malformed" if data else "the payload is lost"
        fault = Fault.PAYLOAD_DIFFERS if data else Fault.STORE_DAMAGED
        return None, [Finding(fault=fault, detail=what, **_known(id_, data))]
    about = _about(id_, payload)
    if payload.id != id_:
        detail = f"the id is {id_}, and that of dataset and path is {payload.id}"
        return payload, [Finding(fault=Fault.ID_DIFFERS, detail=detail, **about)]
    problem = _problem(payload, collection.manifest.datasets) or _problem_of_folders(data, payload)
    return payload, [Finding(fault=Fault.PAYLOAD_DIFFERS, detail=problem, **about)] if problem else []


def _problem(payload: Payload, datasets: Mapping[str, str]) -> str | None:
    """Returns what no ingest would have written into a payload."""
    if payload.dataset not in datasets:
        return f"the dataset {payload.dataset} is none of the collection's"
    path = PurePosixPath(payload.path)
    if not payload.path or path.is_absolute() or ".." in path.parts:
        return "the path leads out of the dataset"
    if not _SHA256.fullmatch(payload.sha256):
        return f"sha256 is no SHA-256: {payload.sha256[:64]}"
    if min(payload.width, payload.height, payload.bytes) < 0:
        return "width, height or bytes are negative"
    if payload.taken_at is not None and not _is_instant(payload.taken_at):
        return f"taken_at is no time in UTC: {str(payload.taken_at)[:64]}"
    return None


def _is_instant(text: object) -> bool:
    try:
        return isinstance(text, str) and parse_instant(text) == text
    except ValueError:
        return False


def _problem_of_folders(data: Mapping[str, Any], payload: Payload) -> str | None:
    """Returns what is wrong with the folders of a payload, if it has any: older versions stored none."""
    stored = data.get(FOLDERS)
    return None if stored in (None, payload.folders) else f"the folders are not those of the path: {stored}"


def _known(id_: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a malformed payload says about its image."""
    said = {name: data.get(name) for name in ("dataset", "path")}
    return {"id": id_} | {name: value for name, value in said.items() if isinstance(value, str)}


def _about(id_: str, payload: Payload | None) -> dict[str, Any]:
    about: dict[str, Any] = {"id": id_}
    return about if payload is None else about | {"dataset": payload.dataset, "path": payload.path}


def _read_vectors(collection: Collection, ids: Sequence[str]) -> dict[str, FloatVector]:
    """Returns vectors by id; of a damaged embedded collection those that can be read."""
    try:
        return collection.vectors(ids)
    except StoreError:
        if collection.upkeep is None:
            raise
    half = len(ids) // 2
    return _read_vectors(collection, ids[:half]) | _read_vectors(collection, ids[half:]) if half else {}


def _check_vector(
    vector: FloatVector | None, collection: Collection, about: Mapping[str, Any]
) -> list[Finding]:
    """Returns what is wrong with a stored vector, whatever its image is; a store accepts none of zeros."""
    manifest, fault = collection.manifest, Fault.STORE_DAMAGED
    if vector is None or vector.shape != (manifest.identity.dimension,):
        problem = "the vector is lost"
    elif not np.isfinite(vector).all():
        problem, fault = "the vector is not finite", Fault.VECTOR_INVALID
    elif not vector.any():
        problem = "the vector is lost, and read as zeros"
    else:
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if manifest.distance is not Distance.COSINE or abs(length - 1) <= LENGTH:
            return []
        problem, fault = f"the vector has the length {length:.6g} instead of 1", Fault.VECTOR_INVALID
    return [Finding(fault=fault, detail=problem, **about)]


class Files:
    """Finds the files of points by the folders of their datasets."""

    def __init__(self, datasets: Mapping[str, str]) -> None:
        self._roots = {dataset: parse_root(root) for dataset, root in datasets.items()}
        self._absences = {dataset: Absences(root) for dataset, root in self._roots.items()}
        self._has_files = cache(_has_files)

    def find(self, id_: str, payload: Payload, counts: Counts) -> PresentPoint | Finding | None:
        """Returns a point with its file, or the fault that it has none; None, counted, if that is unknown."""
        root = self._roots[payload.dataset]
        file = root / payload.path
        try:
            if isinstance(root, SourcePath) and not self._has_files(root):
                return self._judge_missing(id_, payload, counts)
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return self._judge_missing(id_, payload, counts)
        except (OSError, ValueError):
            counts.unreadable += 1
            return None
        if not stat.S_ISREG(status.st_mode):
            return _missing(id_, payload, f"{file} is no file any more")
        has_other_size = status.st_size != payload.bytes
        counts.touched += not has_other_size and status.st_mtime_ns != payload.mtime_ns
        return PresentPoint(id=id_, payload=payload, file=file, status=status, has_other_size=has_other_size)

    def _judge_missing(self, id_: str, payload: Payload, counts: Counts) -> Finding | None:
        """Returns the fault of a deleted file; None, counted, where its disk may not be mounted."""
        root = self._roots[payload.dataset]
        absence = self._absences[payload.dataset].of(payload.path)
        if absence is Absence.GONE and self._has_files(root):
            return _missing(id_, payload, f"{root / payload.path} was deleted")
        counts.away += 1
        return None


def _has_files(root: Path) -> bool:
    """Returns whether a folder exists and has more in it than systems put there."""
    if isinstance(root, SourcePath):
        return root.is_dir()  # what is empty does not exist
    try:
        with os.scandir(root) as entries:
            return not all(is_made_by_systems(entry.name) for entry in entries)
    except OSError:
        return False


def _missing(id_: str, payload: Payload, detail: str) -> Finding:
    return Finding(fault=Fault.FILE_MISSING, detail=detail, **_about(id_, payload))
