"""Making a collection anew from its own datasets, as this version makes them.

The new one is staged beside the old one, which stays as it is until the new one is whole and takes its
place. Interrupted, the same call goes on with what is staged.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lookalike_core import progress
from lookalike_core.errors import CollectionMissingError, LookalikeError, ManifestError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import (
    SCHEMA_VERSION,
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import STAGED_SUFFIX, Store, opened_together, staged_name
from lookalike_exporter.heads.head_file import Head, head_name, named_head
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.labels import Label
from lookalike_ingest.run import IngestRequest, StopRequest, run_ingest
from lookalike_ingest.takeover import is_former, take_over
from lookalike_ingest.target import Dataset, new_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """As for an ingest; `force` leaves out images of the old collection that are away or unreadable.

    Without `quantize` the new collection stores its vectors as the old one.
    """

    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    force: bool = False
    quantize: VectorQuantization | None = None


@dataclass(slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did: `points` are in the new collection.

    `gone_files` are those of images of the old collection that are not there, `left_out` those that are there
    and could not be taken in; `skipped` says why. Where there are any the old collection is not `replaced`,
    unless that was forced. `embedded` counts images, and `taken_over` those whose stored vectors serve, since
    they are decoded as before; those of calls that were cut off are left out. The new collection has no
    calibration; that the old
    one had one is `calibration_dropped`.
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
        """How many images of the old collection are not there."""
        return len(self.gone_files)

    def check(self) -> None:
        """Refuses a rebuild that left the old collection in its place.

        Raises:
            LookalikeError: images of it are away or cannot be taken in, and that was not forced.
        """
        if self.replaced:
            return
        away, unread = self.gone_files, self.left_out
        reasons = [f"{len(away)} images of {self.name} are not there, {away[0]} for one"] if away else []
        reasons += [f"{len(unread)} are there and cannot be taken in, {unread[0]} for one"] if unread else []
        steps = ["mount the disk that they are on"] if away else []
        steps += ["mend what cannot be read"] if unread else []
        raise LookalikeError(
            f"{'; '.join(reasons)}; the old collection stays, with the points of all its images. "
            f"{' and '.join(steps).capitalize()}",
            hint=Hint(Action.REPEAT_OR_FORCE),
        )


def rebuild(
    name: str, options: RebuildOptions, *, store: Store, settings: Settings, stop: StopRequest
) -> RebuildReport:
    """Makes a collection of the same images; each keeps the class that it has.

    All are embedded again, but for those of a collection of the former preparation that are decoded as they
    were: their vectors are taken over.

    What its folders hold besides, because it is new or was left out of a sample, stays out.

    Raises:
        CollectionMissingError: there is no such collection.
        ManifestError: it is not ours, or goes by another name, or its weights are others now.
        StoreLockedError: another process rebuilds it.
        StoreError: the store may only be read.
        UsageError: the folder of one of its datasets is not there.
        LookalikeError: whatever an ingest raises.
    """
    _require_own_name(name, store)
    store.require_writable(name)
    started = time.monotonic()
    report = RebuildReport(name=name, store=store.label)
    with store.rebuilding(name):
        _Rebuild(name, options, store, settings, stop, report).run()
    report.took_s = time.monotonic() - started
    return report


def _require_own_name(name: str, store: Store) -> None:
    """A rebuild replaces a collection, so it is told the collection's own name."""
    if (behind := store.aliased(name)) is not None:
        raise ManifestError(
            f"{name} is an alias of {behind}, which is the one to rebuild",
            collection=name,
            hint=Hint(Action.REBUILD, {Argument.COLLECTION: behind}),
        )
    if name.endswith(STAGED_SUFFIX) and name in store:
        whole = name.removesuffix(STAGED_SUFFIX)
        raise ManifestError(
            f"{name} is what a rebuild of {whole} has made so far",
            collection=name,
            hint=Hint(Action.CONTINUE_REBUILD, {Argument.COLLECTION: whole}),
        )


_ROUNDS = 3
"""Over all datasets: what comes to the old collection meanwhile is taken in by the next."""


