"""The `search neighbours` command."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from lookalike_core import progress
from lookalike_core.atomic import atomic_path
from lookalike_core.cli.console import TableOutput, Verbose, say
from lookalike_core.cli.options import StoreOption
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.outputs import TABLE_SUFFIXES, check_output_path
from lookalike_core.stores.points import PointFilter, SearchHit
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import json_line

from lookalike_search.analysis.all_neighbours import SceneList, find_all_scenes, is_small
from lookalike_search.commands.search_options import (
    BackboneOption,
    ClassOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    FoldNearOption,
    NearAboveOption,
    open_chosen_collection,
)

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

COLUMNS = (
    "dataset",
    "path",
    "class",
    "rank",
    "score",
    "neighbour_dataset",
    "neighbour_path",
    "neighbour_class",
)


class TableFormat(StrEnum):
    """The format of the table."""

    CSV = "csv"
    JSONL = "jsonl"


_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def neighbours(
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="Number of neighbours per image.")
    ] = 10,
    class_name: ClassOption = None,
    dataset: DatasetOption = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Exact search; the default up to 50,000 images.")
    ] = False,
    indexed: Annotated[
        bool, typer.Option("--indexed", help="Search by the store's index; the default for more images.")
    ] = False,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Keep images with the same bytes as the query.")
    ] = False,
    without_near: FoldNearOption = False,
    near_above: NearAboveOption = NEAR_ABOVE,
    table_format: Annotated[
        TableFormat | None,
        typer.Option(
            "--format", help="csv, or jsonl (an object per image); default: by the suffix of --output."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Print the nearest neighbours of every image, as a table."""
    if exact and indexed:
        raise UsageError("--exact and --indexed exclude each other; leave one of them out")
    write = _WRITERS[_format(table_format, output, as_json)]
    output = check_output_path(output, "--output", ("", *TABLE_SUFFIXES)) if output is not None else None
    where = PointFilter(class_name=class_name, dataset=dataset)
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (_, source), _table(output) as table:
        in_numpy = exact or (not indexed and is_small(source, where))
        how = "by brute force" if in_numpy else "by the store's own search"
        how += f", near-duplicates folded (similarity over {near_above:g})" if without_near else ""
        found = find_all_scenes(
            source,
            limit=limit,
            where=where,
            include_copies=include_self,
            exact=in_numpy,
            above=near_above if without_near else None,
        )
        with progress.shown_by(None) if _is_on_terminal(table) else nullcontext():  # no bar between its lines
            count = write(table, _show_progress(found, source, where), without_near)
        say(f"collection: {source.name}, {count} images, {how}")


def _format(named: TableFormat | None, output: Path | None, as_json: bool) -> TableFormat:
    if as_json:
        if named is TableFormat.CSV:
            raise UsageError("--json is --format jsonl; leave --format csv out")
        return TableFormat.JSONL
    if named is not None:
        return named
    is_json = output is not None and output.suffix.lower() in _JSON_SUFFIXES
    return TableFormat.JSONL if is_json else TableFormat.CSV


class Table(Protocol):
    """A destination of records."""

    def write(self, record: str, /) -> object:
        """Writes one record, which ends with a line break."""


@contextmanager
def _table(output: Path | None) -> Iterator[Table]:
    """Yields stdout, or a file that appears once it is complete."""
    if output is None:
        shown = TableOutput()
        yield shown
        shown.flush()
        return
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def _is_on_terminal(table: Table) -> bool:
    return isinstance(table, TableOutput) and table.is_terminal


def _show_progress(
    found: Iterable[SceneList], collection: Collection, where: PointFilter
) -> Iterator[SceneList]:
    """Yields the images unchanged and shows a progress bar."""
    with progress.bar(collection.name, unit="images", total=collection.count(where)) as bar:
        for each in found:
            yield each
            bar.advance(1)


class _UnixLines:
    """Ends rows with LF; the `csv` writer uses CR LF, so that it quotes names with either character."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def write(self, row: str) -> None:
        self._table.write(row.removesuffix("\r\n") + "\n")


def _write_csv(table: Table, found: Iterable[SceneList], with_near: bool) -> int:
    """Writes a row for each neighbour, with the number folded into it; returns the number of images."""
    writer, count = csv.writer(_UnixLines(table)), 0
    writer.writerow([*COLUMNS, "near"] if with_near else COLUMNS)
    for count, (payload, scenes) in enumerate(found, start=1):  # noqa: B007 - what is left is the count
        writer.writerows(
            (
                payload.dataset,
                payload.path,
                payload.class_name,
                rank,
                scene.hit.score,
                scene.hit.payload.dataset,
                scene.hit.payload.path,
                scene.hit.payload.class_name,
                *([len(scene.near)] if with_near else ()),
            )
            for rank, scene in enumerate(scenes, start=1)
        )
    return count


def _write_jsonl(table: Table, found: Iterable[SceneList], with_near: bool) -> int:
    """Writes an object for each image; returns the number of images."""
    count = 0
    for count, each in enumerate(found, start=1):  # noqa: B007 - what is left is the count
        table.write(f"{json_line(_json(each, with_near))}\n")
    return count


def _json(found: SceneList, with_near: bool) -> "records.ImageNeighbours":
    payload, scenes = found
    return {
        "schema": 1,
        "dataset": payload.dataset,
        "path": payload.path,
        "class": payload.class_name,
        "hits": [
            {"rank": rank, **_hit_json(scene.hit), **_folded_json(scene.near, with_near)}
            for rank, scene in enumerate(scenes, start=1)
        ],
    }


def _folded_json(near: Sequence[SearchHit], with_near: bool) -> "records.PlainFolded":
    return {"near": [_hit_json(hit) for hit in near]} if with_near else {}


def _hit_json(hit: SearchHit) -> "records.PlainNearHit":
    return {
        "score": hit.score,
        "class": hit.payload.class_name,
        "dataset": hit.payload.dataset,
        "path": hit.payload.path,
    }


_WRITERS: dict[TableFormat, Callable[[Table, Iterable[SceneList], bool], int]] = {
    TableFormat.CSV: _write_csv,
    TableFormat.JSONL: _write_jsonl,
}
