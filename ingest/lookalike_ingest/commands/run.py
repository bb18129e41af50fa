"""`ingest run`: bring collections up to date with folders."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
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
from lookalike_core.hints import Argument
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.text import format_count

from lookalike_ingest.commands import json_records as records
from lookalike_ingest.commands.ingest_options import BatchSizeOption, QuantizeOption
from lookalike_ingest.commands.interruption import stop_on_interrupt
from lookalike_ingest.commands.notices import list_some, say_dropped_calibration, warn_of_skipped
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import IngestRequest, ModelChoice, check_pruning, describe_datasets, load_labels
from lookalike_ingest.run import run_ingests
from lookalike_ingest.subset import Subset
from lookalike_ingest.synsets import choose_synset_labels


def run(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Folders of images; each is a dataset.")
    ],
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone", metavar="BACKBONE", help="Network: resnet (default), vgg; may be repeated."
        ),
    ] = None,
    distance: Annotated[
        list[Distance] | None, typer.Option("--distance", help="cosine (default) or euclid; may be repeated.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Name of the dataset; default: the folder's name."),
    ] = None,
    new_root: Annotated[
        bool, typer.Option("--new-root", help="DIR is the new location of a dataset whose folder was moved.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="CSV", help="Classes of images: a table headed path,class."),
    ] = None,
    synsets: Annotated[
        Path | None,
        typer.Option("--synsets", metavar="FILE", help="Names of ImageNet's synsets, such as n01440764."),
    ] = None,
    val_solution: Annotated[
        Path | None,
        typer.Option("--val-solution", metavar="CSV", help="Classes of ImageNet's validation images."),
    ] = None,
    max_per_class: Annotated[
        int | None,
        typer.Option("--max-per-class", min=1, metavar="N", help="Ingest at most N random images per class."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="Random seed of --max-per-class; default: 0.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Exclude files and folders that match a gitignore pattern; remembered, may be repeated.",
        ),
    ] = None,
    no_exclude: Annotated[
        bool, typer.Option("--no-exclude", help="Forget the remembered patterns of --exclude.")
    ] = False,
    default_excludes: Annotated[
        bool | None,
        typer.Option(
            "--default-excludes/--no-default-excludes",
            help="Exclude hidden files and system folders such as @eaDir (default), or include them.",
        ),
    ] = None,
    follow_links: Annotated[
        bool | None,
        typer.Option("--follow-links/--no-follow-links", help="Follow links to folders, or not (default)."),
    ] = None,
    class_level: Annotated[
        int | None,
        typer.Option(
            "--class-level",
            metavar="N",
            help="Which folder names the class: 1 the first below DIR (default), -1 the image's own.",
        ),
    ] = None,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    precision: PrecisionOption = Precision.FP32,
    head: HeadOption = None,
    quantize: QuantizeOption = None,
    batch_size: BatchSizeOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and store nothing.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove points whose files are gone.")] = False,
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
    if exclude and no_exclude:
        raise UsageError("--exclude replaces the remembered patterns; leave --no-exclude out")
    if seed is not None and max_per_class is None:
        raise UsageError("--seed has an effect only with --max-per-class: it selects the random sample")
    choice = ModelChoice(
        backbones=backbone or (),
        weights=weights,
        layer=layer,
        pooling=pooling,
        precision=precision,
        head=head,
    )
    choice.check()
    check_pruning(prune=prune, force=force)
    rules = RuleChoice(
        exclude=() if no_exclude else exclude,
        default_excludes=default_excludes,
        follow_links=follow_links,
        class_level=class_level,
    )
    rules.check()
    whose, *others = describe_datasets(folders, dataset, moved=new_root, may_be_missing=force)
    for asked in (whose, *others):
        rules.check_for(asked.root)
    if labels is not None and others:
        raise UsageError(
            "the paths of a label table are relative to one folder; ingest each folder separately",
            argument=Argument.LABELS,
        )
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    label_of = partial(
        choose_synset_labels,
        names=parse_path(str(synsets), "--synsets") if synsets else None,
        solution=parse_path(str(val_solution), "--val-solution") if val_solution else None,
    )
    request = IngestRequest(
        dataset=whose,
        specs=choice.resolve(settings),
        distances=list(dict.fromkeys(distance or [Distance.COSINE])),
        labels=load_labels(parse_path(str(labels), "--labels"), whose.root) if labels else {},
        label_of=label_of(whose.root),
        subset=None if max_per_class is None else Subset(max_per_class=max_per_class, seed=seed or 0),
        rules=rules,
        batch_size=batch_size,
        max_pixels=max_pixels,
        dry_run=dry_run,
        prune=prune,
        force=force,
        rehash=rehash,
        quantize=quantize,
    )
    requests = [request, *(replace(request, dataset=each, label_of=label_of(each.root)) for each in others)]
    if max_per_class is not None:
        say(f"taking at most {format_count(max_per_class, 'image')} of each class, by seed {seed or 0}")
    problems: list[LookalikeError] = []
    with store_in_use(store, settings) as opened, stop_on_interrupt() as stop:
        outcomes = run_ingests(requests, store=opened, settings=settings, stop=stop)
        for each, outcome in zip(requests, outcomes, strict=False):
            if isinstance(outcome, UsageError):
                problems.append(outcome)
                if as_json and others:
                    show_json(_problem_json(each, outcome))
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
        show_json(_report_json(report))
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
        say_dropped_calibration(collection.name, collection.calibration_dropped)
    if report.unused_labels:
        say(f"warning: no image here for {format_count(report.unused_labels, 'row')} of the label table")


def _report_lines(report: IngestReport, *, dry_run: bool) -> list[str]:
    words = ("added", "updated", "moved", "unchanged", "removed")
    width = max(cell_width(collection.name) for collection in report.collections)
    lines = [
        f"{report.dataset.name}: {format_count(report.found, 'image')} in {report.dataset.root}"
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


def _problem_json(request: IngestRequest, problem: UsageError) -> records.FailedIngest:
    dataset = request.dataset
    return {"schema": 1, "dataset": dataset.name, "root": dataset.root, "error": full_message(problem)}


def _report_json(report: IngestReport) -> records.Ingest:
    return {
        "schema": 1,
        "dataset": report.dataset.name,
        "root": report.dataset.root,
        "store": report.store,
        "interrupted": report.interrupted,
        "found": report.found,
        "not_taken": report.not_taken,
        "skipped": records.skipped_json(report.skipped),
        "other_files": {
            "total": report.others.total,
            "by_suffix": dict(report.others.by_suffix.most_common()),
        },
        "excluded": {"folders": report.others.excluded_folders, "images": report.others.excluded_images},
        "linked_folders": report.others.linked_folders,
        "rules": report.dataset.rules,
        "split_classes": list(report.split_classes),
        "unused_labels": report.unused_labels,
        "overlapping_datasets": [{"dataset": each.name, "root": each.root} for each in report.overlapping],
        "gone_datasets": [
            {"dataset": each.name, "root": each.root, "points": each.points, "shared": each.shared}
            for each in report.gone_datasets
        ],
        "collections": [
            {
                "name": collection.name,
                "provider": collection.provider,
                "added": collection.counts["added"],
                "updated": collection.counts["updated"],
                "moved": collection.counts["moved"],
                "unchanged": collection.counts["unchanged"],
                "removed": collection.counts["removed"],
                "excluded": collection.counts["excluded"],
                "removed_paths": collection.removed,
                "away_paths": collection.away,
            }
            for collection in report.collections
        ],
        "took_ms": round(report.took_s * 1000),
        "images_per_second": round(report.images_per_second, 2),
        "from_stored": report.from_stored,
    }
