"""The `ingest` command."""

import signal  # noqa: TID251 - an ingest that is interrupted finishes its batch
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from lookalike_core.atomic import named_path
from lookalike_core.cli.console import Verbose, command_app, confirm, run_command, say, show, show_json
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
from lookalike_core.cli.table import cell_width, padded
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.stores.retries import is_waiting

from lookalike_ingest.rebuild import RebuildOptions, RebuildReport, rebuild
from lookalike_ingest.removal import holdings, remove_dataset
from lookalike_ingest.request import ModelChoice, dataset_in, labels_in, take_subset
from lookalike_ingest.run import IngestReport, IngestRequest, StopRequest, check_pruning, run_ingest
from lookalike_ingest.status import CollectionStatus, collection_statuses
from lookalike_ingest.subset import Subset
from lookalike_ingest.synsets import synset_labels

BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        max=1024,
        metavar="N",
        help="Pictures per run of the network; default: 16, on a GPU 128.",
    ),
]

QuantizeOption = Annotated[
    VectorQuantization | None,
    typer.Option("--quantize", help="Search by short forms of the vectors, which take less memory."),
]

app = command_app("Turn a folder of pictures into searchable collections.")

SHOWN = 20
"""Of skipped or removed pictures, by name; all of them are in the JSON."""


