"""Plans an ingest: decides what each file of a folder is to each collection.

The plan is made file by file, a little ahead of its application, so that memory does not grow with the
folder. It reads files and known payloads, and writes nothing.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from lookalike_core.batched import batched
from lookalike_core.errors import SkipReason
from lookalike_core.images.exclusion import Exclusion
from lookalike_core.images.scan import FoundFile, Skipped
from lookalike_core.progress import Bar
from lookalike_core.stores.points import Payload

from lookalike_ingest.absence import Absence, Absences, is_missing, measure_absence
from lookalike_ingest.base_vectors import BaseVectors
from lookalike_ingest.changes import LOOKED_UP_AT_ONCE, Change, Removal
from lookalike_ingest.engines.engine import Engine
from lookalike_ingest.engines.windows import WindowReader
from lookalike_ingest.image_folder import no_images_error
from lookalike_ingest.image_reader import ReadFile, count_readers
from lookalike_ingest.labels import Label
from lookalike_ingest.planned_file import Candidate, PlannedFile
from lookalike_ingest.reading import Reader, ThreadReader
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import IngestRequest, StopRequest
from lookalike_ingest.split_classes import SplitClasses
from lookalike_ingest.target import Target, now


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestJob:
    """A folder to ingest, the open target collections, and the report so far.

    `base_vectors` are those of a head's base network. Without an `engine`, this process embeds. Every file
    has one decision for each target, in the order of the targets.
    """

    request: IngestRequest
    targets: Sequence[Target]
    base_vectors: BaseVectors
    report: IngestReport
    stop: StopRequest
    engine: Engine | None = None


class IngestPlanner:
    """Decides about the files of one folder, and then about points without a file.

    Unchanged and skipped files are only counted in the report.
    """

    def __init__(self, job: IngestJob) -> None:
        self._request, self._targets, self._base_vectors = job.request, job.targets, job.base_vectors
        self._report, self._stop = job.report, job.stop
        self._reader = _choose_reader(job)
        self._splits = SplitClasses(job.request.dataset.rules.class_level)
        self._seen = 0
        self._unused_labels = set(job.request.labels)
        self._absences = Absences(job.request.dataset.root)
        self._perhaps_moved: set[str] = set()
        """Paths of files that may have been moved, or may be on a disk that is not mounted."""

    def plan_files(
        self, entries: Iterator[FoundFile | Skipped], bar: Bar, *, ahead: Callable[[], int]
    ) -> Generator[PlannedFile, None, None]:
        """Yields the files to embed or write, in the order of `entries`; ends early if a stop is requested.

        Decisions are made in the caller's thread; files are read and decoded in other threads, at most
        `ahead` files in advance, or by the engine.
        """
        with closing(self._reader.read(self._plan_by_stat(entries, bar), ahead=ahead)) as files:
            for file in files:
                planned = file if isinstance(file, PlannedFile) else self._plan_by_bytes(*file, bar)
                if planned is not None:
                    yield planned
                if self._stop.requested:
                    return

    def _plan_by_stat(
        self, entries: Iterator[FoundFile | Skipped], bar: Bar
    ) -> Iterator[Candidate | PlannedFile]:
        """Yields files that must be read, and planned ones that need no reading; counts all others."""
        takes = self._request.takes
        for some in batched(entries, LOOKED_UP_AT_ONCE):
            found = [entry for entry in some if isinstance(entry, FoundFile)]
            candidates = self._look_up([file for file in found if takes is None or takes(file)])
            settled = 0
            for entry in some:
                if self._stop.requested:
                    return
                if isinstance(entry, Skipped):
                    self._pass_over(entry, bar)
                elif (candidate := candidates.get(entry.path)) is None:
                    self._report.not_taken += 1
                    self._see(entry.path)
                    settled += 1
                elif (planned := self._settle(candidate)) is not None:
                    yield planned
                else:
                    settled += 1
            bar.advance(settled)

    def _look_up(self, files: Sequence[FoundFile]) -> dict[str, Candidate]:
        """Returns a few hundred files by path, with each target's decision by size and times."""
        labels = [self._request.label(file) for file in files]
        self._splits.see(files, labels)
        labelled = list(zip(files, labels, strict=True))
        decided = list(zip(*(target.known.decide_by_stat(labelled) for target in self._targets), strict=True))
        self._base_vectors.prefetch_paths(
            [file.path for file, decisions in zip(files, decided, strict=True) if None in decisions]
        )
        return {
            found.path: Candidate(found=found, label=label, decisions=decisions)
            for (found, label), decisions in zip(labelled, decided, strict=True)
        }

    def _settle(self, candidate: Candidate) -> Candidate | PlannedFile | None:
        """Counts a file; returns None if there is nothing to do."""
        self._report.found += 1
        self._note_seen(candidate.found.path)
        decisions = [decision for decision in candidate.decisions if decision is not None]
        if len(decisions) < len(self._targets):
            return candidate
        if any(decision.payload is not None for decision in decisions):
            return self._expect(PlannedFile(path=candidate.found.path, decisions=decisions))
        for target in self._targets:
            target.report.counts[Change.UNCHANGED] += 1
        return None

    def _expect(self, file: PlannedFile) -> PlannedFile:
        """Tells the targets what to expect, and returns the planned file."""
        for target, decision in zip(self._targets, file.decisions, strict=True):
            target.known.expect(decision)
        return file

    def _plan_by_bytes(self, candidate: Candidate, file: ReadFile, bar: Bar) -> PlannedFile | None:
        """Decides for the targets that need the file's SHA-256; returns None if the file is skipped."""
        file = self._reader.complete(candidate, file)
        if file.problem is not None:
            if file.needed is not None:
                self._report.needed[file.needed] += 1
            self._skip(file.found.path, file.problem, bar)
            return None
        payload = self._make_payload(file, candidate.label)
        decisions = [
            decision or target.known.decide_by_bytes(payload, is_gone=self._is_gone)
            for target, decision in zip(self._targets, candidate.decisions, strict=True)
        ]
        return self._expect(
            PlannedFile(path=payload.path, decisions=decisions, sha256=file.sha256, image=file.image)
        )

    def _make_payload(self, file: ReadFile, label: Label) -> Payload:
        width, height = (
            (file.image.width, file.image.height) if file.image else self._base_vectors.get_size(file.sha256)
        )
        return Payload(
            dataset=self._request.dataset.name,
            path=file.found.path,
            class_name=label.class_name,
            synset=label.synset,
            sha256=file.sha256,
            width=width,
            height=height,
            bytes=file.found.bytes,
            mtime_ns=file.found.mtime_ns,
            ctime_ns=file.found.ctime_ns,
            taken_at=file.taken_at,
            ingested_at=now(),
        )

    def plan_removals(self) -> list[Removal]:
        """Returns the points to remove from each target, once all files were seen and written.

        Without pruning these are only points of files that were moved or are now excluded.

        Raises:
            UsageError: no image was found and the dataset must not become empty.
        """
        is_walk = self._request.paths is None
        if is_walk and self._request.prunes and not self._request.force and not self._has_seen_any:
            is_stored = any(target.holds_dataset for target in self._targets)
            dataset = self._request.dataset
            raise no_images_error(
                dataset.root, self._report.others, dataset=dataset.name if is_stored else None
            )
        exclusion = self._request.walked_by.exclusion
        if not self._has_seen_any and not self._request.force:
            exclusion = Exclusion(defaults=False)  # folders that cannot be looked into are all there is
        unread_folders = [skipped.path for skipped in self._report.skipped if skipped.is_folder]
        return [self._plan_removal(target, unread_folders, exclusion) for target in self._targets]

    def _plan_removal(self, target: Target, unread_folders: Sequence[str], exclusion: Exclusion) -> Removal:
        prunes = self._request.prunes
        unseen = target.known.find_vanished(unread_folders=unread_folders, part=self._request.part)
        vanished = [payload for payload in unseen if not self._is_of_another_part(payload.path, exclusion)]
        excluded = {payload.id for payload in vanished if exclusion.covers(payload.path)}
        sure = excluded | {payload.id for payload in target.known.find_moved_among(vanished)}
        unsure = [payload for payload in vanished if payload.id not in sure]
        given_up = [payload for payload in unsure if prunes and self._is_given_up(payload.path)]
        given_up_ids = {payload.id for payload in given_up}
        left = [payload.path for payload in unsure if payload.id not in given_up_ids]
        waiting = self._find_waiting(given_up)
        stay = {payload.id for payload in unsure} - given_up_ids | {payload.id for payload in waiting}
        undated = {payload.id for payload in given_up if payload.missing_since is None}
        return Removal(
            gone=[payload for payload in vanished if payload.id not in stay],
            excluded=len(excluded),
            away=sorted(path for path in left if prunes or path in self._perhaps_moved),
            waiting=waiting,
            to_record=[payload for payload in waiting if payload.id in undated],
        )

    @property
    def _has_seen_any(self) -> bool:
        """Whether any image was found in the folder, of this part or another."""
        return bool(self._seen or self._report.others.passed_over)

    def _is_of_another_part(self, path: str, exclusion: Exclusion) -> bool:
        """Returns whether another part has the file of a point of this one, and finds it.

        A file belongs to a part by its path in NFC, a point by its path as it is.
        """
        is_there = not self._request.holds(path) and not is_missing(self._request.dataset.root / path)
        return is_there and not exclusion.covers(path)

    def _find_waiting(self, missing: Sequence[Payload]) -> list[Payload]:
        """Returns those missing for less than the time to prune after, each with the time since when."""
        after, time = self._request.prune_after, now()
        if after is None:
            return []
        dated = [replace(payload, missing_since=payload.missing_since or time) for payload in missing]
        return [payload for payload in dated if measure_absence(payload.missing_since, time) < after]

    @property
    def split_classes(self) -> Sequence[str]:
        """The classes, if all are named like parts of a split and have subfolders; else empty."""
        return self._splits.names

    @property
    def unused_labels(self) -> int:
        """Number of rows of the label table that match no file here."""
        return sum(map(self._request.holds, self._unused_labels))

    def _pass_over(self, entry: Skipped, bar: Bar) -> None:
        """Skips an entry; files in an unreadable folder do not count as vanished."""
        if entry.is_folder:
            self._report.skipped.append(entry)
            return
        self._report.found += 1
        self._see(entry.path)
        self._skip(entry.path, entry.reason, bar)

    def _see(self, path: str) -> None:
        """Marks a file as seen in the folder, without deciding about it."""
        self._note_seen(path)
        for target in self._targets:
            target.known.see(path)

    def _note_seen(self, path: str) -> None:
        self._seen += 1
        if self._unused_labels and (row := self._request.label_rows.find(path)) is not None:
            self._unused_labels.discard(row)

    def _unsee(self, path: str) -> None:
        """Marks a file as vanished since the folder was scanned."""
        self._seen -= 1
        if (row := self._request.label_rows.find(path)) is not None:
            self._unused_labels.add(row)
        for target in self._targets:
            target.known.see(path, seen=False)

    def _skip(self, path: str, reason: SkipReason, bar: Bar) -> None:
        if reason is SkipReason.VANISHED:
            self._unsee(path)
        self._report.skipped.append(Skipped(path=path, reason=reason))
        bar.advance(1, skipped=len(self._report.skipped))

    def _is_gone(self, path: str) -> bool:
        """Returns whether a path is known not to exist: False if its folder is unreadable.

        A path that may only be on an unmounted disk is recorded and not gone: its point stays, and a file
        with the same bytes is a copy.
        """
        if not is_missing(self._request.dataset.root / path):
            return False
        is_given_up = self._is_given_up(path)
        if not is_given_up:
            self._perhaps_moved.add(path)
        return is_given_up

    def _is_given_up(self, path: str) -> bool:
        """Returns whether the point of a missing file may be removed; lists each folder on its path once."""
        absence = self._absences.of(path)
        return absence is Absence.GONE or (self._request.force and absence is Absence.AWAY)


def _choose_reader(job: IngestJob) -> Reader:
    if job.engine is not None:
        return WindowReader(job.engine, job.targets, job.base_vectors)
    return ThreadReader(
        job.targets,
        job.base_vectors,
        max_pixels=job.request.max_pixels,
        workers=count_readers(job.request.dataset.root),
    )
