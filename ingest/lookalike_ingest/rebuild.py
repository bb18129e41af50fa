"""Rebuilds a collection from its own datasets, as this version makes them.

The new collection is staged beside the old one, and replaces it only when it is complete. If it was
interrupted, the same call continues.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookalike_core import progress
from lookalike_core.errors import CollectionMissingError, LookalikeError, ManifestError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped
from lookalike_core.settings import Settings
from lookalike_core.sources.file_systems import source_errors
from lookalike_core.sources.source_path import parse_root
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import (
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)
from lookalike_core.stores.collection_names import STAGED_SUFFIX, public_name, staged_name
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store, open_together, require_writable
from lookalike_core.text import format_count
from lookalike_exporter.heads.head_file import Head, name_of_head, read_head
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.absence import is_missing
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.labels import Label
from lookalike_ingest.layout_check import has_layout, require_new_layout
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.takeover import is_former, take_over
from lookalike_ingest.target import new_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """Options as of an ingest; `force` replaces the old collection even if some of its images are not read.

    Without `quantize` the vector quantization is kept, and without `layout` the shards and replicas.
    """

    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    force: bool = False
    quantize: VectorQuantization | None = None
    layout: ClusterLayout | None = None


@dataclass(slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did: `points` are in the new collection.

    `gone_files` are images of the old collection that do not exist any more, `left_out` those that could not
    be read; `skipped` says why. If there are any, the old collection is not `replaced`, unless forced.
    `embedded` counts images, and `taken_over` those whose vectors were copied, since they decode as before,
    both without those of interrupted calls. The new collection has no calibration: `calibration_dropped` if
    the old one had.
    """

    name: str
    store: str
    points: int = 0
    gone_files: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    needed: Counter[str] = field(default_factory=Counter)
    embedded: int = 0
    taken_over: int = 0
    interrupted: bool = False
    replaced: bool = False
    calibration_dropped: bool = False
    took_s: float = 0.0

    @property
    def gone(self) -> int:
        """How many images of the old collection no longer exist."""
        return len(self.gone_files)

    def check(self) -> None:
        """Raises if the old collection was not replaced.

        Raises:
            LookalikeError: some of its images are missing or cannot be read, and `force` was not given.
        """
        if self.replaced:
            return
        away, unread = self.gone_files, self.left_out
        verb = "does" if len(away) == 1 else "do"
        gone = f"{format_count(len(away), 'image')} of {self.name} {verb} not exist"
        reasons = [f"{gone}, for example {away[0]}"] if away else []
        reasons += [f"{len(unread)} cannot be read, for example {unread[0]}"] if unread else []
        steps = ["mount the disk that they are on"] if away else []
        steps += ["repair what cannot be read"] if unread else []
        raise LookalikeError(
            f"{'; '.join(reasons)}; the old collection is kept, with the points of all its images. "
            f"{' and '.join(steps).capitalize()}",
            hint=Hint(Action.REPEAT_OR_FORCE),
        )


def rebuild(
    name: str, options: RebuildOptions, *, store: Store, settings: Settings, stop: StopRequest
) -> RebuildReport:
    """Builds a collection again from the same images, which keep their classes; adds no other images.

    All images are embedded again; but if the collection has the former preprocessing, vectors of images that
    decode as before are copied.

    Raises:
        CollectionMissingError: there is no such collection.
        ManifestError: it is not ours, was renamed or is an alias, or its weights have changed.
        StoreLockedError: another process is rebuilding it.
        StoreError: the store is read-only.
        UsageError: the folder of one of its datasets does not exist, or the store cannot make the layout.
        LookalikeError: whatever an ingest raises.
    """
    _require_own_name(name, store)
    require_writable(store, name)
    require_new_layout(options.layout, store)
    started = time.monotonic()
    report = RebuildReport(name=name, store=store.label)
    with store.rebuilding(name):
        _Rebuild(name, options, store, settings, stop, report).run()
    report.took_s = time.monotonic() - started
    return report


