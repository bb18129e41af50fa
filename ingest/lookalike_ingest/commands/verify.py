"""`ingest verify`: verify collections against their files and models; nothing is written."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.hint_words import full_message
from lookalike_core.cli.named_store import in_named_store
from lookalike_core.cli.options import (
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    store_in_use,
)
from lookalike_core.errors import CollectionMissingError, LookalikeError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Store
from lookalike_core.text import format_count

from lookalike_ingest.commands.json_records import Verify
from lookalike_ingest.commands.notices import SHOWN
from lookalike_ingest.integrity.collection_check import (
    ALL,
    DEFAULT_SAMPLE,
    Sample,
    VerifyOptions,
    verify_in_store,
)
from lookalike_ingest.integrity.faults import Fault, Finding, Verification

NEXT_STEPS: Mapping[Fault, str] = {
    Fault.VECTOR_INVALID: "compute its vectors again with: ingest rebuild {collection}",
    Fault.VECTOR_DIFFERS: "compute its vectors again with: ingest rebuild {collection}",
    Fault.VECTORS_SWAPPED: "compute its vectors again with: ingest rebuild {collection}",
    Fault.OTHER_MODEL: "compute its vectors again with: ingest rebuild {collection}",
    Fault.FILE_REPLACED: "ingest what is there now with: ingest run DIR --rehash, or restore the files",
    Fault.FILE_CHANGED: "ingest what is there now with: ingest run DIR",
    Fault.FILE_MISSING: "remove the points with: ingest run DIR --prune, or restore the files",
    Fault.PAYLOAD_DIFFERS: "write the payloads again with: ingest rebuild {collection}",
    Fault.ID_DIFFERS: "write the points again with: ingest rebuild {collection}",
    Fault.LIST_DIFFERS: "write points and list again with: ingest rebuild {collection}",
    Fault.STORE_DAMAGED: (
        "restore a backup of the collection, or add what is missing with: ingest run DIR, for each folder"
    ),
    Fault.REPLICAS_DIFFER: "write the points to all replicas again with: ingest rebuild {collection}",
    Fault.INDEX_RECALL: "build the index again with: ingest rebuild {collection}",
}

RENAMED_STEP = (
    "a copy by another name is not updated or rebuilt: verify the collection that it was copied from, and "
    "copy that one again with: ingest copy NAME --to STORE --as NEW"
)
"""The next step for a collection that does not have the name of its model: the others are for that name."""


def verify(
    collection: Annotated[
        str | None,
        typer.Argument(metavar="COLLECTION", help="The collection to verify; by default all of them."),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="1%|N",
            help="How many files to read and embed again, a random sample of the points; "
            f"default: {DEFAULT_SAMPLE}.",
        ),
    ] = None,
    all_files: Annotated[bool, typer.Option("--all", help="Read and embed all files again.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="N", help="Random seed of the sample; default: 0."),
    ] = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Compare collections with their files and models.

    Nothing is written. Exit code 1 if anything is wrong.
    """
    if all_files and (sample is not None or seed is not None):
        raise UsageError("--all reads all files; leave --sample and --seed out")
    options = VerifyOptions(
        sample=ALL if all_files else Sample.parse(str(DEFAULT_SAMPLE) if sample is None else sample),
        seed=seed or 0,
        max_pixels=max_pixels,
    )
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    is_sound, failed = True, list[LookalikeError]()
    with store_in_use(store, settings) as opened:
        names = opened.names() if collection is None else [collection]
        if not names:
            raise CollectionMissingError(
                f"there are no collections in {opened.label}", hint=Hint(Action.INGEST)
            )
        for name in names:
            try:
                found = verify_in_store(opened, name, options, settings=settings)
            except LookalikeError as error:
                failed.append(error)
                continue
            is_sound &= found.is_sound
            if as_json:
                show_json(_json(found, opened.label))
            else:
                show(*_lines(found, is_renamed=not found.is_sound and _is_renamed(opened, name)))
    for further in failed[1:]:
        say(f"error: {full_message(further)}")
    if failed:
        raise failed[0]
    if not is_sound:
        raise typer.Exit(1)


