"""Runs an ingest: brings collections up to date with a folder."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from lookalike_core import progress
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.scan import FoundFile, OtherFiles, Skipped, count_images, look_up, scan
from lookalike_core.logs import get_logger
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.protocol import Collection, Store, open_together
from lookalike_core.text import find_name, nfc
from lookalike_exporter.export import add_activation_ranges
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.hint_arguments import list_arguments
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.apply import Applier
from lookalike_ingest.base_vectors import BaseVectors, find_base_collections
from lookalike_ingest.dataset_rules import RuleChoice, read_manifests, resolve_rules
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.engines.engine import Engine
from lookalike_ingest.engines.engine_target import EngineTarget
from lookalike_ingest.engines.opening import check_engine, open_engine
from lookalike_ingest.image_folder import find_images, require_images
from lookalike_ingest.layout_check import check_layout
from lookalike_ingest.other_datasets import (
    find_folder_names,
    find_gone,
    find_linked,
    find_overlapping,
    warn_of_gone,
    warn_of_linked,
    warn_of_lost_rules,
    warn_of_overlaps,
)
from lookalike_ingest.payload_cache import PayloadCacheError
from lookalike_ingest.plan import IngestJob, IngestPlanner
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.subset import Chosen
from lookalike_ingest.target import Target, WrittenTarget, target_name

_logger = get_logger("ingest")


def run_ingests(
    requests: Sequence[IngestRequest], *, store: Store, settings: Settings, stop: StopRequest
) -> Iterator[IngestReport | UsageError]:
    """Brings the collections up to date with several folders in turn; opens each model once.

    An error of one folder is yielded instead of its report, and the others are still ingested.

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
    """Brings the collections up to date with the folder; reuses the `embedders` of an earlier call.

    `beside` are the datasets that the same dry run has handled before, which are in no collection.

    Raises:
        UsageError: the folder is missing or holds no images, or its dataset has another root.
        StoreError: the store is read-only, and this is no dry run.
        LookalikeError: whatever the exporter, the embedder or the store raises.
    """
    local = None if request.dry_run else store.local
    if local is not None:
        local.require_writable()
    check_engine(request, store)
    request = replace(request, dataset=_spell_as_stored(request.dataset, store))
    embedders = embedders or Embedders(settings)
    with nullcontext() if local is None else local.ingesting():
        try:
            return _run_once(request, store, embedders, stop, beside)
        except PayloadCacheError:  # it is not valid any more by now, so that the store is read
            _logger.warning("the payload cache is damaged; building it again from the store")
            return _run_once(request, store, embedders, stop, beside)


def _spell_as_stored(dataset: Dataset, store: Store) -> Dataset:
    """Returns the dataset with its name spelt as in the store, since ids are made of it; else in NFC."""
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
    check_layout(request.layout, [], store)  # an embedded store has none: before a model is exported
    models = _get_models(request, store, embedders.settings)
    wanted = {
        target_name(model, distance, into=request.into): (model, distance)
        for model in models
        for distance in request.distances
    }
    check_layout(request.layout, list(wanted), store)
    request = _resolve_name(request, list(wanted), store)
    rules = resolve_rules(request.dataset.name, request.rules, targets=list(wanted), store=store)
    request = replace(request, dataset=replace(request.dataset, rules=rules))
    report = IngestReport(dataset=request.dataset, store=store.label, part=request.part)
    entries = _find_entries(request, report.others)
    if request.subset is not None:
        everything = scan(request.dataset.root, rules=request.walked_by)
        request = replace(request, takes=Chosen(request.subset, everything, request.label))
    with ExitStack() as stack:
        engine = open_engine(request, models, store, embedders.settings, stack)
        job = _open(request, wanted, store, report, stop, stack, engine)
        stack.enter_context(_invalidate_damaged_caches(job))
        stop.waits_for_batch = True
        stack.callback(stop.be_done)
        report.overlapping = find_overlapping(request.dataset, job.targets, beside=beside)
        is_stored = not request.dry_run or any(target.holds_dataset for target in job.targets)
        warn_of_overlaps(request.dataset, report.overlapping, store=store.label, is_stored=is_stored)
        _mirror(job, entries, None if request.dry_run else embedders)
        if not stop.requested:
            if request.part is None:
                _look_at_other_datasets(job)
            for target in job.targets:
                target.finish(stop.check)
    report.interrupted = stop.requested
    report.took_s = time.monotonic() - started
    return report


def _mirror(job: IngestJob, entries: Iterator[FoundFile | Skipped], embedders: Embedders | None) -> None:
    """Makes the collections mirror the folder: embeds and writes what the plan says, then removes points."""
    started = time.monotonic()
    request, report, planner = job.request, job.report, IngestPlanner(job)
    with progress.bar(request.dataset.name, unit="images", total=None) as bar:
        bar.count_ahead(partial(_count, request))
        Applier(job, embedders).apply(planner, entries, bar)
    report.reading_s = time.monotonic() - started
    if not job.stop.requested:
        for target, removal in zip(job.targets, planner.plan_removals(), strict=True):
            target.remove(removal)
        report.unused_labels = planner.unused_labels
        if request.paths is None:
            report.split_classes = planner.split_classes
            _warn_of_oddities(job)
    for target in job.targets:
        target.note_calibration()


def _count(request: IngestRequest) -> int:
    """Returns the approximate number of files to look at."""
    if request.paths is not None:
        return len(request.paths)
    parts = 1 if request.part is None else request.part.total
    return count_images(request.dataset.root, rules=request.walked_by) // parts


