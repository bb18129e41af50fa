"""Verifies a collection: every point without its file, and files of a random sample by embedding again."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Self

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError, StoreRefusedError, UsageError
from lookalike_core.images.decoding import MAX_PIXELS, DecodedImage
from lookalike_core.logs import get_logger
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.stores.snapshots import open_snapshot, read_version
from lookalike_core.text import format_count
from lookalike_exporter.model_resolver import get_model

from lookalike_ingest.integrity.bounds import bound_wrong, sample_size
from lookalike_ingest.integrity.diagnosis import diagnose
from lookalike_ingest.integrity.faults import Fault, Finding, Findings, IndexRecall, Verification
from lookalike_ingest.integrity.point_list import PointList
from lookalike_ingest.integrity.reread_files import Mismatch, find_in, read_point, reread_files
from lookalike_ingest.integrity.search_recall import FLOOR, QUERIES, measure_index_recall
from lookalike_ingest.integrity.stored_points import (
    Counts,
    Files,
    PresentPoint,
    check_stored_points,
    parse_payload,
    read_pages,
)
from lookalike_ingest.integrity.tolerance import Agreement, tolerance_of

_logger = get_logger("verify")

DEFAULT_SAMPLE = 300
"""Files that are read again by default: if none is wrong, with 95 % confidence at most 1 % of all are."""

EXPLAINED = 1_000
"""How many differing vectors are explained; further ones are reported as differing."""

SUSPECTS = 1_000
"""How many files with another size are read besides the sample; further ones are reported unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How many files are read again: a `share` of the points, a `count`, or all where both are None."""

    share: float | None = None
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the sample that a text means: `1%`, or a number of points.

        Raises:
            UsageError: it is neither, or out of range.
        """
        with suppress(ValueError):
            if text.endswith("%") and 0 < (share := float(text[:-1])) <= _PERCENT:
                return cls(share=share / _PERCENT)
            if re.fullmatch("[0-9]+", text) and int(text) > 0:
                return cls(count=int(text))
        raise UsageError(
            f"the sample is {text!r}; give a share of up to 100 %, as 1%, or a number of points, as 300"
        )

    @property
    def is_all(self) -> bool:
        """Whether the files of all points are read again."""
        return self.share is None and self.count is None

    def size(self, points: int) -> int:
        """Returns how many of so many points are in the sample."""
        if self.share is not None:
            return sample_size(self.share, points) if points else 0
        return points if self.count is None else min(self.count, points)


ALL = Sample()
_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """Which files are read again, and how; the same `seed` chooses the same points."""

    sample: Sample = Sample(count=DEFAULT_SAMPLE)
    seed: int = 0
    max_pixels: int = MAX_PIXELS


def verify_in_store(
    store: Store, name: str, options: VerifyOptions | None = None, *, settings: Settings
) -> Verification:
    """Verifies a collection as it is now; others may write to it in the meantime.

    Raises:
        CollectionMissingError, ManifestError, StoreLockedError, StoreError: it cannot be opened; files that
            are damaged are a finding.
        WeightsError, ModelError, ProviderError: its model is not available or cannot be run.
    """
    folder = store.local.folder_of(name) if store.local is not None else None
    started, version = time.perf_counter(), read_version(store, name)
    try:
        collection = open_snapshot(store, name)
    except StoreError as error:
        if folder is None or not _is_damage(error, folder):
            raise
        findings = Findings()
        findings.add(Finding(fault=Fault.STORE_DAMAGED, detail=str(error)))
        return _report(
            _Tally(name=name, provider=store.manifest(name).provider), Counts(), findings, started=started
        )
    with collection:
        return verify_collection(
            collection,
            options,
            settings=settings,
            is_current=lambda: read_version(store, name) == version,
        )


def verify_collection(
    collection: Collection,
    options: VerifyOptions | None = None,
    *,
    settings: Settings,
    is_current: Callable[[], bool] = lambda: True,
) -> Verification:
    """Verifies an open collection, which is only read.

    `is_current` returns whether nobody has written to it since it was opened, so that the list beside it is
    its own.

    Raises:
        StoreError: it cannot be read, and its files are not damaged.
        WeightsError, ModelError, ProviderError, ManifestError: its model is not available or cannot be run.
    """
    started = time.perf_counter()
    check = _Check(collection, options or VerifyOptions(), settings)
    try:
        check.run(is_current)
    except StoreError as error:
        upkeep = collection.upkeep
        if upkeep is None or not _is_damage(error, upkeep.cache_file.parent):
            raise
        check.findings.add(Finding(fault=Fault.STORE_DAMAGED, detail=str(error)))
    return _report(check.tally, check.counts, check.findings, started=started)


