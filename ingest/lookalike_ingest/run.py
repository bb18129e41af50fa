"""Stage 2 itself: scan, read ahead, embed in batches, write in batches, index at the end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import LookalikeError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS, SUFFIXES, DecodedImage
from lookalike_core.images.exclusion import Exclusion
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import (
    FoundFile,
    OtherFiles,
    Skipped,
    count_images,
    has_images,
    look_up,
    scan,
)
from lookalike_core.logs import logger_of
from lookalike_core.missing_path import require_folder
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.providers import CUDA
from lookalike_core.prefetch import map_ahead
from lookalike_core.progress import Bar
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_core.stores.protocol import Collection, Store, opened_together
from lookalike_core.text import counted, find_name, nfc
from lookalike_exporter.export import calibrated
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.made_with import arguments_of
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.absence import Absence, Absences
from lookalike_ingest.base_vectors import StoredVectors, base_names
from lookalike_ingest.changes import Change, Decision
from lookalike_ingest.dataset_rules import RuleChoice, manifests_of, rules_for
from lookalike_ingest.image_reader import ReadFile, read_image
from lookalike_ingest.labels import Label, LabelOf, LabelRows, folder_label
from lookalike_ingest.other_datasets import (
    GoneDataset,
    OverlappingDataset,
    find_gone,
    find_linked,
    find_overlapping,
    names_of_folder,
    warn_of_gone,
    warn_of_linked,
    warn_of_lost_rules,
    warn_of_overlaps,
)
from lookalike_ingest.payload_cache import ListingError
from lookalike_ingest.split_classes import SplitClasses
from lookalike_ingest.subset import Chosen, Subset
from lookalike_ingest.target import CollectionReport, Dataset, Target, now, target_name

_logger = logger_of("ingest")

BATCH_SIZES = {CUDA: 128}
"""Images a run where it is not `BATCH_SIZE`; of many small batches a GPU waits for each."""

LOOKED_UP_AT_ONCE = 256
"""Files of which a collection is asked in one go what it knows."""

MAX_IN_HAND = 512
"""Files whose vectors are known already are written in batches of this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to ingest and how; `labels` overrides by root-relative path what `label_of` says of an image.

    Paths of labels may have another Unicode form than the disk's, and classes are composed (NFC).

    An image that it does not take (`takes`; None takes all) is left alone, in the folder and in the
    collections; so are those of the folder that are not in the `subset`.

    `rules` is what is asked for of the rules by which the folder is walked; what is not is as remembered, for
    the dataset's own are those that the ingest ends up with. Where root-relative `paths` are given, these are
    looked up, whatever the rules leave out, and the folder is not walked.

    `prune` removes the points of files that are gone, with `force` even where all of them are, or where a
    folder is there and holds nothing, so that its disk may not be mounted. `rehash` reads every file,
    whatever its size and times say. `into`
    names another collection than the model's and the distance's own; it goes with one of each. A head is
    the only one of `specs`. Where no `batch_size` is given the provider has its own. `quantize` is for
    collections that are made now; one that is there must have it.
    """

    dataset: Dataset
    specs: Sequence[ModelSpec | Head]
    distances: Sequence[Distance]
    labels: Mapping[str, str | None] = field(default_factory=dict)
    label_of: LabelOf = folder_label
    takes: Callable[[FoundFile], bool] | None = None
    subset: Subset | None = None
    rules: RuleChoice = field(default_factory=RuleChoice)
    paths: Sequence[str] | None = None
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    prune: bool = False
    force: bool = False
    rehash: bool = False
    into: str | None = None
    quantize: VectorQuantization | None = None
    label_rows: LabelRows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses fields that contradict each other, whoever asks.

        Raises:
            UsageError: they do.
        """
        check_pruning(prune=self.prune, force=self.force)
        object.__setattr__(self, "label_rows", LabelRows(self.labels))
        self.rules.check()

    @property
    def walked_by(self) -> FolderRules:
        """The rules that this ingest goes by; paths that are given are left out by none."""
        rules = self.dataset.rules
        return rules if self.paths is None else replace(rules, exclude=(), default_excludes=False)

    @property
    def may_be_empty(self) -> bool:
        """Whether the folder may hold nothing at all."""
        return self.prune and self.force

    def label(self, found: FoundFile) -> Label:
        """Returns an image's class."""
        row = self.label_rows.find(found.path) if self.labels else None
        label = self.label_of(found) if row is None else Label(class_name=self.labels[row])
        if label.class_name is None or (composed := nfc(label.class_name)) == label.class_name:
            return label
        return replace(label, class_name=composed)