def _find_entries(request: IngestRequest, others: OtherFiles) -> Iterator[FoundFile | Skipped]:
    root, rules = request.dataset.root, request.walked_by
    if request.paths is not None:
        return look_up(root, request.paths, rules=rules)
    takes = None if request.part is None else request.holds
    return find_images(root, others, rules=rules, takes=takes, may_be_empty=request.may_be_empty)


def _look_at_other_datasets(job: IngestJob) -> None:
    """Warns of datasets of the collections that hold the same files, or held them under another name."""
    dataset, report, targets = job.request.dataset, job.report, job.targets
    named = {each.name for each in report.overlapping}
    linked = [each for each in find_linked(dataset, targets) if each.name not in named]
    warn_of_linked(dataset, linked, store=report.store)
    report.overlapping += linked
    report.gone_datasets = find_gone(targets)
    warn_of_lost_rules(dataset, report.gone_datasets, targets)
    made_with = list_arguments(job.request.specs, job.request.distances) if job.request.dry_run else None
    warn_of_gone(dataset, report.gone_datasets, store=report.store, made_with=made_with)


@contextmanager
def _invalidate_damaged_caches(job: IngestJob) -> Iterator[None]:
    """Invalidates all payload caches that this ingest has read if one of them is damaged."""
    try:
        yield
    except PayloadCacheError:
        for target in job.targets:
            target.invalidate_cache()
        job.base_vectors.invalidate_caches()
        raise


def _get_models(request: IngestRequest, store: Store, settings: Settings) -> list[ModelFile]:
    """Returns the model of each spec; for int8 the one that an existing collection was made with."""

    def recorded() -> Iterator[CollectionManifest]:
        return (manifest for _, manifest in readable_manifests(store))

    def ready(wanted: ModelSpec | Head) -> ModelFile:
        root = request.dataset.root
        if isinstance(wanted, ModelSpec):
            wanted = add_activation_ranges(wanted, root, recorded=recorded, settings=settings)
        return get_model(wanted, settings=settings)

    return [ready(wanted) for wanted in request.specs]


def _resolve_name(request: IngestRequest, targets: Sequence[str], store: Store) -> IngestRequest:
    """Returns the request with the name that the folder has in the target collections, unless one is given.

    Raises:
        UsageError: several datasets have this folder, and none has its name.
    """
    dataset = request.dataset
    known = {
        name
        for _, manifest in read_manifests(targets, store)
        for name in find_folder_names(dataset, manifest)
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


def _open(
    request: IngestRequest,
    wanted: Mapping[str, tuple[ModelFile, Distance]],
    store: Store,
    report: IngestReport,
    stop: StopRequest,
    stack: ExitStack,
    engine: Engine | None,
) -> IngestJob:
    """Opens the wanted targets, together with the collections of a head's base network."""
    head = next((spec for spec in request.specs if isinstance(spec, Head)), None)
    targets: dict[str, Target] = {}
    bases: list[Collection] = []
    kind: Callable[..., Target] = Target if request.dry_run else WrittenTarget
    if engine is not None:
        kind = partial(EngineTarget, engine=engine)

    def open_one(name: str) -> None:
        if name in wanted:
            targets[name] = kind(request, *wanted[name], store=store, stack=stack)
        else:
            bases.append(stack.enter_context(store.open(name)))

    open_together([*wanted, *(find_base_collections(head, store) if head else ())], open_one)
    base_vectors = BaseVectors(head, bases, request.dataset, rehash=request.rehash)
    stack.callback(base_vectors.close)
    in_order = [targets[name] for name in wanted]
    report.collections = [target.report for target in in_order]
    return IngestJob(
        request=request,
        targets=in_order,
        base_vectors=base_vectors,
        report=report,
        stop=stop,
        engine=engine,
    )


def _warn_of_oddities(job: IngestJob) -> None:
    """Logs what may be unintended: points that stay, links that are not followed, classes of a split."""
    for target in job.targets:
        _warn_of_away(target, prune=job.request.prune)
    _log_passed_over(job.report)
    _warn_of_unused_patterns(job.request.rules, job.report.others)


def _log_passed_over(report: IngestReport) -> None:
    """Logs links that are not followed, and classes that are parts of a split."""
    rules, links = report.dataset.rules, report.others.linked_folders
    if links:
        said = "1 link to a folder was" if links == 1 else f"{links} links to folders were"
        _logger.info("%s not followed", said, extra={"hint": Hint(Action.USE, {Argument.FOLLOW_LINKS: None})})
    if report.split_classes:
        deeper = {Argument.CLASS_LEVEL: str(rules.class_level + 1)}
        _logger.warning(
            "warning: the classes are %s, the parts of a split; the classes may be the folders in them",
            ", ".join(report.split_classes),
            extra={"hint": Hint(Action.USE, deeper)},
        )


def _warn_of_unused_patterns(asked: RuleChoice, others: OtherFiles) -> None:
    """Logs the exclude patterns of this request that match nothing."""
    unused = [pattern for pattern in asked.exclude or () if pattern not in others.fitting_patterns]
    if unused:
        _logger.warning("warning: exclude patterns that match nothing here: %s", ", ".join(map(repr, unused)))


def _warn_of_away(target: Target, *, prune: bool) -> None:
    if away := target.report.away:
        why = "" if prune else "copies of their images were found, but they may not have been moved: "
        _logger.warning(
            "warning: %s points of %s are kept, for example %r: %stheir folders are empty, or links are "
            "broken; if a disk is not mounted, mount it",
            len(away),
            target.name,
            away[0],
            why,
            extra={"hint": Hint(Action.PRUNE_AWAY)},
        )
