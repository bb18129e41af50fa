"""Reads the files of points again: hashes them, embeds them, and compares both with what is stored."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.batched import batched
from lookalike_core.errors import ImageError
from lookalike_core.images.capture_time import time_taken
from lookalike_core.images.decoding import MAX_PIXELS, DecodedImage, decode
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection

from lookalike_ingest.integrity.faults import Fault, Finding
from lookalike_ingest.integrity.stored_points import PresentPoint
from lookalike_ingest.integrity.tolerance import Agreement, Deviation, Tolerance, compare_vectors

Embed = Callable[[list[DecodedImage]], Iterable[FloatVector]]
"""Computes the vector of each image, float32 `[D]`."""


class ReadPoint(NamedTuple):
    """A point whose file was read: its hash, its image, and when it was taken, each None if it is unread.

    Where its metadata do not say when it was taken, that is the time of the file that was ingested.
    """

    point: PresentPoint
    sha256: str | None
    image: DecodedImage | None
    taken_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A point whose stored vector is not that of its file, though the file is the one that was ingested."""

    point: PresentPoint
    stored: FloatVector
    fresh: FloatVector
    deviation: Deviation

    def finding(self, fault: Fault, detail: str) -> Finding:
        """Returns a fault of this point."""
        return find_in(self.point, fault, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What a file that was read again says of its point: faults, or a vector to be explained.

    `deviation` is None where no vector was compared; without a hash nothing was.
    """

    point: PresentPoint
    is_read: bool
    deviation: Deviation | None
    findings: tuple[Finding, ...]
    mismatch: Mismatch | None

    @property
    def is_wrong(self) -> bool:
        """Whether the point has a fault."""
        return bool(self.findings) or self.mismatch is not None


def reread_files(
    points: Iterator[PresentPoint],
    collection: Collection,
    *,
    embed: Embed,
    tolerance: Tolerance,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Reread]:
    """Yields what each file says of its point; a batch of images and a few more are in memory at a time."""
    read = map_ahead(partial(read_point, max_pixels=max_pixels), points, ahead=2 * BATCH_SIZE)
    try:
        for batch in batched(read, BATCH_SIZE):
            yield from _compare_batch(batch, collection, embed, tolerance)
    finally:
        read.close()


def read_point(point: PresentPoint, *, max_pixels: int = MAX_PIXELS) -> ReadPoint:
    """Reads, hashes and decodes the file of a point; never raises an `ImageError`."""
    sha256 = taken_at = None
    try:
        with open_file(point.file) as stream:
            sha256 = hash_stream(stream)
            taken_at = time_taken(stream, mtime_ns=point.payload.mtime_ns)
            image = decode(stream, point.payload.path, max_pixels=max_pixels)
            return ReadPoint(point, sha256, image, taken_at)
    except ImageError:
        return ReadPoint(point, sha256, None, taken_at)


def _compare_batch(
    batch: list[ReadPoint], collection: Collection, embed: Embed, tolerance: Tolerance
) -> Iterator[Reread]:
    images = [read.image for read in batch if read.image is not None]
    fresh = iter(embed(images) if images else ())
    stored = collection.vectors([read.point.id for read in batch])
    for read in batch:
        vector = next(fresh) if read.image is not None else None
        yield judge(
            read,
            fresh=vector,
            stored=stored.get(read.point.id),
            distance=collection.manifest.distance,
            tolerance=tolerance,
        )


def judge(
    read: ReadPoint,
    *,
    fresh: FloatVector | None,
    stored: FloatVector | None,
    distance: Distance,
    tolerance: Tolerance,
) -> Reread:
    """Returns what a file says of its point. Pure.

    Two of three agree where one is wrong: the stored vector, the stored payload and the file.
    """
    point, payload = read.point, read.point.payload
    deviation = None
    if fresh is not None and stored is not None:
        deviation = compare_vectors(stored, fresh, distance, tolerance)
    fits = deviation is not None and deviation.agreement in (Agreement.SAME, Agreement.ROUNDED)
    findings: list[Finding] = []
    mismatch = None
    if read.sha256 is not None and read.sha256 != payload.sha256:
        findings.append(_judge_bytes(point, fits=fits))
    elif read.sha256 is not None:
        if differing := _find_differing(payload, point.status, read):
            findings.append(find_in(point, Fault.PAYLOAD_DIFFERS, differing))
        if deviation is not None and not fits and fresh is not None and stored is not None:
            mismatch = Mismatch(point=point, stored=stored, fresh=np.array(fresh), deviation=deviation)
    return Reread(
        point=point,
        is_read=read.sha256 is not None and (bool(findings) or deviation is not None),
        deviation=deviation if fits else None,
        findings=tuple(findings),
        mismatch=mismatch,
    )


def _judge_bytes(point: PresentPoint, *, fits: bool) -> Finding:
    """Returns the fault of a file with another hash; `fits`: its vector is the stored one."""
    payload, status = point.payload, point.status
    if (status.st_size, status.st_mtime_ns) != (payload.bytes, payload.mtime_ns):
        return find_in(point, Fault.FILE_CHANGED, "the file was changed since it was ingested")
    if fits:
        what = f"sha256 is {payload.sha256[:12]}…, and the file, whose vector is the stored one, has another"
        return find_in(point, Fault.PAYLOAD_DIFFERS, what)
    return find_in(point, Fault.FILE_REPLACED, "the file has other bytes, but the same size and time")


def _find_differing(payload: Payload, status: os.stat_result, read: ReadPoint) -> str:
    """Returns the sizes and the time in a payload that are not its file's; older points have none."""
    image = read.image
    pairs: list[tuple[str, object, object]] = [("bytes", payload.bytes, status.st_size)]
    if None not in (payload.taken_at, read.taken_at):
        pairs.append(("taken_at", payload.taken_at, read.taken_at))
    if image is not None and payload.width and payload.height:
        pairs += [("width", payload.width, image.width), ("height", payload.height, image.height)]
    wrong = [f"{name} is {said}, and the file's {real}" for name, said, real in pairs if said != real]
    return "; ".join(wrong)


def find_in(point: PresentPoint, fault: Fault, detail: str) -> Finding:
    """Returns a fault of a point."""
    return Finding(
        fault=fault, detail=detail, dataset=point.payload.dataset, path=point.payload.path, id=point.id
    )