def check_pruning(*, prune: bool, force: bool) -> None:
    """Refuses to force what is not done.

    Raises:
        UsageError: `force` lets a dataset be emptied, and points are not to be removed.
    """
    if force and not prune:
        raise UsageError(
            "this lets a dataset be emptied, and nothing is to be removed",
            argument=Argument.FORCE,
            hint=Hint(Action.USE, {Argument.PRUNE: None}),
        )


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `embedded` counts images, whatever the number of collections.

    `found` are the images that were to be taken in, `not_taken` those of the folder that were not.
    `others` are the files of other kinds that lie beside them, and what else the walk passed over.
    `split_classes` are the classes where all are named like the parts of a dataset that is split.
    `from_stored` are images that no network looked at, since a head was put on their stored vectors.
    `needed` is what has to be installed for some of the skipped images, and for how many.
    """

    dataset: Dataset
    store: str
    collections: list[CollectionReport] = field(default_factory=list)
    found: int = 0
    not_taken: int = 0
    embedded: int = 0
    from_stored: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    others: OtherFiles = field(default_factory=OtherFiles)
    needed: Counter[str] = field(default_factory=Counter)
    unused_labels: int = 0
    split_classes: Sequence[str] = ()
    overlapping: list[OverlappingDataset] = field(default_factory=list)
    gone_datasets: list[GoneDataset] = field(default_factory=list)
    interrupted: bool = False
    reading_s: float = 0.0
    took_s: float = 0.0

    @property
    def used(self) -> bool:
        """Whether any image is in any collection now, however it came there."""
        return any(collection.counts[change] for collection in self.collections for change in Change)

    def check(self, *, strict: bool = False) -> None:
        """Refuses an ingest that came to nothing; a `strict` one, where any image was skipped.

        Raises:
            LookalikeError: images were found and none could be used, or was to be skipped.
        """
        if self.found and not self.used:
            raise LookalikeError(f"no image in {self.dataset.root} could be used, of {self.found} found")
        if strict and self.skipped:
            raise LookalikeError(f"{counted(len(self.skipped), 'image')} skipped")

    @property
    def images_per_second(self) -> float:
        """Images embedded, over the time from the first file looked at to the last point written."""
        return self.embedded / self.reading_s if self.reading_s else 0.0


@dataclass(slots=True)
class StopRequest:
    """Set by whoever wants the ingest to end after the batch in hand."""

    requested: bool = False
    waits_for_batch: bool = False
    """Whether there may be a batch in hand: not while a model is exported or a lock is waited for."""

    def be_done(self) -> None:
        """There is no batch in hand any more."""
        self.waits_for_batch = False

    def check(self) -> None:
        """For waits that have no batch to finish."""
        if self.requested:
            raise KeyboardInterrupt


def run_ingests(
    requests: Sequence[IngestRequest], *, store: Store, settings: Settings, stop: StopRequest
) -> Iterator[IngestReport | UsageError]:
    """Brings the collections up to date with several folders, one after the other; each model is opened once.

    What is wrong with one folder is given in the place of its report, and the others go on.

    Raises:
        LookalikeError: whatever else `run_ingest` raises.
    """
    embedders = Embedders(settings)
    beside: list[Dataset] = []
    for request in requests:
        try:
            report = run_ingest(
                request, store=store, settings=settings, stop=stop, embedders=embedders, beside=beside
            )
        except UsageError as error:
            yield error
            continue
        if request.dry_run:
            beside.append(report.dataset)
        yield report
        if report.interrupted:
            return


def run_ingest(
    request: IngestRequest,
    *,
    store: Store,
    settings: Settings,
    stop: StopRequest,
    embedders: "Embedders | None" = None,
    beside: Sequence[Dataset] = (),
) -> IngestReport:
    """Brings the collections up to date with the folder; `embedders` are those of an earlier one.

    Folders that were looked at before in the same dry run, and so are in no collection, are `beside` it.

    Raises:
        UsageError: the folder is missing or holds no images, or its dataset lies elsewhere.
        StoreError: the store may only be read, and this is no dry run.
        LookalikeError: whatever the exporter, the embedder or the store raise.
    """
    if not request.dry_run:
        store.require_writable()
    request = replace(request, dataset=_as_known(request.dataset, store))
    embedders = embedders or Embedders(settings)
    with nullcontext() if request.dry_run else store.ingesting():
        try:
            return _run_once(request, store, embedders, stop, beside)
        except ListingError:  # by now it is dropped, and what the store says is taken
            _logger.warning("the list of points that was kept is damaged; it is made anew")
            return _run_once(request, store, embedders, stop, beside)


def _as_known(dataset: Dataset, store: Store) -> Dataset:
    """Returns it by the name that the store has for it, on which its points' ids hang; a new one is composed.

    Only the Unicode form may differ.
    """
    if dataset.name.isascii():
        return dataset
    known = (name for _, manifest in readable_manifests(store) for name in manifest.datasets)
    return replace(dataset, name=find_name(dataset.name, known) or nfc(dataset.name))


def _run_once(
    request: IngestRequest,
    store: Store,
    embedders: "Embedders",
    stop: StopRequest,
    beside: Sequence[Dataset],
) -> IngestReport:
    started = time.monotonic()
    require_images(request.dataset, store, may_be_empty=request.may_be_empty)
    models = _models(request, store, embedders.settings)
    request = _with_known_name(request, models, store)
    request = _with_rules(request, models, store)
    report = IngestReport(dataset=request.dataset, store=store.label)
    entries = _entries(request, report.others)
    if request.subset is not None:
        everything = scan(request.dataset.root, rules=request.walked_by)
        request = replace(request, takes=Chosen(request.subset, everything, request.label))
    with ExitStack() as stack:
        targets, stored = _targets(request, models, store, stack)
        stack.enter_context(_dropping_damaged_lists([*targets, stored]))
        report.collections = [target.report for target in targets]
        stop.waits_for_batch = True
        stack.callback(stop.be_done)
        report.overlapping = find_overlapping(request.dataset, targets, beside=beside)
        is_stored = not request.dry_run or any(target.holds_dataset for target in targets)
        warn_of_overlaps(request.dataset, report.overlapping, store=store.label, is_stored=is_stored)
        by_name = sorted(targets, key=lambda target: target.name)  # in which order they are made
        _Ingest(request, by_name, stored, embedders, report, stop).run(entries)
        if not stop.requested:
            named = {each.name for each in report.overlapping}
            linked = [each for each in find_linked(request.dataset, targets) if each.name not in named]
            warn_of_linked(request.dataset, linked, store=store.label)
            report.overlapping += linked
            report.gone_datasets = find_gone(targets)
            warn_of_lost_rules(request.dataset, report.gone_datasets, targets)
            made_with = arguments_of(request.specs, request.distances) if request.dry_run else None
            warn_of_gone(request.dataset, report.gone_datasets, store=store.label, made_with=made_with)
            _build_indexes(targets, stop)
            for target in targets:
                target.keep_listing()
    report.interrupted = stop.requested
    report.took_s = time.monotonic() - started
    return report


def _entries(request: IngestRequest, others: OtherFiles) -> Iterator[FoundFile | Skipped]:
    root, rules = request.dataset.root, request.walked_by
    if request.paths is not None:
        return look_up(root, request.paths, rules=rules)
    return find_images(root, others, rules=rules, may_be_empty=request.may_be_empty)


@contextmanager
def _dropping_damaged_lists(readers: Sequence[Target | StoredVectors]) -> Iterator[None]:
    """Where a list turns out damaged, none that this ingest has read is believed any more."""
    try:
        yield
    except ListingError:
        for reader in readers:
            reader.distrust()
        raise


def _models(request: IngestRequest, store: Store, settings: Settings) -> list[ModelFile]:
    """One for each spec; int8 goes on in the space of a collection that is there."""

    def recorded() -> Iterator[CollectionManifest]:
        return (manifest for _, manifest in readable_manifests(store))

    def ready(wanted: ModelSpec | Head) -> ModelFile:
        root = request.dataset.root
        if isinstance(wanted, ModelSpec):
            wanted = calibrated(wanted, root, recorded=recorded, settings=settings)
        return get_model(wanted, settings=settings)

    return [ready(wanted) for wanted in request.specs]


def _with_rules(request: IngestRequest, models: Sequence[ModelFile], store: Store) -> IngestRequest:
    """Settles by which rules the dataset's folder is walked."""
    targets = _target_names(request, models)
    rules = rules_for(request.dataset.name, request.rules, targets=targets, store=store)
    return replace(request, dataset=replace(request.dataset, rules=rules))


