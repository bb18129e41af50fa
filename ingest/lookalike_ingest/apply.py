"""Carrying a plan out: files are embedded and written in batches, and known to be there once they are.

A dry run goes the same way and only counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import SkipReason
from lookalike_core.images.scan import FoundFile, Skipped
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.models.providers import CUDA
from lookalike_core.prefetch import map_ahead
from lookalike_core.progress import Bar
from lookalike_core.stores.points import usable_rows
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.base_vectors import StoredVectors
from lookalike_ingest.changes import Decision
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.plan import IngestPlan, PlannedFile, Removal
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import StopRequest
from lookalike_ingest.target import Target, WrittenTarget

BATCH_SIZES = {CUDA: 128}
"""Images a run where it is not `BATCH_SIZE`; of many small batches a GPU waits for each."""

MAX_IN_HAND = 512
"""Files whose vectors are known already are written in batches of this many."""

T = TypeVar("T", bound=Target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Planned files that went through the network, without their pixels.

    `vectors` are those that could be used, by the path of the model and the SHA-256 of the file.
    """

    files: Sequence[PlannedFile]
    vectors: Mapping[Path, Mapping[str, FloatVector]]


class Applier(Protocol):
    """Who carries a plan out; `batch_size` is how many images go through the network at once."""

    batch_size: int

    @property
    def targets(self) -> Sequence[Target]:
        """The collections, in the order of each file's decisions."""

    def prepare(self) -> None:
        """Gets ready to embed; called when the first image is at hand that has to be."""

    def embed(self, files: Sequence[PlannedFile]) -> Batch:
        """Has the network look at the images, in a thread of its own."""

    def write(self, batch: Batch) -> None:
        """Writes what was planned of a batch, and settles it."""

    def remove(self, removals: Sequence[Removal]) -> None:
        """Removes points, for each target its own."""

    def finish(self) -> None:
        """Ends it, when nothing more is written."""


def carry_out(
    plan: IngestPlan,
    applier: Applier,
    entries: Iterator[FoundFile | Skipped],
    *,
    bar: Bar,
    report: IngestReport,
    stop: StopRequest,
) -> None:
    """Carries out what is planned for each file; ends after the batch in hand when asked to stop.

    Deciding and writing stay in this thread, where Ctrl-C reaches a wait for a server; reading and the
    network go on in threads of their own.
    """
    with ExitStack() as stack:
        files = stack.enter_context(closing(plan.files(entries, bar, ahead=lambda: 2 * applier.batch_size)))
        batches = map_ahead(applier.embed, _in_batches(files, applier), ahead=2, workers=1)
        for batch in stack.enter_context(closing(batches)):
            if stop.requested:
                return
            applier.write(batch)
            bar.advance(len(batch.files), skipped=len(report.skipped))


def _in_batches(files: Iterator[PlannedFile], applier: Applier) -> Iterator[list[PlannedFile]]:
    """The last batch may be small."""
    in_hand: list[PlannedFile] = []
    to_embed = 0
    for file in files:
        in_hand.append(file)
        to_embed += file.embeds
        if file.embeds and file.image is not None:
            applier.prepare()
        if to_embed >= applier.batch_size or len(in_hand) >= MAX_IN_HAND:
            yield in_hand
            in_hand, to_embed = [], 0
    if in_hand:
        yield in_hand


class DryRun:
    """Counts what would be done; implements `Applier`."""

    def __init__(self, targets: Sequence[Target], *, batch_size: int | None) -> None:
        self.targets = targets
        self.batch_size = batch_size or BATCH_SIZE

    def prepare(self) -> None:
        """Does nothing."""

    def embed(self, files: Sequence[PlannedFile]) -> Batch:
        """Embeds nothing."""
        return Batch(files=[replace(file, image=None) for file in files], vectors={})

    def write(self, batch: Batch) -> None:
        """Counts it as done."""
        for target, decisions in _by_target(self.targets, batch.files):
            target.settle(decisions, decisions)

    def remove(self, removals: Sequence[Removal]) -> None:
        """Counts them as removed."""
        for target, removal in zip(self.targets, removals, strict=True):
            _report_removal(target, removal)

    def finish(self) -> None:
        """Does nothing."""


