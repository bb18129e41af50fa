"""Applies a plan: embeds the images and writes the points, in batches.

A dry run takes the same steps; its targets count and write nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.scan import FoundFile, Skipped, look_up
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.prefetch import map_ahead
from lookalike_core.progress import Bar
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.changes import Decision
from lookalike_ingest.embedders import Embedders, default_batch_size
from lookalike_ingest.engines.engine import WRITTEN_AT_ONCE, FileToEmbed
from lookalike_ingest.image_reader import EmbeddedImage, read_image
from lookalike_ingest.plan import IngestJob, IngestPlanner
from lookalike_ingest.planned_file import PlannedFile
from lookalike_ingest.target import Target

MAX_IN_HAND = 512
"""Batch size of files that need no embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Planned files without their pixels; `vectors` are the usable ones, by model path and SHA-256.

    A dry run has no vectors.
    """

    files: Sequence[PlannedFile]
    vectors: Mapping[Path, Mapping[str, FloatVector]]


class Applier:
    """Applies a plan to the targets of a job; without `embedders` (a dry run) nothing is embedded."""

    def __init__(self, job: IngestJob, embedders: Embedders | None) -> None:
        self._targets, self._base_vectors, self._embedders = job.targets, job.base_vectors, embedders
        self._request, self._report, self._stop = job.request, job.report, job.stop
        self._engine = job.engine
        self._batch_size = job.request.batch_size or BATCH_SIZE
        if self._engine is not None:
            self._batch_size = WRITTEN_AT_ONCE  # what was embedded in other batches is only written in these
        self._is_batch_chosen = job.request.batch_size is not None or self._engine is not None
        self._failed: defaultdict[str, set[str]] = defaultdict(set)
        """By target: the SHA-256 of images without a usable vector."""

    def apply(self, planner: IngestPlanner, entries: Iterator[FoundFile | Skipped], bar: Bar) -> None:
        """Applies the decisions about each file; ends after the current batch if a stop was requested.

        Decisions and writes stay in the caller's thread, where Ctrl-C can interrupt a wait for a server;
        reading and embedding have threads of their own, or an engine.
        """
        self._apply_batches(planner, entries, bar)
        for target in self._targets:
            target.complete_writes()

    def _apply_batches(
        self, planner: IngestPlanner, entries: Iterator[FoundFile | Skipped], bar: Bar
    ) -> None:
        with ExitStack() as stack:
            files = stack.enter_context(
                closing(planner.plan_files(entries, bar, ahead=lambda: 2 * self._batch_size))
            )
            batches = map_ahead(self._embed, self._in_batches(files), ahead=2, workers=1)
            for batch in stack.enter_context(closing(batches)):
                if self._stop.requested and not batch.vectors:
                    return
                self._write(batch)
                bar.advance(len(batch.files), skipped=len(self._report.skipped))
                if self._stop.requested:
                    return

    def _in_batches(self, files: Iterator[PlannedFile]) -> Iterator[list[PlannedFile]]:
        """Yields batches; the last one may be smaller."""
        in_hand: list[PlannedFile] = []
        to_embed = 0
        for file in files:
            in_hand.append(file)
            to_embed += file.embeds
            if file.embeds and isinstance(file.image, DecodedImage):
                self._choose_batch_size()
            if to_embed >= self._batch_size or len(in_hand) >= MAX_IN_HAND:
                yield in_hand
                in_hand, to_embed = [], 0
        if in_hand:
            yield in_hand

    def _choose_batch_size(self) -> None:
        """Sets the smallest batch size of the models' providers, unless a size is given."""
        if not self._is_batch_chosen and self._embedders is not None:
            self._is_batch_chosen = True
            providers = {self._embedders.of(target.model).provider for target in self._targets}
            self._batch_size = min(map(default_batch_size, providers))

    def _embed(self, files: Sequence[PlannedFile]) -> _Batch:
        """Embeds a batch with each model in turn; skips this if a stop was requested. Runs in a thread."""
        vectors: dict[Path, dict[str, FloatVector]] = {}
        if self._embedders is not None and not self._stop.requested:
            for model in {target.model.path: target.model for target in self._targets}.values():
                vectors[model.path] = self._embed_with(self._embedders, model, files)
        return _Batch(files=[replace(file, image=None) for file in files], vectors=vectors)

    def _embed_with(
        self, embedders: Embedders, model: ModelFile, files: Sequence[PlannedFile]
    ) -> dict[str, FloatVector]:
        """Returns usable vectors by SHA-256, of the images that a target of the model needs."""
        places = [place for place, target in enumerate(self._targets) if target.model is model]
        wanted = [file for file in files if any(file.decisions[place].embeds for place in places)]
        headed = self._base_vectors.get_vectors(file.sha256 for file in wanted)
        left = {file.sha256: file.image for file in wanted if file.sha256 not in headed}
        images = {sha256: image.pixels for sha256, image in left.items() if isinstance(image, DecodedImage)}
        rows: dict[str, FloatVector] = {}
        provider = None
        if images:
            embedder = embedders.of(model)
            rows = dict(zip(images, embedder.embed(np.stack(list(images.values()))), strict=True))
            provider = embedder.provider
        for sha256, image in left.items():
            if isinstance(image, EmbeddedImage) and model.path in image.vectors:
                rows[sha256], provider = image.vectors[model.path], image.providers[model.path]
        if provider is not None:
            for place in places:
                self._targets[place].report.provider = provider
        return {**headed, **_select_usable(rows)}

    def _write(self, batch: _Batch) -> None:
        """Writes a batch to each target, by name: all ingests lock collections in this order."""
        for place, target in sorted(enumerate(self._targets), key=lambda placed: placed[1].name):
            planned = [file.decisions[place] for file in batch.files]
            vectors = batch.vectors.get(target.model.path)
            done = (
                planned if vectors is None else self._leave_out_failed(target, batch.files, planned, vectors)
            )
            target.carry_out(planned, done, vectors or {}, partial(self._embed_again, target))
        if batch.vectors:
            from_stored = [self._base_vectors.has_bytes(file.sha256) for file in batch.files if file.embeds]
            self._report.from_stored += sum(from_stored)
            self._report.embedded += len(from_stored) - sum(from_stored)

    def _embed_again(self, target: Target, payloads: Sequence[Payload]) -> Mapping[str, FloatVector]:
        """Returns the vectors of files, by SHA-256, whose stored vectors are gone; without changed files."""
        entries = look_up(self._request.dataset.root, [payload.path for payload in payloads])
        found = [entry for entry in entries if isinstance(entry, FoundFile)]
        rows = self._embed_files(target.model, found)
        self._report.embedded += len(rows)
        return _select_usable(rows)

    def _embed_files(self, model: ModelFile, found: Sequence[FoundFile]) -> dict[str, FloatVector]:
        """Returns the vectors of files by SHA-256, without those that cannot be read."""
        if self._engine is not None:
            wanted = [FileToEmbed(found=each, models=[model.path]) for each in found]
            done = self._engine.embed_files(wanted) if wanted else iter(())
            return {
                file.sha256: file.image.vectors[model.path]
                for file in done
                if isinstance(file.image, EmbeddedImage)
            }
        read = [read_image(each, lambda _: False, max_pixels=self._request.max_pixels) for each in found]
        images = {file.sha256: file.image.pixels for file in read if isinstance(file.image, DecodedImage)}
        if not images or self._embedders is None:
            return {}
        vectors = self._embedders.of(model).embed(np.stack(list(images.values())))
        return dict(zip(images, vectors, strict=True))

    def _leave_out_failed(
        self,
        target: Target,
        files: Sequence[PlannedFile],
        planned: Sequence[Decision],
        vectors: Mapping[str, FloatVector],
    ) -> list[Decision]:
        """Drops decisions about images without a usable vector, which are skipped, and about their copies."""
        failed, usable = self._failed[target.name], []
        failed |= {file.sha256 for file, decision in zip(files, planned, strict=True) if decision.embeds}
        failed.difference_update(vectors)
        for file, decision in zip(files, planned, strict=True):
            if not decision.writes_vector or file.sha256 not in failed:
                usable.append(decision)
                continue
            skipped = Skipped(path=file.path, reason=SkipReason.NO_EMBEDDING)
            if skipped not in self._report.skipped:  # another collection may have said so
                self._report.skipped.append(skipped)
        return usable


def _select_usable(rows: Mapping[str, FloatVector]) -> dict[str, FloatVector]:
    """Returns the vectors that can be compared."""
    if not rows:
        return {}
    good = usable_rows(np.stack(list(rows.values())))
    return {sha256: row for (sha256, row), ok in zip(rows.items(), good, strict=True) if ok}
