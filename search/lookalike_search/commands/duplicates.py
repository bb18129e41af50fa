"""The `search duplicates` command."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.named_store import advised
from lookalike_core.cli.options import HtmlOption, JsonOption, StoreOption
from lookalike_core.cli.table import align_columns
from lookalike_core.hints import Action, Argument, Hint, Notice, Value
from lookalike_core.outputs import PAGE_SUFFIXES, check_output_path
from lookalike_core.sources.source_path import name_root, parse_root
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import PointFilter
from lookalike_exporter.hint_arguments import list_collection_arguments

from lookalike_search.analysis.duplicate_json import group_json
from lookalike_search.analysis.duplicates import (
    COMPARED_ABOVE,
    SIMILAR_ABOVE,
    Group,
    KeptBecause,
    Match,
    Member,
    find_near,
    prove_groups,
)
from lookalike_search.analysis.file_state import FileState
from lookalike_search.commands.path_output import Print0Option, require_one_output, show_files
from lookalike_search.commands.search_options import (
    BackboneOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    open_chosen_collection,
    similarity_option,
)


def duplicates(
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    above: Annotated[
        float | None,
        similarity_option(
            "--above",
            f"Compare images on their pixels from this cosine similarity on, default {COMPARED_ABOVE}, and "
            f"show those that are only similar from it on, default {SIMILAR_ABOVE}. "
            "1: only those of the same bytes.",
        ),
    ] = None,
    keep_in: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-in",
            metavar="DIR",
            help="Prefer to keep files in this folder, and never offer them for deletion; may be repeated.",
        ),
    ] = None,
    dataset: DatasetOption = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only paths of files that could be deleted, one a line.")
    ] = False,
    print0: Print0Option = False,
    html: HtmlOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Group copies of an image; nothing is deleted.

    Says which file of each group to keep.
    """
    require_one_output(paths=paths, print0=print0, as_json=as_json)
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    folders = [parse_path(each, "--keep-in") for each in keep_in or ()]
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (_, source):
        name = source.name
        say(f"collection: {name}")
        only = PointFilter(dataset=dataset)
        near = find_near(source, above=above, where=only, keep_in=folders)
        manifest = source.manifest
    groups = prove_groups(near)
    if paths or print0:
        redundant = (member.file for group in groups for member in group.redundant)
        show_files((file for file in redundant if file is not None), print0=print0)
    elif as_json:
        for number, group in enumerate(groups, start=1):
            show_json(group_json(group, number, name))
    else:
        for number, group in enumerate(groups, start=1):
            show(*_lines(group, number))
        show(_total(groups))
    _warn_of_changes(groups, manifest)
    if page is not None:
        _write_page(page, groups, name, SIMILAR_ABOVE if above is None else above)


def _write_page(path: Path, groups: Sequence[Group], name: str, above: float) -> None:
    from lookalike_search.reports.duplicates import duplicates_page

    duplicates_page(groups, collection=name, above=above).write(path)


def _lines(group: Group, number: int) -> Iterator[str]:
    """Yields a group as plain columns; a path is never cut or wrapped, so that it can be copied."""
    yield f"group {number}: {1 + len(group.others)} images{_verdict(group)}"
    rows = [_row(member, group) for member in group.members]
    yield from (f"  {line}" for line in align_columns(rows, "<<>>"))
    yield ""


def _verdict(group: Group) -> str:
    if not group.is_proven:
        return ", only similar: none is offered"
    because = "" if group.because is KeptBecause.FOLDER else str(group.because)
    reference = f"in {group.kept.reference}" if group.kept.reference else ""
    frees = f"{_size(group.frees)} could go" if group.redundant else "nothing could go"
    return f", {frees}; kept: {', '.join(filter(None, [reference, because]))}"


def _row(member: Member, group: Group) -> tuple[str, str, str, str, str]:
    payload = member.payload
    return (
        _mark(member, group),
        f"{member.similarity:.4f}",
        f"{payload.width} x {payload.height}",
        f"{payload.bytes:,}",
        str(member.file) if member.file else f"{payload.dataset}: {payload.path}",
    )


_MARKS = {Match.IDENTICAL: "same bytes", Match.NEAR_DUPLICATE: "near-duplicate", Match.SIMILAR: "similar"}


def _mark(member: Member, group: Group) -> str:
    """Returns how an image matches its group, and why its file is not offered for deletion.

    A duplicate with an unchanged file that is not offered is in a folder to keep, or is the kept file or an
    offered one by another name.
    """
    is_kept = member is group.kept and group.is_proven
    mark = "keep" if is_kept else _MARKS[member.match if member is not group.kept else Match.SIMILAR]
    if member.state is not FileState.PRESENT:
        return f"{mark}, {member.state}"
    is_duplicate = member is not group.kept and member.match is not Match.SIMILAR
    if not is_duplicate or member.is_redundant or group.kept.state is not FileState.PRESENT:
        return mark
    return f"{mark}, {'in a folder to keep' if member.reference else 'same file as another'}"


def _total(groups: Sequence[Group]) -> str:
    proven = [group for group in groups if group.is_proven]
    redundant = sum(len(group.redundant) for group in groups)
    images = sum(1 + len(group.others) for group in proven)
    similar = sum(member.match is Match.SIMILAR for group in groups for member in group.others)
    frees = _size(sum(group.frees for group in groups))
    return (
        f"groups: {len(proven)}, of {images} images; files that could go: {redundant}, {frees}; "
        f"only similar: {similar}; nothing was deleted"
    )


def _warn_of_changes(groups: Sequence[Group], manifest: CollectionManifest) -> None:
    """Prints how many files have changed since they were ingested, and which command updates each dataset."""
    members = [member for group in groups for member in group.members]
    stale = [member for member in members if member.state is not FileState.PRESENT]
    if not stale:
        return
    say(
        f"{len(stale)} of these files are gone, or changed since they were ingested, and are not offered for "
        "deletion"
    )
    for dataset in sorted({member.payload.dataset for member in stale}):
        say(_advice(dataset, manifest))


def _advice(dataset: str, manifest: CollectionManifest) -> str:
    root = manifest.datasets.get(dataset)
    if root is None or not _is_there(root):
        return (
            f"the folder of dataset {dataset} ({root or 'unknown'}) is not there; mount it, or, if it is "
            "gone for good or was ingested under another name, remove it with: "
            f"{advised('ingest remove')} --dataset {shlex.quote(dataset)}"
        )
    named: dict[Argument, Value] = {Argument.FOLDER: root, Argument.PRUNE: None}
    named |= {} if name_root(parse_root(root)) == dataset else {Argument.DATASET: dataset}
    hint = Hint(Action.UPDATE_DATASET, named | list_collection_arguments(manifest))
    return Notice(f"files of dataset {dataset} have changed or are gone", hint=hint)


def _is_there(root: str) -> bool:
    try:
        return parse_root(root).is_dir()
    except OSError:  # an object store does not answer
        return False


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
