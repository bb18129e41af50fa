"""`ingest run`: bring collections up to date with folders."""

from collections.abc import Sequence
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.hint_words import full_message
from lookalike_core.cli.options import (
    HeadOption,
    JsonOption,
    LayerOption,
    MaxPixelsOption,
    PoolingOption,
    PrecisionOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    WeightsOption,
    store_in_use,
)
from lookalike_core.cli.table import cell_width, pad
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import choose_layout
from lookalike_core.text import format_count

from lookalike_ingest.commands.ingest_options import (
    BackboneOption,
    BatchSizeOption,
    ClassLevelOption,
    DatasetOption,
    DefaultExcludesOption,
    DistanceOption,
    ExcludeOption,
    FollowLinksOption,
    LabelsOption,
    NewRootOption,
    NoExcludeOption,
    PruneAfterOption,
    PruneOption,
    QuantizeOption,
    ReplicasOption,
    ShardsOption,
    SourcesArgument,
    SynsetsOption,
    ValSolutionOption,
    WriteConsistencyOption,
)
from lookalike_ingest.commands.interruption import stop_on_interrupt
from lookalike_ingest.commands.notices import list_some, say_dropped_calibration, warn_of_skipped
from lookalike_ingest.commands.report_records import problem_json, report_json
from lookalike_ingest.commands.requested_ingests import RequestedIngests, choose_rules
from lookalike_ingest.engines.engine import EngineName, choose_engine
from lookalike_ingest.parts import Part
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import IngestRequest, ModelChoice
from lookalike_ingest.run import run_ingests
from lookalike_ingest.subset import Subset