def _is_damage(error: StoreError, folder: Path) -> bool:
    """Returns whether an error says that files in a collection's folder are damaged."""
    is_of_system = isinstance(error, StoreRefusedError) or isinstance(error.__cause__, OSError)
    return error.path == folder and not is_of_system


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What is counted and measured besides `Counts`."""

    name: str
    provider: str
    points: int = 0
    population: int = 0
    reread: int = 0
    sampled: int = 0
    sampled_wrong: int = 0
    unread: int = 0
    rounded: int = 0
    largest: float | None = None
    provider_now: str | None = None
    list_compared: bool = False
    is_all: bool = False
    recall: IndexRecall | None = None


class _Check:
    """One verification: what was counted and found so far."""

    def __init__(self, collection: Collection, options: VerifyOptions, settings: Settings) -> None:
        manifest = collection.manifest
        self.tally = _Tally(name=collection.name, provider=manifest.provider, is_all=options.sample.is_all)
        self.counts, self.findings = Counts(), Findings()
        self._collection, self._options, self._settings = collection, options, settings
        self._tolerance = tolerance_of(manifest.identity)
        self._embedder: Embedder | None = None
        self._expected = 0
        """Images to embed."""

    def run(self, is_current: Callable[[], bool]) -> None:
        """Checks all points, then the files of the sample, then the index."""
        self.tally.points = points = self._collection.count()
        size = 0 if self.tally.is_all else self._options.sample.size(points)
        sample, searched = Drawn(size, self._options.seed), Drawn(QUERIES, self._options.seed)
        suspects: list[PresentPoint] = []
        listed = PointList.open_beside(self._collection, is_current)
        self.tally.list_compared = listed is not None
        with closing(listed) if listed is not None else nullcontext():
            present = check_stored_points(self._collection, listed, self.counts, self.findings)
            for point in present:
                searched.add(point)
                if point.has_other_size and not self.tally.is_all:
                    self._suspect(point, suspects)
                    continue
                self.tally.population += 1
                sample.add(point)
            if listed is not None:
                self.findings.add(*listed.find_lost(self._collection))
        self._compare_counts()
        is_sampled = {point.id for point in sample.points}
        chosen = iter([*sample.points, *suspects])
        self._expected = self.tally.population if self.tally.is_all else len(is_sampled) + len(suspects)
        self._reread(self._all_present() if self.tally.is_all else chosen, is_sampled)
        self._measure_recall([point.id for point in searched.points])

    def _suspect(self, point: PresentPoint, suspects: list[PresentPoint]) -> None:
        """Has a file with another size read, unless there are too many of them."""
        if len(suspects) < SUSPECTS:
            suspects.append(point)
            return
        detail = f"the file has {point.status.st_size} bytes, and had {point.payload.bytes}"
        self.findings.add(find_in(point, Fault.FILE_CHANGED, detail))

    def _compare_counts(self) -> None:
        """Compares the number of points with that after the last ingest, where no list names lost ones."""
        upkeep = self._collection.upkeep
        before = upkeep.points_before if upkeep is not None else None
        if before is not None and self.counts.checked != before and not self.tally.list_compared:
            detail = f"{format_count(self.counts.checked, 'point')}, and {before} after the last ingest"
            self.findings.add(Finding(fault=Fault.STORE_DAMAGED, detail=detail))

    def _all_present(self) -> Iterator[PresentPoint]:
        """Yields all points without a fault whose files are there, reading the collection again."""
        files, uncounted = Files(self._collection.manifest.datasets), Counts()
        for rows in read_pages(self._collection):
            for id_, data in rows:
                payload = parse_payload(data) if id_ not in self.findings.wrong_ids else None
                point = files.find(id_, payload, uncounted) if payload is not None else None
                if isinstance(point, PresentPoint):
                    yield point

    def _reread(self, points: Iterator[PresentPoint], is_sampled: AbstractSet[str]) -> None:
        """Reads files again, and explains the vectors that differ."""
        tally, mismatches, compared = self.tally, list[Mismatch](), 0
        title = f"files of {self._collection.name}"
        with progress.bar(title, unit="images", total=self._expected) as bar:
            for each in reread_files(
                points,
                self._collection,
                embed=self._embed,
                tolerance=self._tolerance,
                max_pixels=self._options.max_pixels,
            ):
                bar.advance(1)
                is_in_sample = tally.is_all or each.point.id in is_sampled
                if not each.is_read:
                    self.counts.unreadable += 1
                    tally.unread += is_in_sample
                    continue
                tally.reread += 1
                tally.sampled += is_in_sample
                tally.sampled_wrong += is_in_sample and each.is_wrong
                self.findings.add(*each.findings)
                compared += each.deviation is not None or each.mismatch is not None
                if each.deviation is not None:
                    tally.largest = max(tally.largest or 0.0, each.deviation.distance)
                    tally.rounded += each.deviation.agreement is Agreement.ROUNDED
                if each.mismatch is not None and len(mismatches) < EXPLAINED:
                    mismatches.append(each.mismatch)
                elif each.mismatch is not None:
                    detail = "the vector is not the file's"
                    self.findings.add(each.mismatch.finding(Fault.VECTOR_DIFFERS, detail))
        self.findings.add(
            *diagnose(
                mismatches,
                self._collection,
                compared=compared,
                tolerance=self._tolerance,
                embed_file=self._embed_file,
            )
        )

    def _measure_recall(self, ids: list[str]) -> None:
        self.tally.recall = recall = measure_index_recall(self._collection, ids)
        if recall is not None and recall.high < FLOOR:
            detail = f"the index finds {recall.value:.1%} of the ten nearest neighbours"
            self.findings.add(Finding(fault=Fault.INDEX_RECALL, detail=detail))

    def _embed(self, images: Sequence[DecodedImage]) -> FloatVector:
        """Returns the vectors of images, float32 `[N, D]`; loads the model for the first ones."""
        if self._embedder is None:
            model = get_model(self._collection.manifest, settings=self._settings)
            self._embedder = Embedder.from_settings(
                model.path, self._settings, expected=model.manifest, images=self._expected
            )
            self._embedder.log_provider(_logger)
            self.tally.provider_now = self._embedder.provider
        return self._embedder.embed([image.pixels for image in images])

    def _embed_file(self, payload: Payload) -> FloatVector | None:
        """Returns the vector of an indexed image's file; None if it is missing, unreadable or changed."""
        if payload.dataset not in self._collection.manifest.datasets:
            return None
        point = Files(self._collection.manifest.datasets).find(payload.id, payload, Counts())
        read = (
            read_point(point, max_pixels=self._options.max_pixels)
            if isinstance(point, PresentPoint)
            else None
        )
        if read is None or read.image is None or read.sha256 != payload.sha256:
            return None
        return np.asarray(self._embed([read.image])[0], dtype=np.float32)