def _with_known_name(request: IngestRequest, models: Sequence[ModelFile], store: Store) -> IngestRequest:
    """Goes on with the dataset whose folder it is in the target collections, unless a name was given.

    Raises:
        UsageError: it is the folder of several, none of which is called like it.
    """
    dataset = request.dataset
    targets = _target_names(request, models)
    known = {
        name for _, manifest in manifests_of(targets, store) for name in names_of_folder(dataset, manifest)
    }
    if dataset.is_named or not known or dataset.name in known:
        return request
    if len(known) > 1:
        raise UsageError(
            f"{dataset.root} is the folder of several datasets ({', '.join(sorted(known))})",
            path=dataset.root,
            hint=Hint(Action.USE, {Argument.DATASET: None}),
        )
    [name] = known
    _logger.info("%s is the folder of dataset %s, which is brought up to date", dataset.root, name)
    return replace(request, dataset=replace(dataset, name=name))


def _target_names(request: IngestRequest, models: Sequence[ModelFile]) -> list[str]:
    return [
        target_name(model, distance, into=request.into) for model in models for distance in request.distances
    ]


def _targets(
    request: IngestRequest, models: Sequence[ModelFile], store: Store, stack: ExitStack
) -> tuple[list[Target], StoredVectors]:
    """One for each model and distance, opened together with what the base of a head holds."""
    head = next((spec for spec in request.specs if isinstance(spec, Head)), None)
    bases = base_names(head, store) if head else []
    wanted = {
        target_name(model, distance, into=request.into): (model, distance)
        for model in models
        for distance in request.distances
    }

    def open_one(name: str) -> Target | Collection:
        if name in bases:
            return stack.enter_context(store.open(name))
        model, distance = wanted[name]
        return Target(
            request.dataset,
            model,
            distance,
            store=store,
            stack=stack,
            read_only=request.dry_run,
            name=request.into,
            quantize=request.quantize,
            rehash=request.rehash,
        )

    opened = opened_together([*wanted, *bases], open_one)
    targets = [each for each in opened if isinstance(each, Target)]
    collections = [each for each in opened if not isinstance(each, Target)]
    stored = StoredVectors(head, collections, request.dataset, rehash=request.rehash)
    stack.callback(stored.close)
    return targets, stored