def _is_renamed(store: Store, name: str) -> bool:
    """Returns whether a collection has another name than its model gives it, as copies may."""
    return store.manifest(name).collection != store.resolve(name)


def _lines(found: Verification, *, is_renamed: bool) -> Iterator[str]:
    """Yields what was checked, what it proves, and each kind of fault with its images and the remedy."""
    if found.is_sound:
        yield f"{found.collection}: no fault found in {format_count(found.points, 'point')}"
    else:
        points = format_count(found.points, "point")
        wrong = f"{found.wrong:,} of {points} wrong" if found.points else "and no point can be read"
        yield f"{found.collection}: faults found, {wrong}"
    yield f"  {format_count(found.checked, 'id')}, payloads and vectors checked" + (
        ", and the list of points" if found.list_compared else ""
    )
    yield from (f"  {line}" for line in _reread_lines(found))
    for fault, count in found.counts.items():
        some = [each for each in found.findings if each.fault is fault]
        yield f"  {fault}: {count:,}"
        yield from (f"    {_place(each)}{each.detail}" for each in some[:SHOWN])
        if count > SHOWN:
            yield f"    and {count - SHOWN:,} more; --json lists up to 1,000"
        if not is_renamed:
            yield f"    {in_named_store(NEXT_STEPS[fault]).format(collection=found.collection)}"
    if found.counts and is_renamed:
        yield f"  {RENAMED_STEP}"


def _reread_lines(found: Verification) -> Iterator[str]:
    """Yields what was read again, the bound that follows, what was not compared, and the index's recall."""
    how = "" if found.provider is None else f" on {found.provider}"
    if found.largest_deviation is not None:
        how += f"; accepted vectors are at most {found.largest_deviation:.1g} of their length off"
    yield f"{format_count(found.reread, 'file')} read and embedded again{how}"
    if found.rounded:
        yield (
            f"{format_count(found.rounded, 'vector')} as rounded as on another execution provider; the first "
            f"ones were computed on {found.recorded_provider}"
        )
    if found.away:
        yield f"{format_count(found.away, 'file')} not checked: their disk may not be mounted"
    if found.unreadable:
        yield f"{format_count(found.unreadable, 'file')} not compared: they cannot be read or decoded here"
    if found.points > found.away and not found.is_all:
        share = format_bound(found.share_at_most_wrong)
        yield f"with 95 % confidence at most {share} of the points whose files are there are wrong"
    if found.recall is not None:
        recall = found.recall
        yield (
            f"the index finds {recall.value:.1%} of the ten nearest neighbours ({recall.low:.1%} to "
            f"{recall.high:.1%})"
        )


def format_bound(share: float) -> str:
    """Returns an upper bound in percent, rounded up to two digits."""
    percent = 100 * share
    if not percent:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(percent)))
    scale = 10**digits
    return f"{math.ceil(percent * scale - 1e-9) / scale:.{digits}f} %"


def _place(finding: Finding) -> str:
    """Returns the image that a finding is about, before its detail."""
    if finding.path is not None:
        return f"{finding.dataset}: {finding.path!r}: "
    return f"point {finding.id}: " if finding.id is not None else ""


def _json(found: Verification, store: str) -> Verify:
    return {
        "schema": 1,
        "collection": found.collection,
        "store": store,
        "sound": found.is_sound,
        "points": found.points,
        "checked": found.checked,
        "away": found.away,
        "reread": found.reread,
        "all": found.is_all,
        "sampled": found.sampled,
        "sampled_wrong": found.sampled_wrong,
        "unreadable": found.unreadable,
        "rounded": found.rounded,
        "touched": found.touched,
        "wrong": found.wrong,
        "at_most_wrong": found.at_most_wrong,
        "share_at_most_wrong": found.share_at_most_wrong,
        "largest_deviation": found.largest_deviation,
        "recorded_provider": found.recorded_provider,
        "provider": found.provider,
        "list_compared": found.list_compared,
        "recall": found.recall,
        "counts": {str(fault): count for fault, count in found.counts.items()},
        "findings": found.findings,
        "took_ms": round(found.took_s * 1000),
    }