class Drawn:
    """A random sample of so many points, whatever their order, of which only the sample is in memory."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._key = size, str(seed).encode()[:64]
        self._heap: list[tuple[int, str, PresentPoint]] = []

    def add(self, point: PresentPoint) -> None:
        """Adds a point of the population."""
        number = blake2b(point.id.encode(), digest_size=8, key=self._key).digest()
        entry = (-int.from_bytes(number, "big"), point.id, point)
        if len(self._heap) < self._size:
            heappush(self._heap, entry)
        elif self._size:
            heappushpop(self._heap, entry)

    @property
    def points(self) -> list[PresentPoint]:
        """The sample, by dataset and path."""
        return sorted((point for *_, point in self._heap), key=lambda point: point.payload.sort_key)


def _report(tally: _Tally, counts: Counts, findings: Findings, *, started: float) -> Verification:
    wrong = len(findings.wrong_ids)
    elsewhere = wrong - tally.sampled_wrong
    population = tally.population - tally.unread
    unseen = (
        tally.sampled_wrong if tally.is_all else bound_wrong(tally.sampled_wrong, tally.sampled, population)
    )
    present = max(tally.points - counts.away, wrong)
    return Verification(
        collection=tally.name,
        points=tally.points,
        checked=counts.checked,
        away=counts.away,
        reread=tally.reread,
        is_all=tally.is_all,
        sampled=tally.sampled,
        sampled_wrong=tally.sampled_wrong,
        unreadable=counts.unreadable,
        rounded=tally.rounded,
        touched=counts.touched,
        wrong=wrong,
        at_most_wrong=min(present, elsewhere + unseen),
        largest_deviation=tally.largest,
        recorded_provider=tally.provider,
        provider=tally.provider_now,
        list_compared=tally.list_compared,
        recall=tally.recall,
        counts=findings.counts,
        findings=findings.listed,
        took_s=time.perf_counter() - started,
    )