def require_images(dataset: Dataset, store: Store, *, may_be_empty: bool = False) -> None:
    """Refuses a folder without images, whatever rules may say, before anything is exported.

    Raises:
        UsageError: there is no such folder, or no image in it, and it may not be so.
    """
    if may_be_empty:
        return
    require_folder(dataset.root)
    if not has_images(dataset.root):
        others = OtherFiles()
        if next(scan(dataset.root, others), None) is None:
            raise no_images(dataset.root, others, dataset=_stored_name(dataset, store))


def _stored_name(dataset: Dataset, store: Store) -> str | None:
    """By which name a store has a dataset: its own, or another one for its folder; None where by none."""
    manifests = [manifest for _, manifest in readable_manifests(store)]
    if any(dataset.name in manifest.datasets for manifest in manifests):
        return dataset.name
    return next((name for each in manifests for name in names_of_folder(dataset, each)), None)


def find_images(
    root: Path, others: OtherFiles, *, rules: FolderRules, may_be_empty: bool = False
) -> Iterator[FoundFile | Skipped]:
    """The scan, once it is known to find something; what it passes over is counted in `others`.

    Raises:
        UsageError: there is no image in the folder but what the rules leave out, and it may not be so.
    """
    if may_be_empty and not root.is_dir():
        return iter(())
    entries = scan(root, others, rules=rules)
    first = next(entries, None)
    if first is not None:
        return chain([first], entries)
    if may_be_empty:
        return iter(())
    raise _nothing_left(root, others)


