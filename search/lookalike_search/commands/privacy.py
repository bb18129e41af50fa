"""The `search privacy` command."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import (
    HtmlOption,
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    seed_option,
    store_in_use,
)
from lookalike_core.cli.table import align_columns
from lookalike_core.errors import UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.outputs import PAGE_SUFFIXES, check_output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.points import PointFilter

from lookalike_search.analysis.inversion_attack import FEWEST, RECOGNISED, Asymmetry, Group, Row
from lookalike_search.analysis.privacy import LIMIT, MOST, PrivacyReport, measure_privacy, sample_vectors
from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.interval_format import interval_json
from lookalike_search.commands.search_options import (
    BackboneOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
)
from lookalike_search.evaluation.bootstrap import Estimate

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

MOST_NAMES = 5
"""Classes that are named in the text."""


def privacy(
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    head: HeadOption = None,
    dataset: DatasetOption = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=FEWEST, max=MOST, metavar="N", help="Attack at most N images, a random sample."
        ),
    ] = LIMIT,
    recognised: Annotated[
        int,
        typer.Option(
            "--recognised",
            min=0,
            max=MOST,
            metavar="N",
            help="Embed N reconstructions of each kind, to see if their class is recognised; 0 for none.",
        ),
    ] = RECOGNISED,
    seed: Annotated[int, seed_option("of the sample, the splits and the decoders", most=2**32 - 1)] = 0,
    html: HtmlOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Measure what stored vectors give away.

    An attacker reconstructs images from them.
    """
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    if not recognised and (provider is not None or require_gpu or threads is not None):
        raise UsageError(
            "no reconstruction is embedded, so that an execution provider and its threads have no effect; "
            "leave them out, or embed some with --recognised"
        )
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    selector = CollectionSelector(
        names=collection or (),
        backbone=backbone,
        distance=distance,
        head=head,
    )
    with store_in_use(store, settings) as opened:
        with opened.open(selector.resolve_one(opened, settings=settings)) as source:
            sampled = sample_vectors(source, limit=limit, seed=seed, where=PointFilter(dataset=dataset))
        label = opened.label
    report = measure_privacy(
        sampled, settings=settings, seed=seed, recognised=recognised, max_pixels=max_pixels
    )
    if page is not None:
        from lookalike_search.reports.privacy import privacy_page

        privacy_page(report, seed=seed).write(page)
        say(f"wrote {page}")
    if as_json:
        show_json(_json(report, label, page, seed))
    else:
        show(*_lines(report))


def _lines(report: PrivacyReport) -> Iterator[str]:
    yield from _sample_lines(report)
    yield ""
    yield from _table_lines(report.result.rows)
    yield ""
    yield from _chance_lines(report)
    for asymmetry in report.result.asymmetries:
        yield from _asymmetry_lines(asymmetry)
    yield from report.result.missing
    yield "this attacker gains by near-duplicates among the images trained on; a stronger one may see more"
    yield ""


def _sample_lines(report: PrivacyReport) -> Iterator[str]:
    images, dimension = len(report.payloads), report.manifest.identity.dimension
    of = f" of {report.total:,}" if images < report.total else ""
    yield f"{report.collection}: {images:,}{of} different images, vectors of {dimension:,} values"
    reasons = [f"{count:,} {reason}" for reason, count in sorted(report.left_out.items())]
    reasons += [f"{report.duplicates:,} with the same bytes as others"] if report.duplicates else []
    if reasons:
        yield f"left out: {', '.join(reasons)}"
    yield (
        f"this attacker has the vectors, and trains decoders to 32 x 32 pixels on "
        f"{report.result.trained_on:,} of the images"
    )


def _table_lines(rows: Sequence[Row]) -> list[str]:
    """Returns the table: a line of means for each row, and below it their 95 % intervals."""
    head = ["", "PSNR", "SSIM", f"first of {rows[0].candidates:,}", "first ten", "recognised", ""]
    cells = [head]
    for row in rows:
        name = f"{row.attacker}, {row.group}" if row.attacker else str(row.group)
        shares = [row.first, row.in_ten, row.recognised]
        cells.append(
            [name, f"{row.psnr.value:.1f}", f"{row.ssim.value:.2f}", *(_share(each) for each in shares), ""]
        )
        ends = [_ends(row.psnr, 1, 1), _ends(row.ssim, 1, 2), *(_ends(each, 100, 1) for each in shares)]
        cells.append(["", *ends, ""])
    return [line.rstrip() for line in align_columns(cells, "<" + ">" * 5)]


def _share(found: Estimate | None) -> str:
    return "-" if found is None else f"{found.value:.1%}"


def _ends(found: Estimate | None, scale: float, digits: int) -> str:
    if found is None or found.low != found.low:
        return ""
    return f"{scale * found.low:.{digits}f}-{scale * found.high:.{digits}f}"


def _chance_lines(report: PrivacyReport) -> Iterator[str]:
    rows = report.result.rows
    yield f"chance: {_chances(rows[0])}; trained on and unseen are the same {rows[0].images:,} images"
    other = next((row for row in rows if row.group is Group.UNSEEN_CLASSES), None)
    if other is None:
        return
    names = report.result.unseen_classes
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    yield f"unseen classes: {', '.join(names[:MOST_NAMES])}{more}"
    if other.candidates != rows[0].candidates:
        yield f"chance there, of {other.candidates:,} candidates: {_chances(other)}"


def _chances(row: Row) -> str:
    return f"{row.chance_of_first:.1%} for the first, {row.chance_of_ten:.1%} for the first ten"


def _asymmetry_lines(asymmetry: Asymmetry) -> Iterator[str]:
    difference = asymmetry.difference
    ends = _ends(difference, 100, 1)
    yield (
        f"this attacker by {asymmetry.attacker}: {100 * difference.value:+.1f} points of first for images "
        f"trained on{f' ({ends})' if ends else ''}, p {asymmetry.p:.4f}"
    )


def _json(report: PrivacyReport, store: str, page: Path | None, seed: int) -> "records.CollectionPrivacy":
    result = report.result
    return {
        "schema": 1,
        "collection": report.collection,
        "store": store,
        "html": page,
        "images": len(report.payloads),
        "total": report.total,
        "duplicates": report.duplicates,
        "left_out": report.left_out,
        "trained_on": result.trained_on,
        "seed": seed,
        "provider": report.provider,
        "groups": [_row_json(row) for row in result.rows],
        "asymmetries": [
            {"attacker": each.attacker, "images": each.images, **interval_json(each.difference), "p": each.p}
            for each in result.asymmetries
        ],
        "unseen_classes": result.unseen_classes,
        "missing": result.missing,
    }


def _row_json(row: Row) -> "records.Reconstructed":
    return {
        "group": row.group,
        "attacker": row.attacker,
        "images": row.images,
        "candidates": row.candidates,
        "psnr": interval_json(row.psnr),
        "ssim": interval_json(row.ssim),
        "first": interval_json(row.first),
        "in_ten": interval_json(row.in_ten),
        "recognised": None if row.recognised is None else interval_json(row.recognised),
        "embedded": row.embedded,
    }
