"""Stage 2 itself: a plan of the folder is made and carried out, collections are indexed at the end."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from lookalike_core import progress
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.scan import FoundFile, OtherFiles, Skipped, count_images, look_up, scan
from lookalike_core.logs import logger_of
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.protocol import Collection, Store, opened_together
from lookalike_core.text import find_name, nfc
from lookalike_exporter.export import calibrated
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.heads.head_graph import get_wanted_model
from lookalike_exporter.made_with import arguments_of
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.apply import Applier
from lookalike_ingest.base_vectors import StoredVectors, base_names
from lookalike_ingest.dataset_rules import RuleChoice, manifests_of, rules_for
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.image_folder import find_images, require_images
from lookalike_ingest.other_datasets import (
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
from lookalike_ingest.plan import IngestPlan
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.subset import Chosen
from lookalike_ingest.target import Target, WrittenTarget, target_name

_logger = logger_of("ingest")


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
    embedders: Embedders | None = None,
    beside: Sequence[Dataset] = (),
) -> IngestReport:
    """Brings the collections up to date with the folder; `embedders` are those of an earlier one.

    Folders that were looked at before in the same dry run, and so are in no collection, are `beside` it.

    Raises:
        UsageError: the folder is missing or holds no images, or its dataset lies elsewhere.
        StoreError: the store may only be read, and this is no dry run.
        LookalikeError: whatever the exporter, the embedder or the store raise.
    """
    if not request.dry_run and store.local is not None:
        store.local.require_writable()
    request = replace(request, dataset=_as_known(request.dataset, store))
    embedders = embedders or Embedders(settings)
    with nullcontext() if request.dry_run or store.local is None else store.local.ingesting():
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
    embedders: Embedders,
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
        targets, stored = _opened(request, models, store, stack)
        stack.enter_context(_dropping_damaged_lists([*targets, stored]))
        stop.waits_for_batch = True
        stack.callback(stop.be_done)
        report.collections = [target.report for target in targets]
        report.overlapping = find_overlapping(request.dataset, targets, beside=beside)
        is_stored = not request.dry_run or any(target.holds_dataset for target in targets)
        warn_of_overlaps(request.dataset, report.overlapping, store=store.label, is_stored=is_stored)
        by_name = sorted(targets, key=lambda target: target.name)  # in which order they are made
        reading_began = time.monotonic()
        plan = IngestPlan(request, by_name, stored, report, stop)
        applier = Applier(
            by_name,
            stored,
            None if request.dry_run else embedders,
            report,
            stop,
            batch_size=request.batch_size,
        )
        with progress.bar(request.dataset.name, unit="images", total=None) as bar:
            bar.count_ahead(partial(_count, request))
            applier.apply(plan, entries, bar)
        report.reading_s = time.monotonic() - reading_began
        if not stop.requested:
            _remove_gone(request, plan, by_name, report)
        for target in targets:
            target.note_calibration()
        if not stop.requested:
            _look_at_other_datasets(request, targets, report)
            for target in targets:
                target.finish(stop.check)
    report.interrupted = stop.requested
    report.took_s = time.monotonic() - started
    return report


def _count(request: IngestRequest) -> int:
    """Returns about how many files there are to look at."""
    if request.paths is not None:
        return len(request.paths)
    return count_images(request.dataset.root, rules=request.walked_by)


def _remove_gone(
    request: IngestRequest, plan: IngestPlan, targets: Sequence[Target], report: IngestReport
) -> None:
    """Removes the points whose files are gone, and tells what was not found as people may think it is."""
    for target, removal in zip(targets, plan.removals(), strict=True):
        target.remove(removal)
    report.unused_labels = plan.unused_labels
    if request.paths is None:
        report.split_classes = plan.split_classes
        for target in targets:
            _warn_of_away(target, prune=request.prune)
        _say_passed_over(report)
        _warn_of_unused_patterns(request.rules, report.others)


def _look_at_other_datasets(request: IngestRequest, targets: Sequence[Target], report: IngestReport) -> None:
    """Tells of datasets of the collections that hold the same files, or did under another name."""
    dataset, store = request.dataset, report.store
    named = {each.name for each in report.overlapping}
    linked = [each for each in find_linked(dataset, targets) if each.name not in named]
    warn_of_linked(dataset, linked, store=store)
    report.overlapping += linked
    report.gone_datasets = find_gone(targets)
    warn_of_lost_rules(dataset, report.gone_datasets, targets)
    made_with = arguments_of(request.specs, request.distances) if request.dry_run else None
    warn_of_gone(dataset, report.gone_datasets, store=store, made_with=made_with)


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
        return get_wanted_model(wanted, settings=settings)

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


def _opened(
    request: IngestRequest, models: Sequence[ModelFile], store: Store, stack: ExitStack
) -> tuple[list[Target], StoredVectors]:
    """Opens one target for each model and distance, together with what the base of a head holds."""
    head = next((spec for spec in request.specs if isinstance(spec, Head)), None)
    wanted = {
        target_name(model, distance, into=request.into): (model, distance)
        for model in models
        for distance in request.distances
    }
    targets: dict[str, Target] = {}
    bases: list[Collection] = []
    kind = Target if request.dry_run else WrittenTarget

    def open_one(name: str) -> None:
        if name in wanted:
            model, distance = wanted[name]
            if not request.dry_run and store.local is not None:
                store.local.require_writable(name)
            targets[name] = kind(request, model, distance, store=store, stack=stack)
        else:
            bases.append(stack.enter_context(store.open(name)))

    opened_together([*wanted, *(base_names(head, store) if head else ())], open_one)
    stored = StoredVectors(head, bases, request.dataset, rehash=request.rehash)
    stack.callback(stored.close)
    return [targets[name] for name in wanted], stored


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