def no_images(root: Path, others: OtherFiles, *, dataset: str | None) -> UsageError:
    """What to say of a folder that holds none, and what to do if it is that of a stored dataset."""
    beside = f", but {others}" if others.total else ""
    return UsageError(
        f"{root} holds no images ({', '.join(sorted(SUFFIXES))}){beside}; if a disk is not mounted, mount it",
        path=root,
        hint=Hint(Action.REMOVE_DATASET, {Argument.DATASET: dataset}) if dataset is not None else None,
    )


def _nothing_left(root: Path, others: OtherFiles) -> UsageError:
    """What to say of a folder whose images are all left out by the rules, or behind links."""
    links = others.linked_folders
    left_out = [f"what is excluded ({others.excluded})"] if others.excluded else []
    left_out += [f"what is linked ({counted(links, 'folder')})"] if links else []
    is_linked = links and not others.excluded
    return UsageError(
        f"{root} holds no images but {' and '.join(left_out) or 'hidden ones'}",
        path=root,
        hint=Hint(Action.USE, {Argument.FOLLOW_LINKS: None}) if is_linked else Hint(Action.EXCLUDE_LESS),
    )


class Embedders:
    """One session a model, opened when the first image needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: dict[Path, Embedder] = {}

    def of(self, model: ModelFile) -> Embedder:
        """The model's session."""
        if model.path not in self._open:
            embedder = Embedder.as_set(model.path, self.settings, expected=model.manifest)
            _logger.info("%s runs on %s", model.manifest.identity.backbone, embedder.provider)
            if embedder.notice:
                _logger.warning("%s", embedder.notice)
            self._open[model.path] = embedder
        return self._open[model.path]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A file in hand and what each target is to do about it."""

    path: str
    sha256: str
    image: DecodedImage | None
    decisions: Mapping[str, Decision]

    @property
    def embeds(self) -> bool:
        return any(decision.embeds for decision in self.decisions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Files that went through the network: vectors by model and SHA-256, and what each target shall write.

    Not so, and not written, where the ingest was asked to stop before: there are no `vectors` then.
    """

    items: list[_Item]
    vectors: Mapping[Path, Mapping[str, FloatVector]]
    wanted: dict[str, list[Decision]] = field(default_factory=dict)
    is_written: bool = True


