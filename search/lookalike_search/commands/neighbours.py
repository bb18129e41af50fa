"""The `search neighbours` command."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
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
from lookalike_core.outputs import TABLE_SUFFIXES, check_output_path, is_json_of, is_table_of
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.stores.points import PointFilter, SearchHit
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import format_count, json_line

from lookalike_search.analysis.all_neighbours import ChosenScenes, find_all_chosen, is_small
from lookalike_search.asking.choice import HitChoice
from lookalike_search.commands.search_options import (
    BackboneOption,
    ClassesOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    DiverseOption,
    FoldersOption,
    FoldNearOption,
    MinChanceOption,
    MinWidthOption,
    NearAboveOption,
    NotClassesOption,
    OnePerOption,
    SinceOption,
    UntilOption,
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

_is_table = is_table_of(COLUMNS, and_more=True)
_is_json = is_json_of(("schema", "dataset", "path"))


def _is_earlier(file: Path) -> bool:
    """Returns whether a file has neighbours in one of the formats."""
    return _is_table(file) or _is_json(file)


def neighbours(
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="Number of neighbours per image.")
    ] = 10,
    classes: ClassesOption = None,
    not_classes: NotClassesOption = None,
    dataset: DatasetOption = None,
    folders: FoldersOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    min_width: MinWidthOption = None,
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
    min_chance: MinChanceOption = None,
    one_per: OnePerOption = None,
    diverse: DiverseOption = 0.0,
) -> None:
    """Print the nearest neighbours of every image."""
    if exact and indexed:
        raise UsageError("--exact and --indexed exclude each other; leave one of them out")
    write = _WRITERS[_format(table_format, output, as_json)]
    if output is not None:
        output = check_output_path(output, "--output", ("", *TABLE_SUFFIXES), is_ours=_is_earlier)
    where = make_filter(
        classes=classes or (),
        not_classes=not_classes or (),
        dataset=dataset,
        folders=folders or (),
        since=since,
        until=until,
        min_width=min_width,
    )
    choice = HitChoice(min_chance=min_chance, one_per=one_per, diverse=diverse)
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (_, source), _table(output) as table:
        found = find_all_chosen(
            source,
            limit=limit,
            choice=choice,
            where=where,
            include_copies=include_self,
            exact=exact if exact or indexed else None,
            above=near_above if without_near else None,
        )
        in_numpy = exact or (not indexed and is_small(source, where))
        how = "by brute force" if in_numpy else "by the store's own search"
        how += f", near-duplicates folded (similarity over {near_above:g})" if without_near else ""
        with progress.shown_by(None) if _is_on_terminal(table) else nullcontext():  # no bar between its lines
            shown = _Shown(with_near=without_near, with_cut_off=min_chance is not None)
            count, cut_off = write(table, _show_progress(found, source, where), shown)
        say(f"collection: {source.name}, {format_count(count, 'image')}, {how}")
        if cut_off:
            left_out = format_count(cut_off, "neighbour")
            say(f"left out, since their chance is below {min_chance:.4g} or unknown: {left_out}")


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
    found: Iterable[ChosenScenes], collection: Collection, where: PointFilter
) -> Iterator[ChosenScenes]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What each record has besides the neighbours."""

    with_near: bool
    with_cut_off: bool


def _write_csv(table: Table, found: Iterable[ChosenScenes], shown: _Shown) -> tuple[int, int]:
    """Writes a row for each neighbour, with the number folded into it.

    Returns the number of images, and that of neighbours that were left out.
    """
    writer, count, cut_off = csv.writer(_UnixLines(table)), 0, 0
    writer.writerow([*COLUMNS, "near"] if shown.with_near else COLUMNS)
    for each in found:
        payload, count, cut_off = each.payload, count + 1, cut_off + each.cut_off
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
                *([len(scene.near)] if shown.with_near else ()),
            )
            for rank, scene in enumerate(each.scenes, start=1)
        )
    return count, cut_off


def _write_jsonl(table: Table, found: Iterable[ChosenScenes], shown: _Shown) -> tuple[int, int]:
    """Writes an object for each image; returns the same numbers as `_write_csv`."""
    count, cut_off = 0, 0
    for each in found:
        count, cut_off = count + 1, cut_off + each.cut_off
        table.write(f"{json_line(_json(each, shown))}\n")
    return count, cut_off


def _json(found: ChosenScenes, shown: _Shown) -> "records.ImageNeighbours":
    payload = found.payload
    data: records.ImageNeighbours = {
        "schema": 1,
        "dataset": payload.dataset,
        "path": payload.path,
        "class": payload.class_name,
        "hits": [
            {"rank": rank, **_hit_json(scene.hit), **_folded_json(scene.near, shown.with_near)}
            for rank, scene in enumerate(found.scenes, start=1)
        ],
    }
    if shown.with_cut_off:
        data["cut_off"] = found.cut_off
    return data


def _folded_json(near: Sequence[SearchHit], with_near: bool) -> "records.PlainFolded":
    return {"near": [_hit_json(hit) for hit in near]} if with_near else {}


def _hit_json(hit: SearchHit) -> "records.PlainNearHit":
    return {
        "score": hit.score,
        "class": hit.payload.class_name,
        "dataset": hit.payload.dataset,
        "path": hit.payload.path,
    }


_WRITERS: dict[TableFormat, Callable[[Table, Iterable[ChosenScenes], _Shown], tuple[int, int]]] = {
    TableFormat.CSV: _write_csv,
    TableFormat.JSONL: _write_jsonl,
}