def _require_own_name(name: str, store: Store) -> None:
    """Refuses aliases and staged collections: a rebuild replaces the collection of its name."""
    if (behind := store.resolve(name)) != name:
        raise ManifestError(
            f"{name} is an alias of {behind}, which is the one to rebuild",
            collection=name,
            hint=Hint(Action.REBUILD, {Argument.COLLECTION: behind}),
        )
    refuse_staged(name, store)


def refuse_staged(name: str, store: Store) -> None:
    """Refuses a collection that is being rebuilt and has not replaced the one in use.

    Raises:
        ManifestError: the collection of this name is one.
    """
    if name.endswith(STAGED_SUFFIX) and name in store:
        whole = public_name(name)
        raise ManifestError(
            f"{name} is the unfinished rebuild of {whole}",
            collection=name,
            hint=Hint(Action.CONTINUE_REBUILD, {Argument.COLLECTION: whole}),
        )


_ROUNDS = 3
"""Passes over all datasets; each adds what was added to the old collection during the previous one."""


class _Rebuild:
    """The rebuild of one collection."""

    def __init__(
        self,
        name: str,
        options: RebuildOptions,
        store: Store,
        settings: Settings,
        stop: StopRequest,
        report: RebuildReport,
    ) -> None:
        self._name, self._options, self._store = name, options, store
        self._settings, self._stop, self._report = settings, stop, report
        self._embedders = Embedders(settings)

    def run(self) -> None:
        """Stages the new collection, and replaces the old one once it is complete."""
        old = self._read_old()
        _require_folders(self._name, old.datasets)
        spec = self._get_spec(old)
        self._stage(old, get_model(spec, settings=self._settings))
        for _ in range(_ROUNDS):
            self._report.skipped, self._report.needed = [], Counter()
            manifest = self._read_old()
            datasets = manifest.datasets
            for dataset, root in sorted(datasets.items()):
                if not self._fill(dataset, root, manifest.rules_of(dataset), spec, old.distance):
                    return
            left = sorted(self._find_left())
            gone = {file for file in left if is_missing(file)}
            self._report.gone_files = [file for file in left if file in gone]
            self._report.left_out = [file for file in left if file not in gone]
            if not self._report.left_out and self._read_old().datasets == datasets:
                break
        if (self._report.left_out or self._report.gone_files) and not self._options.force:
            return
        self._stop.check()
        with self._store.open(staged_name(self._name)) as staged:
            self._report.points = staged.count()
        self._store.replace(self._name)
        self._report.replaced = True
        self._report.calibration_dropped = old.calibration is not None

    def _get_spec(self, old: CollectionManifest) -> ModelSpec | Head:
        """Returns the model of the new collection; if a head was fitted again, the new head."""
        if old.identity.head is None:
            return ModelSpec.from_manifest(old)
        return read_head(name_of_head(old.identity), self._settings)

    def _read_old(self) -> CollectionManifest:
        """Returns the manifest of the old collection, or of the new one if replacing was interrupted."""
        try:
            return self._store.manifest(self._name)
        except (CollectionMissingError, ManifestError):
            if staged_name(self._name) in self._store:
                return self._store.manifest(staged_name(self._name))
            raise

    def _stage(self, old: CollectionManifest, model: ModelFile) -> None:
        """Creates the staged collection, unless that of an earlier call can be continued."""
        if old.collection != self._name:
            raise ManifestError(
                f"{self._name} is named {old.collection} in its manifest; it was renamed or copied, and is "
                "not rebuilt; rebuild the collection that it was copied from, and copy that one again"
            )
        identity, official = model.manifest.identity, model.manifest.weights.official
        if collection_name(identity, old.distance, official=official) != self._name:
            raise ManifestError(
                f"the weights that {self._name} was made with have changed",
                collection=self._name,
                hint=Hint(Action.INGEST),
            )
        staged = staged_name(self._name)
        new = new_manifest(
            model,
            old.distance,
            provider="",
            datasets=old.datasets,
            vector_quantization=self._options.quantize or old.vector_quantization,
        )
        layout = self._options.layout
        if staged in self._store and not (
            _fits(self._store.manifest(staged), new) and has_layout(layout, staged, self._store)
        ):
            self._store.delete(staged)
        if staged not in self._store:
            provider = self._embedders.of(model).provider
            self._store.create(replace(new, provider=provider), name=staged, layout=layout)

    def _fill(
        self, dataset: str, root: str, rules: FolderRules, spec: ModelSpec | Head, distance: Distance
    ) -> bool:
        """Ingests a dataset into the staged collection; returns False if that was interrupted.

        Looks up exactly the files of the old collection, even if the rules exclude them now: the next ingest
        removes those.
        """
        source = self._name if self._name in self._store else staged_name(self._name)
        with self._store.open(source) as collection:
            payloads = collection.scan(PointFilter(dataset=dataset))
            labels = {
                payload.path: Label(class_name=payload.class_name, synset=payload.synset)
                for payload in payloads
            }
        if source == self._name:
            self._take_over(dataset, parse_root(root))
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=parse_root(root)),
            specs=[spec],
            distances=[distance],
            label_of=lambda found: labels[found.path],
            paths=sorted(labels),
            rules=RuleChoice.of(rules),
            batch_size=self._options.batch_size,
            max_pixels=self._options.max_pixels,
            prune=True,
            into=staged_name(self._name),
        )
        made = run_ingest(
            request,
            store=self._store,
            settings=self._settings,
            stop=self._stop,
            embedders=self._embedders,
        )
        self._report.embedded += made.embedded
        self._report.skipped += made.skipped
        self._report.needed += made.needed
        self._report.interrupted = made.interrupted
        return not made.interrupted

    def _take_over(self, dataset: str, root: Path) -> None:
        """Copies vectors before the rest is embedded; after Ctrl-C the next call continues."""
        staged = staged_name(self._name)
        if not is_former(self._store.manifest(self._name), self._store.manifest(staged)):
            return
        with ExitStack() as stack, progress.bar(dataset, unit="images", total=None) as bar:
            one, other = open_together(
                (self._name, staged), lambda name: stack.enter_context(self._store.open(name))
            )
            for count in take_over(dataset, root, old=one, staged=other, max_pixels=self._options.max_pixels):
                self._stop.check()
                self._report.taken_over += count
                bar.advance(count)

    def _find_left(self) -> list[Path]:
        """Returns files of points that the staged collection lacks; removes from it what the old one lost."""
        if self._name not in self._store:
            return []
        names, left = (self._name, staged_name(self._name)), []
        with ExitStack() as stack:
            old, staged = open_together(names, lambda name: stack.enter_context(self._store.open(name)))
            there = {payload.id for payload in staged.scan()}
            roots = old.manifest.datasets
            for payload in old.scan():
                if payload.id in there:
                    there.remove(payload.id)
                else:
                    left.append(parse_root(roots.get(payload.dataset, "")) / payload.path)
            staged.delete(sorted(there))  # what the old one has lost since an earlier call
        return left


def _fits(staged: CollectionManifest, new: CollectionManifest) -> bool:
    """Returns whether a staged collection can be continued: same vector space, no other datasets."""
    fields = ("identity", "distance", "schema", "vector_quantization")
    is_same = all(getattr(staged, field) == getattr(new, field) for field in fields)
    return is_same and staged.datasets.items() <= new.datasets.items()


def _require_folders(name: str, datasets: Mapping[str, str]) -> None:
    for dataset, root in datasets.items():
        place = parse_root(root)
        with source_errors(place):
            is_there = place.is_dir()
        if not is_there:
            raise UsageError(
                f"dataset {dataset} of {name} has the root {root}, which does not exist",
                path=root,
                hint=Hint(Action.MOVE_OR_REMOVE_DATASET, {Argument.DATASET: dataset}),
            )