class Application:
    """Embeds and writes; implements `Applier`."""

    def __init__(
        self,
        targets: Sequence[WrittenTarget],
        stored: StoredVectors,
        embedders: Embedders,
        report: IngestReport,
        stop: StopRequest,
        *,
        batch_size: int | None,
    ) -> None:
        self.targets, self._stored, self._embedders = targets, stored, embedders
        self._report, self._stop = report, stop
        self._is_prepared = batch_size is not None
        self.batch_size = batch_size or BATCH_SIZE
        self._failed: defaultdict[str, set[str]] = defaultdict(set)
        """By target the bytes that the network saw nothing in."""

    def prepare(self) -> None:
        """Opens the sessions; unless it is given, the batch is what fills the slowest of their providers."""
        if not self._is_prepared:
            self._is_prepared = True
            providers = {self._embedders.of(target.model).provider for target in self.targets}
            self.batch_size = min(BATCH_SIZES.get(provider, BATCH_SIZE) for provider in providers)

    def embed(self, files: Sequence[PlannedFile]) -> Batch:
        """Runs one model after the other, none once it was asked to stop."""
        models = {} if self._stop.requested else {t.model.path: t.model for t in self.targets}
        vectors = {path: self._embed(model, files) for path, model in models.items()}
        return Batch(files=[replace(file, image=None) for file in files], vectors=vectors)

    def _embed(self, model: ModelFile, files: Sequence[PlannedFile]) -> dict[str, FloatVector]:
        """Returns by SHA-256 the vectors of the images that some target of the model wants embedded."""
        places = [place for place, target in enumerate(self.targets) if target.model is model]
        wanted = [file for file in files if any(file.decisions[place].embeds for place in places)]
        headed = self._stored.vectors(file.sha256 for file in wanted)
        images = {
            file.sha256: file.image.pixels
            for file in wanted
            if file.image is not None and file.sha256 not in headed
        }
        if not images:
            return dict(headed)
        embedder = self._embedders.of(model)
        for place in places:
            self.targets[place].report.provider = embedder.provider
        vectors = embedder.embed(np.stack(list(images.values())))
        good = usable_rows(vectors)
        return {**headed, **{sha: row for sha, row, ok in zip(images, vectors, good, strict=True) if ok}}

    def write(self, batch: Batch) -> None:
        """Writes to each target what there is a vector for."""
        for target, planned in _by_target(self.targets, batch.files):
            vectors = batch.vectors[target.model.path]
            failed = self._failed[target.name]
            failed |= {file.sha256 for file, d in zip(batch.files, planned, strict=True) if d.embeds}
            failed.difference_update(vectors)
            done = []
            for file, decision in zip(batch.files, planned, strict=True):
                if decision.writes_vector and file.sha256 in failed:
                    self._skip(file)
                else:
                    done.append(decision)
            target.write(done, vectors)
            target.settle(planned, done)
        from_stored = [self._stored.has_bytes(file.sha256) for file in batch.files if file.embeds]
        self._report.from_stored += sum(from_stored)
        self._report.embedded += len(from_stored) - sum(from_stored)

    def _skip(self, file: PlannedFile) -> None:
        """Another collection may have said so."""
        skipped = Skipped(path=file.path, reason=SkipReason.NO_EMBEDDING)
        if skipped not in self._report.skipped:
            self._report.skipped.append(skipped)

    def remove(self, removals: Sequence[Removal]) -> None:
        """Removes them from the collections."""
        for target, removal in zip(self.targets, removals, strict=True):
            target.remove(removal.gone)
            _report_removal(target, removal)

    def finish(self) -> None:
        """Builds indexes and leaves the payload caches to the next ingest, unless it was asked to stop."""
        for target in self.targets:
            target.note_calibration()
        if self._stop.requested:
            return
        for target in self.targets:
            if target.needs_index():
                _build_index(target, self._stop)
        for target in self.targets:
            target.keep_listing()


def _by_target(targets: Sequence[T], files: Sequence[PlannedFile]) -> Iterator[tuple[T, list[Decision]]]:
    """Returns with each target what it shall do about the files."""
    for place, target in enumerate(targets):
        yield target, [file.decisions[place] for file in files]


def _report_removal(target: Target, removal: Removal) -> None:
    report = target.report
    report.removed, report.away = sorted(payload.path for payload in removal.gone), list(removal.away)
    report.counts["removed"] = len(removal.gone)
    if removal.excluded:
        report.counts["excluded"] = removal.excluded


def _build_index(target: WrittenTarget, stop: StopRequest) -> None:
    with progress.bar(f"index of {target.name}", unit="seconds", total=None) as bar:

        def wait() -> None:
            bar.advance(0)  # for the time alone
            stop.check()

        target.build_index(wait)
