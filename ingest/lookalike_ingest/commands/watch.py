"""`ingest watch`: keep collections up to date with folders."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core import progress
from lookalike_core.cli.console import Verbose, say, show_json
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
    refuse_nan,
    store_in_use,
)
from lookalike_core.cli.progress_lines import ProgressLines
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Store

from lookalike_ingest.commands.ingest_options import (
    BackboneOption,
    BatchSizeOption,
    ClassLevelOption,
    DatasetOption,
    DefaultExcludesOption,
    DistanceOption,
    ExcludeOption,
    FoldersArgument,
    FollowLinksOption,
    LabelsOption,
    NewRootOption,
    NoExcludeOption,
    PruneAfterOption,
    PruneOption,
    QuantizeOption,
    SynsetsOption,
    ValSolutionOption,
)
from lookalike_ingest.commands.interruption import stop_on_signals
from lookalike_ingest.commands.json_records import Watch
from lookalike_ingest.commands.notices import list_some, say_dropped_calibration, saying_once
from lookalike_ingest.commands.report_records import report_json
from lookalike_ingest.commands.requested_ingests import RequestedIngests, choose_rules
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.report import CollectionReport, IngestReport
from lookalike_ingest.request import ModelChoice, StopRequest, describe_dataset
from lookalike_ingest.run import run_ingest
from lookalike_ingest.watching.watch import WatchedFolders, WatchRun, require_watchable, watch_folders

_CHANGES = ("added", "updated", "moved", "removed")


def watch(
    folders: FoldersArgument,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    dataset: DatasetOption = None,
    new_root: NewRootOption = False,
    labels: LabelsOption = None,
    synsets: SynsetsOption = None,
    val_solution: ValSolutionOption = None,
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
    batch_size: BatchSizeOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    prune: PruneOption = False,
    prune_after: PruneAfterOption = None,
    poll: Annotated[
        float | None,
        typer.Option(
            "--poll",
            min=1,
            max=86_400,
            metavar="SECONDS",
            callback=refuse_nan,
            help="Scan DIR every SECONDS; for file systems without change events, such as network ones.",
        ),
    ] = None,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Keep collections up to date with folders.

    Runs the ingest once at the start, after changes, and once an hour, until it is stopped.
    """
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
    )
    roots = [each.root for each in asked.check()]
    require_watchable(roots)
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    with ExitStack() as stack:
        opened = stack.enter_context(store_in_use(store, settings))
        stop = stack.enter_context(stop_on_signals())
        forget = stack.enter_context(saying_once())
        runs = watch_folders(_watched(asked, roots, opened, settings, stop, poll))
        output = _Output(as_json=as_json)
        try:
            for number, run in enumerate(runs):
                with stop.showing():
                    output.show(run)
                    forget()
                if not number:
                    stack.enter_context(progress.shown_by(_progress_lines))
                    say(f"watching {', '.join(map(str, roots))}")
        except KeyboardInterrupt:
            if not stop.requested:
                raise
        finally:
            runs.close()
    say("stopped")


def _watched(
    asked: RequestedIngests,
    roots: list[Path],
    store: Store,
    settings: Settings,
    stop: StopRequest,
    poll_s: float | None,
) -> WatchedFolders[IngestReport]:
    """Returns what to watch; each ingest reads tables of classes and a head anew, as a new command does."""
    embedders = Embedders(settings)

    def ingest(root: Path) -> IngestReport:
        dataset = describe_dataset(root, asked.dataset, moved=asked.new_root)
        request = asked.request(dataset, settings)
        return run_ingest(request, store=store, settings=settings, stop=stop, embedders=embedders)

    return WatchedFolders(
        roots=roots,
        ingest=ingest,
        rules_of=attrgetter("dataset.rules"),
        is_stopped=lambda: stop.requested,
        is_local=store.local is not None,
        tables=asked.tables,
        poll_s=poll_s,
    )


class _Output:
    """Shows the runs of a watch: a line for one that changed something, and what is skipped, once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._skipped: dict[Path, set[str]] = {}
        """The lines about skipped images of the last run of each folder."""

    def show(self, run: WatchRun[IngestReport]) -> None:
        """Shows a run."""
        reports = [folder.report for folder in run.folders if folder.report is not None]
        for report in reports:
            self._warn(report)
        if changes := [_describe(report) for report in reports if _has_changed(report)]:
            say("; ".join(changes))
        if self._as_json:
            show_json(_watch_json(run))

    def _warn(self, report: IngestReport) -> None:
        root = report.dataset.root
        lines = {f"{skipped.path!r}: {skipped.reason}": None for skipped in report.skipped}
        before = self._skipped.get(root, set())
        list_some("skipped", [line for line in lines if line not in before])
        self._skipped[root] = set(lines)
        for collection in report.collections:
            say_dropped_calibration(collection.name, collection.calibration_dropped)


def _has_changed(report: IngestReport) -> bool:
    return any(collection.counts[change] for collection in report.collections for change in _CHANGES)


def _describe(report: IngestReport) -> str:
    """Returns what an ingest changed, by collection; those with the same changes are named together."""
    names: dict[str, list[str]] = {}
    for collection in report.collections:
        if counted := _count_changes(collection):
            names.setdefault(counted, []).append(collection.name)
    said = "; ".join(f"{counted} in {', '.join(each)}" for counted, each in names.items())
    return f"{report.dataset.name}: {said} ({report.took_s:.1f} s)"


def _count_changes(collection: CollectionReport) -> str:
    counts = ((change, collection.counts[change]) for change in _CHANGES)
    return ", ".join(f"{count} {change}" for change, count in counts if count)


def _watch_json(run: WatchRun[IngestReport]) -> Watch:
    started = datetime.now(UTC) - timedelta(seconds=run.took_s)
    return {
        "schema": 1,
        "started_at": started.isoformat(timespec="seconds"),
        "trigger": run.trigger,
        "folders": [
            {
                "root": folder.root,
                "report": None if folder.report is None else report_json(folder.report),
                "waiting": folder.is_waiting,
                "error": folder.problem,
            }
            for folder in run.folders
        ],
        "took_ms": round(run.took_s * 1000),
    }


@contextmanager
def _progress_lines(title: str, *, unit: str, total: int | None) -> Iterator[progress.Bar]:
    """Shows long work as lines, since a bar for each run would say much about nothing."""
    yield ProgressLines(title, unit=unit, total=total, say=say)
