"""`ingest rebuild`: rebuild a collection from its datasets."""

from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import (
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    store_in_use,
)
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import choose_layout
from lookalike_core.text import format_count

from lookalike_ingest.commands import json_records as records
from lookalike_ingest.commands.ingest_options import (
    BatchSizeOption,
    QuantizeOption,
    ReplicasOption,
    ShardsOption,
    WriteConsistencyOption,
)
from lookalike_ingest.commands.interruption import stop_on_interrupt
from lookalike_ingest.commands.notices import say_dropped_calibration, warn_of_skipped
from lookalike_ingest.rebuild import RebuildOptions, RebuildReport, rebuild


def rebuild_(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection to rebuild.")],
    batch_size: BatchSizeOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    quantize: QuantizeOption = None,
    shards: ShardsOption = None,
    replicas: ReplicasOption = None,
    write_consistency: WriteConsistencyOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Rebuild without images that are missing or cannot be read.")
    ] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Build a collection again from its images.

    The old one stays until the new one is complete.
    """
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    options = RebuildOptions(
        batch_size=batch_size,
        max_pixels=max_pixels,
        force=force,
        quantize=quantize,
        layout=choose_layout(shards=shards, replicas=replicas, write_consistency=write_consistency),
    )
    with store_in_use(store, settings) as opened, stop_on_interrupt() as stop:
        report = rebuild(collection, options, store=opened, settings=settings, stop=stop)
    warn_of_skipped(report)
    if report.interrupted:
        raise KeyboardInterrupt
    report.check()
    say_dropped_calibration(collection, report.calibration_dropped)
    if as_json:
        show_json(_rebuild_json(report))
    else:
        show(_rebuild_text(report))


def _rebuild_text(report: RebuildReport) -> str:
    out = f", {len(report.left_out)} left out" if report.left_out else ""
    gone = f", {report.gone} dropped, since their images no longer exist" if report.gone else ""
    taken = format_count(report.taken_over, "vector")
    how = f" ({taken} taken over, {report.embedded} embedded)" if report.taken_over else ""
    points = format_count(report.points, "point")
    return f"{report.name}: {points} rebuilt in {report.took_s:.1f} s{how}{out}{gone}"


def _rebuild_json(report: RebuildReport) -> records.Rebuild:
    return {
        "schema": 1,
        "name": report.name,
        "store": report.store,
        "points": report.points,
        "gone": report.gone,
        "left_out": report.left_out,
        "skipped": records.skipped_json(report.skipped),
        "embedded": report.embedded,
        "taken_over": report.taken_over,
        "took_ms": round(report.took_s * 1000),
    }