class _Ingest:
    """The way of one folder: files come in one by one, and leave in batches."""

    def __init__(
        self,
        request: IngestRequest,
        targets: Sequence[Target],
        stored: StoredVectors,
        embedders: Embedders,
        report: IngestReport,
        stop: StopRequest,
    ) -> None:
        self._request, self._targets, self._embedders = request, targets, embedders
        self._stored = stored
        self._report, self._stop = report, stop
        self._splits = SplitClasses(request.dataset.rules.class_level)
        self._seen = 0
        self._unused_labels = set(request.labels)
        self._batch_size = request.batch_size or BATCH_SIZE
        self._is_batch_chosen = request.batch_size is not None or request.dry_run
        self._failed: defaultdict[str, set[str]] = defaultdict(set)
        self._absences = Absences(request.dataset.root)
        self._perhaps_moved: set[str] = set()
        """Paths of points that would be those of moved files, were it known that these are not away only."""

    def run(self, entries: Iterator[FoundFile | Skipped]) -> None:
        """Every entry once; ends after the batch in hand when asked to stop.

        Deciding and writing stay in this thread, where Ctrl-C reaches a wait for a server; reading and the
        network go on in threads of their own.
        """
        started = time.monotonic()
        root, rules = self._request.dataset.root, self._request.walked_by
        with progress.bar(self._request.dataset.name, unit="images", total=None) as bar, ExitStack() as stack:
            paths = self._request.paths
            bar.count_ahead(lambda: count_images(root, rules=rules) if paths is None else len(paths))
            to_read = self._settle_unread(entries, bar)
            files = map_ahead(self._read, to_read, ahead=lambda: 2 * self._batch_size)
            batches = self._batches(stack.enter_context(closing(files)), bar)
            embedded = map_ahead(self._embedded, batches, ahead=2, workers=1)
            for batch in self._usable_of(stack.enter_context(closing(embedded))):
                self._account(self._write(batch, bar))
        self._report.reading_s = time.monotonic() - started
        if not self._stop.requested:
            self._finish()

    def _settle_unread(self, entries: Iterator[FoundFile | Skipped], bar: Bar) -> Iterator[FoundFile | _Item]:
        """Decides by size and time where they tell; hands on what must be read or written."""
        takes = self._request.takes
        while some := list(islice(entries, LOOKED_UP_AT_ONCE)):
            found = [entry for entry in some if isinstance(entry, FoundFile)]
            decided = self._decide_unread([file for file in found if takes is None or takes(file)])
            settled = 0
            for entry in some:
                if self._stop.requested:
                    return
                if isinstance(entry, Skipped):
                    self._pass_over(entry, bar)
                elif entry.path not in decided:
                    self._report.not_taken += 1
                    self._see(entry.path)
                    settled += 1
                elif (item := self._settle(entry, decided[entry.path])) is not None:
                    yield item
                else:
                    settled += 1
            bar.advance(settled)

    def _decide_unread(self, files: Sequence[FoundFile]) -> dict[str, tuple[Decision | None, ...]]:
        """By path, what size and time tell each target."""
        labels = [self._request.label(file) for file in files]
        self._splits.see(files, labels)
        labelled = [(f, label.class_name, label.synset) for f, label in zip(files, labels, strict=True)]
        decided = [target.known.decide_all_unread(labelled) for target in self._targets]
        return dict(zip((file.path for file in files), zip(*decided, strict=True), strict=True))

    def _settle(self, found: FoundFile, decided: Sequence[Decision | None]) -> FoundFile | _Item | None:
        """Hands on what must be read or written; None where nothing is to be done."""
        self._report.found += 1
        self._note_seen(found.path)
        decisions = {t.name: d for t, d in zip(self._targets, decided, strict=True) if d is not None}
        if len(decisions) < len(self._targets):
            return found
        for target in self._targets:
            target.decide(decisions[target.name])
        if all(decision.payload is None for decision in decisions.values()):
            return None
        return _Item(path=found.path, sha256="", image=None, decisions=decisions)

    def _read(self, found: FoundFile | _Item) -> ReadFile | _Item:
        """In a thread: decoding is left out where every target has a vector for these bytes, or a base."""
        if isinstance(found, _Item):
            return found
        return self._stored.unread(found) or read_image(
            found,
            lambda sha256: (
                self._stored.has_bytes(sha256)
                or all(target.known.has_bytes(sha256) for target in self._targets)
            ),
            max_pixels=self._request.max_pixels,
        )

    def _batches(self, files: Iterator[ReadFile | _Item], bar: Bar) -> Iterator[list[_Item]]:
        """Decides about the files that were read; the last batch may be small."""
        in_hand: list[_Item] = []
        to_embed = 0
        for file in files:
            item = file if isinstance(file, _Item) else self._take(file, bar)
            if item is not None:
                in_hand.append(item)
                to_embed += item.embeds
                if item.embeds and item.image is not None:
                    self._choose_batch_size()
            if to_embed >= self._batch_size or len(in_hand) >= MAX_IN_HAND:
                yield in_hand
                in_hand, to_embed = [], 0
            if self._stop.requested:
                break
        if in_hand:
            yield in_hand

    def _choose_batch_size(self) -> None:
        """Unless it is given, what fills the slowest of the providers that the models run on."""
        if not self._is_batch_chosen:
            self._is_batch_chosen = True
            providers = {self._embedders.of(target.model).provider for target in self._targets}
            self._batch_size = min(BATCH_SIZES.get(provider, BATCH_SIZE) for provider in providers)

    def _take(self, file: ReadFile, bar: Bar) -> _Item | None:
        found = file.found
        if file.problem is None:
            decisions = self._decide_read(file)
            embeds = any(decision.embeds for decision in decisions.values())
            if embeds and file.image is None and not self._stored.has_bytes(file.sha256):
                # the point with these bytes is gone meanwhile
                file = read_image(found, lambda _: False, max_pixels=self._request.max_pixels)
                decisions = self._decide_read(file)
        if file.problem is not None:
            if file.needed is not None:
                self._report.needed[file.needed] += 1
            self._skip(found.path, file.problem, bar)
            return None
        decisions = {target.name: target.decide(decisions[target.name]) for target in self._targets}
        return _Item(path=found.path, sha256=file.sha256, image=file.image, decisions=decisions)

    def _decide_read(self, file: ReadFile) -> dict[str, Decision]:
        label = self._request.label(file.found)
        payload = self._payload(file, label)
        return {
            target.name: target.known.decide_unread(file.found, label.class_name, label.synset)
            or target.known.decide_read(payload, is_gone=self._is_gone)
            for target in self._targets
        }

    def _embedded(self, items: list[_Item]) -> _Batch:
        """In the network's thread: one model after the other, none once it was asked to stop."""
        models = {} if self._stop.requested else {t.model.path: t.model for t in self._targets}
        vectors = {path: self._embed(model, items) for path, model in models.items()}
        return _Batch(items=[replace(item, image=None) for item in items], vectors=vectors)

    def _usable_of(self, batches: Iterator[_Batch]) -> Iterator[_Batch]:
        """Says what each target shall write of them."""
        for batch in batches:
            for target in self._targets:
                batch.wanted[target.name] = self._usable(target, batch)
            yield batch

    def _write(self, batch: _Batch, bar: Bar) -> _Batch:
        """Nothing once it was asked to stop."""
        if self._stop.requested:
            return replace(batch, is_written=False)
        for target in self._targets:
            target.write(batch.wanted[target.name], batch.vectors[target.model.path])
        bar.advance(len(batch.items), skipped=len(self._report.skipped))
        return batch

    def _account(self, batch: _Batch) -> None:
        """What was not written was not done."""
        if batch.is_written and not self._request.dry_run:
            stored = [self._stored.has_bytes(item.sha256) for item in batch.items if item.embeds]
            self._report.from_stored += sum(stored)
            self._report.embedded += len(stored) - sum(stored)
        if not batch.is_written:
            for target in self._targets:
                for decision in batch.wanted[target.name]:
                    target.withdraw(decision)

    def _embed(self, model: ModelFile, items: Sequence[_Item]) -> dict[str, FloatVector]:
        """SHA-256 -> vector of the images that some target of the model wants embedded."""
        targets = [target for target in self._targets if target.model is model]
        wanted = [item for item in items if any(item.decisions[target.name].embeds for target in targets)]
        if self._request.dry_run:
            return {}
        headed = self._stored.vectors(item.sha256 for item in wanted)
        images = {
            item.sha256: item.image.pixels
            for item in wanted
            if item.image is not None and item.sha256 not in headed
        }
        if not images:
            return dict(headed)
        embedder = self._embedders.of(model)
        for target in targets:
            target.report.provider = embedder.provider
        vectors = embedder.embed(np.stack(list(images.values())))
        good = usable_rows(vectors)
        return {**headed, **{sha: row for sha, row, ok in zip(images, vectors, good, strict=True) if ok}}

    def _usable(self, target: Target, batch: _Batch) -> list[Decision]:
        """Leaves out the images that the network saw nothing in, and copies of them that came later."""
        decided = [(item, item.decisions[target.name]) for item in batch.items]
        if self._request.dry_run or not batch.vectors:
            return [decision for _, decision in decided]
        failed = self._failed[target.name]
        failed |= {item.sha256 for item, decision in decided if decision.embeds}
        failed.difference_update(batch.vectors[target.model.path])
        usable = []
        for item, decision in decided:
            if decision.writes_vector and item.sha256 in failed:
                target.withdraw(decision)
                skipped = Skipped(path=item.path, reason=SkipReason.NO_EMBEDDING)
                if skipped not in self._report.skipped:  # another collection may have said so
                    self._report.skipped.append(skipped)
            else:
                usable.append(decision)
        return usable

    def _finish(self) -> None:
        self._report.unused_labels = len(self._unused_labels)
        unread_folders = [skipped.path for skipped in self._report.skipped if skipped.is_folder]
        is_walk = self._request.paths is None
        if is_walk and self._request.prune and not self._request.force and not self._seen:
            is_stored = any(target.holds_dataset for target in self._targets)
            dataset = self._request.dataset
            raise no_images(dataset.root, self._report.others, dataset=dataset.name if is_stored else None)
        exclusion = self._request.walked_by.exclusion
        if not self._seen and not self._request.force:
            exclusion = Exclusion(defaults=False)  # folders that cannot be looked into are all there is
        for target in self._targets:
            target.settle(
                unread_folders=unread_folders,
                prune=self._request.prune,
                exclusion=exclusion,
                stays=lambda path: not self._is_given_up(path),
                perhaps_moved=self._perhaps_moved,
            )
            if is_walk:
                _warn_of_away(target, prune=self._request.prune)
        if is_walk:
            self._report.split_classes = self._splits.names
            _say_passed_over(self._report)
            _warn_of_unused_patterns(self._request.rules, self._report.others)

    def _pass_over(self, entry: Skipped, bar: Bar) -> None:
        """A folder that cannot be looked into is no image, and what lies in it has not vanished."""
        if entry.is_folder:
            self._report.skipped.append(entry)
            return
        self._report.found += 1
        self._see(entry.path)
        self._skip(entry.path, entry.reason, bar)

    def _see(self, path: str) -> None:
        """It is in the folder, and no collection is asked about it."""
        self._note_seen(path)
        for target in self._targets:
            target.known.see(path)

    def _note_seen(self, path: str) -> None:
        self._seen += 1
        if self._unused_labels and (row := self._request.label_rows.find(path)) is not None:
            self._unused_labels.discard(row)

    def _unsee(self, path: str) -> None:
        """It was there when the folder was looked at."""
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
        """Only what is known not to be there is gone; a folder may be closed to us, a disk be away.

        What may be away only is noted: its point stays, and the file of the same bytes is a copy.
        """
        try:
            (self._request.dataset.root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            if self._is_given_up(path):
                return True
            self._perhaps_moved.add(path)
        except OSError:
            return False
        return False

    def _is_given_up(self, path: str) -> bool:
        """Whether the point of a file that is not found may go; each folder on its way is looked at once."""
        absence = self._absences.of(path)
        return absence is Absence.GONE or (self._request.force and absence is Absence.AWAY)

    def _payload(self, file: ReadFile, label: Label) -> Payload:
        return Payload(
            dataset=self._request.dataset.name,
            path=file.found.path,
            class_name=label.class_name,
            synset=label.synset,
            sha256=file.sha256,
            width=file.image.width if file.image else self._stored.size(file.sha256)[0],
            height=file.image.height if file.image else self._stored.size(file.sha256)[1],
            bytes=file.found.bytes,
            mtime_ns=file.found.mtime_ns,
            ctime_ns=file.found.ctime_ns,
            ingested_at=now(),
        )


def _say_passed_over(report: IngestReport) -> None:
    """Logs what people may not have meant: links that are not followed, classes that are none."""
    rules, links = report.dataset.rules, report.others.linked_folders
    if links:
        said = "1 link to a folder was" if links == 1 else f"{links} links to folders were"
        _logger.info("%s not followed", said, extra={"hint": Hint(Action.USE, {Argument.FOLLOW_LINKS: None})})
    if report.split_classes:
        deeper = {Argument.CLASS_LEVEL: str(rules.class_level + 1)}
        _logger.warning(
            "warning: the classes are %s, the parts of a split; the folders in them may be what is meant",
            ", ".join(report.split_classes),
            extra={"hint": Hint(Action.USE, deeper)},
        )


def _warn_of_unused_patterns(asked: RuleChoice, others: OtherFiles) -> None:
    """Logs which of the patterns that were asked for now make no difference."""
    unused = [pattern for pattern in asked.exclude or () if pattern not in others.fitting_patterns]
    if unused:
        _logger.warning(
            "warning: exclude patterns that make no difference here: %s", ", ".join(map(repr, unused))
        )


def _warn_of_away(target: Target, *, prune: bool) -> None:
    if away := target.report.away:
        why = "" if prune else "their images are found elsewhere, too, but may not have been moved, for "
        _logger.warning(
            "warning: %s points of %s stay, %r for one: %stheir folders are empty, or links lead nowhere; if "
            "a disk is not mounted, mount it",
            len(away),
            target.name,
            away[0],
            why,
            extra={"hint": Hint(Action.PRUNE_AWAY)},
        )


def _build_indexes(targets: Sequence[Target], stop: StopRequest) -> None:
    for target in targets:
        if target.needs_index():
            _build_index(target, stop)


def _build_index(target: Target, stop: StopRequest) -> None:
    with progress.bar(f"index of {target.name}", unit="seconds", total=None) as bar:

        def wait() -> None:
            bar.advance(0)  # for the time alone
            stop.check()

        target.build_index(wait)