def run(
    folders: SourcesArgument,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    dataset: DatasetOption = None,
    new_root: NewRootOption = False,
    labels: LabelsOption = None,
    synsets: SynsetsOption = None,
    val_solution: ValSolutionOption = None,
    max_per_class: Annotated[
        int | None,
        typer.Option("--max-per-class", min=1, metavar="N", help="Ingest at most N random images per class."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="Random seed of --max-per-class; default: 0.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="I/N",
            help="Ingest part I of N, chosen by paths; parts may run at once on a server.",
        ),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option("--engine", help="Embed and write on a cluster: ray; the store must be a server."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help="Cluster of --engine: auto (this machine's) or HOST:PORT; default: this machine alone.",
        ),
    ] = None,
    exclude: ExcludeOption = None,
    no_exclude: NoExcludeOption = False,
    default_excludes: DefaultExcludesOption = None,
    follow_links: FollowLinksOption = None,
    class_level: ClassLevelOption = None,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    precision: PrecisionOption = Precision.FP32,
    head: HeadOption = None,
    quantize: QuantizeOption = None,
    shards: ShardsOption = None,
    replicas: ReplicasOption = None,
    write_consistency: WriteConsistencyOption = None,
    batch_size: BatchSizeOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and store nothing.")
    ] = False,
    prune: PruneOption = False,
    prune_after: PruneAfterOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --prune: even if DIR or a folder in it is empty.")
    ] = False,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read every file again, even if its size and times have not changed."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any image was skipped.")] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Bring collections up to date with folders."""
    if seed is not None and max_per_class is None:
        raise UsageError("--seed has an effect only with --max-per-class: it selects the random sample")
    asked = RequestedIngests(
        folders=folders,
        model=ModelChoice(
            backbones=backbone or (),
            weights=weights,
            layer=layer,
            pooling=pooling,
            precision=precision,
            head=head,
        ),
        rules=choose_rules(
            exclude=exclude,
            no_exclude=no_exclude,
            default_excludes=default_excludes,
            follow_links=follow_links,
            class_level=class_level,
        ),
        distances=distance or (),
        dataset=dataset,
        new_root=new_root,
        labels=labels,
        synsets=synsets,
        val_solution=val_solution,
        prune=prune,
        prune_after=prune_after,
        batch_size=batch_size,
        max_pixels=max_pixels,
        quantize=quantize,
        layout=choose_layout(shards=shards, replicas=replicas, write_consistency=write_consistency),
        subset=None if max_per_class is None else Subset(max_per_class=max_per_class, seed=seed or 0),
        part=None if part is None else Part.parse(part),
        engine=choose_engine(engine, address),
        dry_run=dry_run,
        force=force,
        rehash=rehash,
    )
    datasets = asked.check()
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    requests = [asked.request(each, settings) for each in datasets]
    if max_per_class is not None:
        say(f"taking at most {format_count(max_per_class, 'image')} of each class, by seed {seed or 0}")
    problems: list[LookalikeError] = []
    with store_in_use(store, settings) as opened, stop_on_interrupt() as stop:
        outcomes = run_ingests(requests, store=opened, settings=settings, stop=stop)
        for each, outcome in zip(requests, outcomes, strict=False):
            if isinstance(outcome, UsageError):
                problems.append(outcome)
                if as_json and len(requests) > 1:
                    show_json(problem_json(each, outcome))
            else:
                problems += _show_report(outcome, each, as_json=as_json, strict=strict)
    _raise_worst(problems)


def _show_report(
    report: IngestReport, request: IngestRequest, *, as_json: bool, strict: bool
) -> list[LookalikeError]:
    """Shows a report, and returns the errors in it.

    Raises:
        KeyboardInterrupt: the ingest was interrupted.
    """
    _warn(report, dry_run=request.dry_run)
    if as_json:
        show_json(report_json(report))
    else:
        show(*_report_lines(report, dry_run=request.dry_run))
    if report.interrupted:
        raise KeyboardInterrupt
    try:
        report.check(strict=strict)
    except LookalikeError as error:
        return [error]
    return []


def _raise_worst(problems: Sequence[LookalikeError]) -> None:
    """Raises the error with the highest exit code, after printing the others."""
    if problems:
        *others, worst = sorted(problems, key=lambda problem: problem.exit_code)
        for other in others:
            say(f"error: {full_message(other)}")
        raise worst


def _warn(report: IngestReport, *, dry_run: bool) -> None:
    warn_of_skipped(report)
    for collection in report.collections:
        verb = "would remove from" if dry_run else "removed from"
        list_some(f"{verb} {collection.name}:", [repr(path) for path in collection.removed])
        if excluded := collection.counts["excluded"]:
            say(f"{verb} {collection.name} since they are excluded: {excluded} of these")
        if collection.waiting:
            say(
                f"kept in {collection.name}: {format_count(collection.waiting, 'image')} gone for less than "
                "the time of --prune-after"
            )
        say_dropped_calibration(collection.name, collection.calibration_dropped)
    if report.unused_labels:
        say(f"warning: no image here for {format_count(report.unused_labels, 'row')} of the label table")


def _report_lines(report: IngestReport, *, dry_run: bool) -> list[str]:
    words = ("added", "updated", "moved", "unchanged", "removed")
    width = max(cell_width(collection.name) for collection in report.collections)
    lines = [
        f"{report.dataset.name}: {format_count(report.found, 'image')} in {report.dataset.root}"
        + (f", part {report.part}" if report.part else "")
        + (f", {report.not_taken} more left out by --max-per-class" if report.not_taken else "")
        + (", a dry run: nothing was stored" if dry_run else ""),
        "  ".join([pad("collection", width), *(f"{word:>9}" for word in words)]),
    ]
    for collection in report.collections:
        numbers = (f"{collection.counts[word]:>9}" for word in words)
        lines.append("  ".join([pad(collection.name, width), *numbers]))
    speed = f", {report.images_per_second:.1f} images/s" if report.embedded else ""
    stored = f", {report.from_stored} from stored vectors" if report.from_stored else ""
    lines += [str(report.others)] if report.others.total else []
    lines += [f"excluded: {report.others.excluded}"] if report.others.excluded else []
    cut = ", interrupted: not all images were considered" if report.interrupted else ""
    return [*lines, f"{report.took_s:.1f} s{speed}{stored}, {len(report.skipped)} skipped{cut}"]