class _Rebuild:
    """One collection on its way to be replaced."""

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

    def run(self) -> None:
        """Stages all of it, and only then replaces the old collection."""
        old = self._old()
        _require_folders(self._name, old.datasets)
        spec = self._spec(old)
        self._stage(old, get_model(spec, settings=self._settings))
        for _ in range(_ROUNDS):
            self._report.skipped, self._report.needed = [], Counter()
            manifest = self._old()
            datasets = manifest.datasets
            for dataset, root in sorted(datasets.items()):
                if not self._fill(dataset, root, manifest.rules_of(dataset), spec, old.distance):
                    return
            left = sorted(self._left())
            gone = {file for file in left if _is_gone(file)}
            self._report.gone_files = [file for file in left if file in gone]
            self._report.left_out = [file for file in left if file not in gone]
            if not self._report.left_out and self._old().datasets == datasets:
                break
        if (self._report.left_out or self._report.gone_files) and not self._options.force:
            return
        self._stop.check()
        with self._store.open(staged_name(self._name)) as staged:
            self._report.points = staged.count()
        self._store.replace(self._name)
        self._report.replaced = True
        self._report.calibration_dropped = old.calibration is not None

    def _spec(self, old: CollectionManifest) -> ModelSpec | Head:
        """What makes the new one; of a head that was fitted again, the new one."""
        if old.identity.head is None:
            return ModelSpec.of_collection(old)
        return named_head(head_name(old.identity), self._settings)

    def _old(self) -> CollectionManifest:
        """The old collection's manifest; where it was cut off while it was replaced, the new one's."""
        try:
            return self._store.manifest(self._name)
        except (CollectionMissingError, ManifestError):
            if staged_name(self._name) in self._store:
                return self._store.manifest(staged_name(self._name))
            raise

    def _stage(self, old: CollectionManifest, model: ModelFile) -> None:
        """Keeps what an earlier call staged, if it is of this space and of datasets that are still there."""
        if old.collection != self._name:
            raise ManifestError(
                f"{self._name} is not what a collection of its manifest is called ({old.collection}); it was "
                "renamed or copied, and is left alone"
            )
        identity, official = model.manifest.identity, model.manifest.weights.official
        if collection_name(identity, old.distance, official=official) != self._name:
            raise ManifestError(
                f"the weights that {self._name} was made with are others now",
                collection=self._name,
                hint=Hint(Action.INGEST),
            )
        staged = staged_name(self._name)
        if staged in self._store and not self._fits(self._store.manifest(staged), old, model):
            self._store.delete(staged)
        if staged not in self._store:
            provider = Embedder.as_set(model.path, self._settings, expected=model.manifest).provider
            manifest = new_manifest(
                model,
                old.distance,
                provider=provider,
                datasets=old.datasets,
                vector_quantization=self._quantize(old),
            )
            self._store.create(manifest, name=staged)

    def _quantize(self, old: CollectionManifest) -> VectorQuantization:
        return self._options.quantize or old.vector_quantization

    def _fits(self, staged: CollectionManifest, old: CollectionManifest, model: ModelFile) -> bool:
        same_space = (staged.identity, staged.distance, staged.schema, staged.vector_quantization) == (
            model.manifest.identity,
            old.distance,
            SCHEMA_VERSION,
            self._quantize(old),
        )
        return same_space and staged.datasets.items() <= old.datasets.items()

    def _fill(
        self, dataset: str, root: str, rules: FolderRules, spec: ModelSpec | Head, distance: Distance
    ) -> bool:
        """Ingests a dataset into the staged collection; False where that was interrupted.

        Nothing but the files of the old collection is looked at, though rules exclude them now or do not
        follow the links to them any more: that is the next ingest's affair.
        """
        source = self._name if self._name in self._store else staged_name(self._name)
        with self._store.open(source) as collection:
            payloads = collection.scan(PointFilter(dataset=dataset))
            labels = {
                payload.path: Label(class_name=payload.class_name, synset=payload.synset)
                for payload in payloads
            }
        if source == self._name:
            self._take_over(dataset, Path(root))
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=Path(root)),
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
        made = run_ingest(request, store=self._store, settings=self._settings, stop=self._stop)
        self._report.embedded += made.embedded
        self._report.skipped += made.skipped
        self._report.needed += made.needed
        self._report.interrupted = made.interrupted
        return not made.interrupted

    def _take_over(self, dataset: str, root: Path) -> None:
        """Before the rest is embedded; Ctrl-C ends it at once, and the next call goes on from there."""
        staged = staged_name(self._name)
        if not is_former(self._store.manifest(self._name), self._store.manifest(staged)):
            return
        with ExitStack() as stack, progress.bar(dataset, unit="images", total=None) as bar:
            one, other = opened_together(
                (self._name, staged), lambda name: stack.enter_context(self._store.open(name))
            )
            for count in take_over(dataset, root, old=one, staged=other, max_pixels=self._options.max_pixels):
                self._stop.check()
                self._report.taken_over += count
                bar.advance(count)

    def _left(self) -> list[Path]:
        """The files of the old collection's points that the staged one has not."""
        if self._name not in self._store:
            return []
        names, left = (self._name, staged_name(self._name)), []
        with ExitStack() as stack:
            old, staged = opened_together(names, lambda name: stack.enter_context(self._store.open(name)))
            there = {payload.id for payload in staged.scan()}
            roots = old.manifest.datasets
            for payload in old.scan():
                if payload.id in there:
                    there.remove(payload.id)
                else:
                    left.append(Path(roots.get(payload.dataset, "")) / payload.path)
            staged.delete(sorted(there))  # what the old one has lost since an earlier call
        return left


def _require_folders(name: str, datasets: Mapping[str, str]) -> None:
    for dataset, root in datasets.items():
        if not Path(root).is_dir():
            raise UsageError(
                f"dataset {dataset} of {name} lies in {root}, which is not there",
                path=root,
                hint=Hint(Action.MOVE_OR_REMOVE_DATASET, {Argument.DATASET: dataset}),
            )


def _is_gone(file: Path) -> bool:
    """Only what is known not to be there; a link may lead to a disk that is not mounted."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