@app.command("run")
def run(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of pictures.")],
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", metavar="BACKBONE", help="resnet (default) or vgg; may be repeated."),
    ] = None,
    distance: Annotated[
        list[Distance] | None, typer.Option("--distance", help="cosine (default) or euclid; may be repeated.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="The pictures' name; default: the folder's."),
    ] = None,
    new_root: Annotated[
        bool, typer.Option("--new-root", help="The dataset's folder has moved here.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="CSV", help="A table with the header path,class."),
    ] = None,
    synsets: Annotated[
        Path | None,
        typer.Option("--synsets", metavar="FILE", help="What ImageNet's folders are called, as n01440764."),
    ] = None,
    val_solution: Annotated[
        Path | None,
        typer.Option("--val-solution", metavar="CSV", help="The classes of ImageNet's validation pictures."),
    ] = None,
    max_per_class: Annotated[
        int | None,
        typer.Option("--max-per-class", min=1, metavar="N", help="Take so many pictures of each class."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="With --max-per-class: which; default 0.")
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
        bool, typer.Option("--dry-run", help="Say what would be done, and store nothing.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the points of files that are gone.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --prune: also where no picture at all is left.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where a picture was skipped.")
    ] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Bring collections up to date with a folder."""
    if seed is not None and max_per_class is None:
        raise UsageError("--seed is for --max-per-class: it says which pictures are taken")
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
    whose = dataset_in(folder, dataset, moved=new_root, may_be_missing=force)
    settings = Settings.from_environment().on_provider(provider, require_gpu=require_gpu, threads=threads)
    request = IngestRequest(
        dataset=whose,
        specs=choice.resolve(settings),
        distances=list(dict.fromkeys(distance or [Distance.COSINE])),
        labels=labels_in(named_path(str(labels), "--labels"), whose.root) if labels else {},
        label_of=synset_labels(
            whose.root,
            names=named_path(str(synsets), "--synsets") if synsets else None,
            solution=named_path(str(val_solution), "--val-solution") if val_solution else None,
        ),
        batch_size=batch_size,
        max_pixels=max_pixels,
        dry_run=dry_run,
        prune=prune,
        force=force,
        quantize=quantize,
    )
    if max_per_class is not None:
        subset = Subset(max_per_class=max_per_class, seed=seed or 0)
        say(f"taking at most {max_per_class} pictures of each class, by seed {subset.seed}")
        request = take_subset(request, subset)
    with store_in_use(store, settings) as opened, stopping_on_interrupt() as stop:
        report = run_ingest(request, store=opened, settings=settings, stop=stop)
    _warn(report, dry_run=dry_run)
    if as_json:
        show_json(_report_json(report))
    else:
        show(*_report_lines(report, dry_run=dry_run))
    if report.interrupted:
        raise KeyboardInterrupt
    report.check(strict=strict)


@app.command("status")
def status(store: StoreOption = None, as_json: JsonOption = False, verbose: Verbose = False) -> None:  # noqa: ARG001
    """Show the collections and what is in them."""
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        collections, holder = list(collection_statuses(opened)), opened.ingest_under_way()
        if as_json:
            listing = [_status_json(collection) for collection in collections]
            show_json(
                {"schema": 1, "store": opened.label, "collections": listing, "ingest_under_way": holder}
            )
            return
        if holder is not None:
            show(f"an ingest into this store is under way, by {holder}")
        elif not collections:
            show("no collections yet; make one with: ingest run DIR")
        for collection in collections:
            show(*_status_lines(collection))


@app.command("rebuild")
def rebuild_collection(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection to make anew.")],
    batch_size: BatchSizeOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    quantize: QuantizeOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Leave out images that are away or cannot be read.")
    ] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Make a collection anew from its datasets; the old one stays until the new one is whole."""
    settings = Settings.from_environment().on_provider(provider, require_gpu=require_gpu, threads=threads)
    options = RebuildOptions(batch_size=batch_size, max_pixels=max_pixels, force=force, quantize=quantize)
    with store_in_use(store, settings) as opened, stopping_on_interrupt() as stop:
        report = rebuild(collection, options, store=opened, settings=settings, stop=stop)
    _warn_of_skipped(report)
    if report.interrupted:
        raise KeyboardInterrupt
    report.check()
    _say_dropped(collection, report.calibration_dropped)
    if as_json:
        show_json(_rebuild_json(report))
    else:
        show(_rebuild_text(report))


@app.command("remove")
def remove(
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="Whose points go; the pictures stay.")
    ],
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", help="Only from this one; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Take a dataset out of the collections that hold it."""
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        found = holdings(dataset, store=opened, among=collection or ())
        for holding in found:
            say(f"{holding.collection} holds {holding.points} points of {dataset}")
        if not yes:
            _confirm("remove them?")
        removed = list(remove_dataset(dataset, store=opened, among=found))
        for holding in removed:
            _say_dropped(holding.collection, holding.calibration_dropped)
        if as_json:
            listing = [{"name": holding.collection, "removed": holding.points} for holding in removed]
            answer = {"schema": 1, "dataset": dataset, "store": opened.label, "collections": listing}
            show_json(answer)
            return
        for holding in removed:
            show(f"removed {holding.points} points of {dataset} from {holding.collection}")


@app.command("sample")
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to draw them; made if need be.")],
    query: Annotated[
        Path | None, typer.Option("--query", help="Draw one more picture here, which is not in the set.")
    ] = None,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Draw a small labelled set of pictures for a first try."""
    from lookalike_ingest.sample_images import CLASSES, check_query, draw_query, draw_sample

    folder = named_path(str(folder), "DIR")
    if query is not None:
        query = named_path(str(query), "--query")
        check_query(query, CLASSES[0], sample=folder)
    drawn = draw_sample(folder)
    show(f"drew {drawn.pictures} pictures of {len(drawn.classes)} classes in {drawn.directory}")
    if query is not None:
        draw_query(query, CLASSES[0])
        show(f"drew {query}, a picture of class {CLASSES[0]} that is not in the set")


def _confirm(question: str) -> None:
    """Asks on the terminal.

    Raises:
        UsageError: there is no terminal to ask on.
        LookalikeError: the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; add --yes to go ahead")
    if not confirm(question):
        raise LookalikeError("nothing was changed")


@contextmanager
def stopping_on_interrupt() -> Iterator[StopRequest]:
    """The first Ctrl-C lets the batch in hand be finished, where there is one; the second does not.

    Nor does the first where a server is waited for.
    """
    stop = StopRequest()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        if stop.requested or not stop.waits_for_batch or is_waiting():
            raise KeyboardInterrupt
        stop.requested = True
        say("stopping after the batch in hand; Ctrl-C once more stops at once")

    before = signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _warn(report: IngestReport, *, dry_run: bool) -> None:
    _warn_of_skipped(report)
    for collection in report.collections:
        verb = "would remove from" if dry_run else "removed from"
        _list(f"{verb} {collection.name}:", [repr(path) for path in collection.removed])
        _say_dropped(collection.name, collection.calibration_dropped)
    if report.unused_labels:
        say(f"warning: {report.unused_labels} rows of the labels name no picture here")


def _say_dropped(collection: str, dropped: bool) -> None:
    if dropped:
        say(
            f"the calibration of {collection} was dropped, since its pictures have changed; "
            f"make it anew with: search calibrate --collection {collection}"
        )


def _warn_of_skipped(report: IngestReport | RebuildReport) -> None:
    _list("skipped", [f"{skipped.path!r}: {skipped.reason}" for skipped in report.skipped])
    for needed, count in report.needed.items():
        say(f"warning: {count} of the skipped pictures can be read once this is installed: {needed}")


def _list(verb: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"{verb} {line}")
    if len(lines) > SHOWN:
        say(f"{verb} {len(lines) - SHOWN} more; --json lists them all")


def _report_lines(report: IngestReport, *, dry_run: bool) -> list[str]:
    counted = ("added", "updated", "moved", "unchanged", "removed")
    width = max(cell_width(collection.name) for collection in report.collections)
    lines = [
        f"{report.dataset.name}: {report.found} pictures in {report.dataset.root}"
        + (f", {report.not_taken} more left out by --max-per-class" if report.not_taken else "")
        + (", a dry run: nothing was stored" if dry_run else ""),
        "  ".join([padded("collection", width), *(f"{word:>9}" for word in counted)]),
    ]
    for collection in report.collections:
        numbers = (f"{collection.counts[word]:>9}" for word in counted)
        lines.append("  ".join([padded(collection.name, width), *numbers]))
    speed = f", {report.images_per_second:.1f} images/s" if report.embedded else ""
    stored = f", {report.from_stored} from stored vectors" if report.from_stored else ""
    lines += [str(report.others)] if report.others.total else []
    return [*lines, f"{report.took_s:.1f} s{speed}{stored}, {len(report.skipped)} skipped"]


def _report_json(report: IngestReport) -> dict[str, Any]:
    return {
        "schema": 1,
        "dataset": report.dataset.name,
        "root": str(report.dataset.root),
        "store": report.store,
        "found": report.found,
        "not_taken": report.not_taken,
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in report.skipped],
        "other_files": {
            "total": report.others.total,
            "by_suffix": dict(report.others.by_suffix.most_common()),
        },
        "unused_labels": report.unused_labels,
        "collections": [
            {
                "name": collection.name,
                "provider": collection.provider,
                **{
                    word: collection.counts[word]
                    for word in ("added", "updated", "moved", "unchanged", "removed")
                },
                "removed_paths": collection.removed,
            }
            for collection in report.collections
        ],
        "took_ms": round(report.took_s * 1000),
        "images_per_second": round(report.images_per_second, 2),
        "from_stored": report.from_stored,
    }


def _rebuild_text(report: RebuildReport) -> str:
    out = f", {len(report.left_out)} left out" if report.left_out else ""
    gone = f", {report.gone} whose images are away went with the old one" if report.gone else ""
    how = (
        f" ({report.taken_over} vectors taken over, {report.embedded} embedded)" if report.taken_over else ""
    )
    return f"{report.name}: {report.points} points made anew in {report.took_s:.1f} s{how}{out}{gone}"


def _rebuild_json(report: RebuildReport) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": report.name,
        "store": report.store,
        "points": report.points,
        "gone": report.gone,
        "left_out": [str(file) for file in report.left_out],
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in report.skipped],
        "embedded": report.embedded,
        "taken_over": report.taken_over,
        "took_ms": round(report.took_s * 1000),
    }


def _status_json(collection: CollectionStatus) -> dict[str, Any]:
    return {
        "name": collection.name,
        "manifest": collection.manifest.to_json(),
        "points": collection.points,
        "datasets": collection.datasets,
        "classes": collection.classes,
        "outdated": list(collection.outdated),
        "rebuild_begun": collection.rebuild_begun,
    }


def _status_lines(collection: CollectionStatus) -> list[str]:
    manifest, identity = collection.manifest, collection.manifest.identity
    datasets = (
        f"  dataset {name}: {count} pictures in {manifest.datasets.get(name, 'an unknown folder')}"
        for name, count in collection.datasets.items()
    )
    again = f"ingest rebuild {collection.name}"
    hints = [f"made by another version: {each}; {again}" for each in collection.outdated]
    hints += [f"a rebuild was begun: {again}"] if collection.rebuild_begun else []
    classes = (f"{name or '(none)'} {count}" for name, count in collection.classes.items())
    head = f" and the head {identity.head}" if identity.head else ""
    short = manifest.vector_quantization
    stored = "" if short is VectorQuantization.NONE else f", searched by {short}"
    return [
        f"{collection.name}: {collection.points} points",
        f"  {identity.backbone} {identity.layer} {identity.pooling}{head}, {identity.dimension} values",
        f"  {manifest.distance}, {identity.preprocessing}, {identity.precision_class}{stored}",
        f"  weights {manifest.weights.kind} {identity.weights_fingerprint[:16]}",
        *datasets,
        f"  classes: {', '.join(classes)}",
        *(f"  {hint}" for hint in hints),
    ]


def main() -> NoReturn:
    """The console command."""
    run_command(app)
