"""The `search audit` command."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import HtmlOption, JsonOption, StoreOption, seed_option
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.outputs import PAGE_SUFFIXES, check_apart, check_output_path
from lookalike_core.stores.points import PointFilter
from lookalike_core.text import format_count

from lookalike_search.analysis.audit import FALSE_DISCOVERIES, Audit, audit_collection
from lookalike_search.analysis.audit_json import audit_json
from lookalike_search.commands.audit_format import audit_lines
from lookalike_search.commands.audit_table import (
    is_findings,
    is_labels,
    require_one_dataset,
    write_findings,
    write_labels,
)
from lookalike_search.commands.search_options import (
    BackboneOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    NearAboveOption,
    open_chosen_collection,
    parse_confidence,
)

SHOWN = 20
"""Findings of each kind that are shown, unless told otherwise."""

MOST_SHOWN = 10_000
"""Findings of each kind that can be shown."""


def audit(
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    dataset: DatasetOption = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            "--fdr",
            metavar="PERCENT",
            parser=parse_confidence,
            help="Share of wrong labels, outliers and classes listed that may be false; default: 5%.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, max=MOST_SHOWN, metavar="N", help="Findings of each kind to show."),
    ] = SHOWN,
    near_above: NearAboveOption = NEAR_ABOVE,
    files: Annotated[
        bool, typer.Option("--files", help="Also read the files, to find blank, dark and blurred images.")
    ] = False,
    seed: Annotated[int, seed_option("of the folds of outliers")] = 0,
    html: HtmlOption = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every finding to FILE.")
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            "--apply",
            metavar="FILE.csv",
            help="Write the suggested classes as a table for ingest run --labels; nothing else is changed.",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Find wrong labels, outliers and leaks.

    Leaks are duplicates in other splits; classes that look the same are named.
    """
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    table = labels = None
    if csv_file is not None:
        table = check_output_path(csv_file, "--csv", (".csv",), is_ours=is_findings)
    if apply is not None:
        labels = check_output_path(apply, "--apply", (".csv",), is_ours=is_labels)
    rate = FALSE_DISCOVERIES if fdr is None else fdr
    check_apart({"--html": page, "--csv": table, "--apply": labels})
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (opened, source):
        say(f"collection: {source.name}")
        found = audit_collection(
            source,
            where=PointFilter(dataset=dataset),
            false_discoveries=rate,
            near_above=near_above,
            read_files=files,
            seed=seed,
        )
        label = opened.label
    if labels is not None:
        require_one_dataset(found)
    if as_json:
        show_json(audit_json(found, label, limit=limit, false_discoveries=rate))
    else:
        show(*audit_lines(found, limit=limit, false_discoveries=rate))
    if table is not None:
        write_findings(table, found)
    if labels is not None:
        write_labels(labels, found)
        say(f"labels: {format_count(len(found.wrong_labels), 'row')} in {labels}, for ingest run --labels")
    if page is not None:
        _write_page(page, found, limit, rate)


def _write_page(path: Path, found: Audit, limit: int, false_discoveries: float) -> None:
    from lookalike_search.reports.audit import audit_page

    audit_page(found, limit=limit, false_discoveries=false_discoveries).write(path)
