"""Copies a collection to another store, or within one, by the protocol of stores.

Points have deterministic ids, so a copy that was interrupted is continued by the same call. Until all points
have been compared with their source, the new collection is an unfinished copy, which nothing else opens.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
from lookalike_core import progress
from lookalike_core.batched import batched
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    UsageError,
)
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import check_new_name
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Collection, Store, require_writable
from lookalike_core.stores.shared import SharedCollection

from lookalike_ingest.layout_check import check_layout
from lookalike_ingest.rebuild import refuse_staged
from lookalike_ingest.target import complete_written
from lookalike_ingest.vector_comparison import find_unequal

_logger = get_logger("ingest")

BLOCK = 1_024
_BLOCK_VALUES = 2**20
"""Points in memory at a time, and values of their vectors: 4 MB, and several times that while stores convert
them."""

_ROUNDS = 4
"""Passes over the source: one copies, the next compares; each writes what changed during the previous one."""


_Block = dict[str, ImagePoint]
"""Points by id: an id is a hash of dataset and path, which takes longer than to compare its vector."""


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """What a copy did. `name` in `store` is the source, `new_name` in `new_store` the copy, of `points`.

    `written` points were written by this call, the others by an earlier one; `was_whole` says that the copy
    existed already and has the same content. `compared_s` of the seconds `took_s` were the comparison of all
    points, `indexed_s` the index of an embedded collection.
    """

    name: str
    store: str
    new_name: str
    new_store: str
    points: int = 0
    written: int = 0
    was_whole: bool = False
    compared_s: float = 0.0
    indexed_s: float = 0.0
    took_s: float = 0.0


def copy_collection(
    name: str, *, store: Store, to: Store, as_name: str | None = None, layout: ClusterLayout | None = None
) -> CopyReport:
    """Copies a collection with its manifest and calibration, and compares all points with their source.

    A copy that exists and has the same content is left as it is. The source is locked (embedded); on a
    server, points that change meanwhile are copied again. Without a `layout` a copy on a server has the
    server's own, whatever its source has.

    Raises:
        CollectionMissingError: there is no such collection.
        ManifestError: it is not ours or unfinished; or the new name is taken by something with other content.
        UsageError: the new name is not valid, or is that of the source in the same store; or the copy has
            another layout already, or cannot have it.
        StoreLockedError: another process has one of them open, or copies to the new one.
        StoreError: the source changes all the time, or the copy differs from it; the copy stays unfinished.
    """
    started = time.monotonic()
    name = store.resolve(name)
    refuse_staged(name, store)
    new_name = check_new_name(as_name or name)
    _require_apart(name, store, new_name, to)
    check_layout(layout, [new_name], to)
    report = CopyReport(name=name, store=store.label, new_name=new_name, new_store=to.label)
    with store.open(name) as source:
        _require_writable(to)
        if _is_whole(new_name, to):
            _compare_whole(source, to, report)
        else:
            _copy(source, to, report, layout)
    report.took_s = time.monotonic() - started
    return report


def _require_apart(name: str, store: Store, new_name: str, to: Store) -> None:
    """Refuses to copy a collection to itself."""
    same = store.label == to.label
    if store.local is not None and to.local is not None:
        here, there = store.local.path, to.local.path
        same = here.resolve() == there.resolve()
    if same and to.resolve(new_name) == name:
        raise UsageError(
            f"{name} in {store.label} would be copied to itself",
            hint=Hint(Action.USE, {Argument.TO: None, Argument.AS: None}),
        )


def _require_writable(to: Store) -> None:
    """Refuses to copy to a local store that is read-only."""
    try:
        require_writable(to)
    except StoreError as error:
        error.hint = Hint(Action.USE_INSTEAD, {Argument.TO: None})  # the other option is that of the source
        raise


def _is_whole(name: str, store: Store) -> bool:
    """Returns whether the collection exists and is complete; False if it is missing or an unfinished copy.

    Raises:
        ManifestError: the name is taken by something that is not a collection of ours.
    """
    if store.find_copy(name) is not None:
        return False
    try:
        store.manifest(name)
    except CollectionMissingError:
        return False
    return True


def _compare_whole(source: Collection, to: Store, report: CopyReport) -> None:
    """Refuses an existing collection with other content; builds the index of one that lacks it."""
    with to.open(report.new_name) as there:
        before = time.monotonic()
        differing = _find_difference(source, there)
        if differing:
            raise ManifestError(
                f"{report.new_name} exists in {report.new_store} and differs from {report.name} in "
                f"{report.store}: {differing}; it was not changed",
                collection=report.new_name,
                hint=Hint(Action.USE_INSTEAD, {Argument.AS: None}),
            )
        report.compared_s = time.monotonic() - before
        report.points, report.was_whole = there.count(), True
        _complete_upkeep(there, report)


def _find_difference(source: Collection, there: Collection) -> str:
    """Returns how a collection differs from its source, in words; "" if it does not."""
    counts = source.count(), there.count()
    if counts[0] != counts[1]:
        return f"it has {counts[1]} points, not {counts[0]}"
    if differing := _differing_fields(source.manifest, there.manifest):
        return f"the manifests differ in {', '.join(differing)}"
    with progress.bar(f"comparing {there.name}", unit="points", total=counts[0]) as bar:
        for block in _read_blocks(source):
            if unequal := _find_unequal_points(block, there):
                return f"the point of {unequal[0].payload.path} is another"
            bar.advance(len(block))
    return ""


def _differing_fields(one: CollectionManifest, other: CollectionManifest) -> list[str]:
    """Returns the fields in which two manifests differ, except for the name and the revision."""
    compared = (field.name for field in fields(CollectionManifest) if field.compare)
    return [name for name in compared if getattr(one, name) != getattr(other, name)]


def _copy(source: Collection, to: Store, report: CopyReport, layout: ClusterLayout | None) -> None:
    name, origin = report.new_name, f"{report.name} in {report.store}"
    if not _continues(source, to, report, origin):
        try:
            _begin(source, to, report, origin, layout)
        except ManifestError:  # another process may have begun one just before; what it has open is locked
            if not _continues(source, to, report, origin):
                raise
    with to.copying(name), to.open_copy(name) as copy:
        for _ in range(_ROUNDS):
            manifest = source.manifest
            if _fill(source, copy, report):
                break
        else:
            raise StoreError(
                f"{name} in {report.new_store} still differs from {origin} after {_ROUNDS} passes: the "
                "source changes while it is copied, or the copy does not keep what is written to it",
                hint=Hint(Action.REPEAT),
            )
        report.points = copy.count()
        copy.complete_copy(manifest)
        _complete_upkeep(copy, report)


def _continues(source: Collection, to: Store, report: CopyReport, origin: str) -> bool:
    """Returns whether there is an unfinished copy, which is continued."""
    begun = to.find_copy(report.new_name)
    if begun is None:
        return False
    _require_same_space(begun.manifest, source.manifest, begun.source, report)
    _logger.info("continuing the copy of %s to %s", origin, report.new_store)
    return True


def _begin(
    source: Collection, to: Store, report: CopyReport, origin: str, layout: ClusterLayout | None
) -> None:
    """Creates the unfinished copy: empty, or with the files of an embedded source that has an index.

    An index takes longer to build than all points to compare. Whatever the files hold is compared as the
    points of an interrupted copy are.
    """
    with _held(source) as held:
        if isinstance(held, EmbeddedCollection) and isinstance(to, EmbeddedStore) and held.indexed_count():
            with held.closed_files() as files:
                to.create_copy_of_files(held.manifest, files, name=report.new_name, source=origin)
            report.written = held.count()
            return
    to.create_copy(source.manifest, name=report.new_name, source=origin, layout=layout)


@contextmanager
def _held(source: Collection) -> Iterator[Collection]:
    """Yields the open collection itself, with all other threads of a shared store locked out."""
    if isinstance(source, SharedCollection):
        with source.locked() as held:
            yield held
    else:
        yield source


def _require_same_space(
    begun: CollectionManifest, wanted: CollectionManifest, begun_from: str, report: CopyReport
) -> None:
    """Refuses to continue the copy of a collection of another embedding space."""
    alike = ("identity", "distance", "schema", "vector_quantization")
    differing = [name for name in alike if getattr(begun, name) != getattr(wanted, name)]
    if differing:
        raise ManifestError(
            f"{report.new_name} in {report.new_store} is an unfinished copy of {begun_from}, which differs "
            f"from {report.name} in {report.store} in {', '.join(differing)}; it was not changed",
            collection=report.new_name,
            hint=Hint(Action.USE_INSTEAD, {Argument.AS: None}),
        )


def _fill(source: Collection, copy: Collection, report: CopyReport) -> bool:
    """Writes the points that the copy lacks, and removes those that the source has lost.

    Returns whether there were none, so that all are equal.
    """
    before = time.monotonic()
    copy.flush()
    total, seen, written = source.count(), 0, 0
    title = f"comparing {copy.name}" if copy.count() >= total else f"copying {copy.name}"
    with progress.bar(title, unit="points", total=total) as bar:
        for block in _read_blocks(source):
            unequal = _find_unequal_points(block, copy)
            copy.upsert(unequal)
            seen, written = seen + len(block), written + len(unequal)
            bar.advance(len(block))
    report.written += written
    gone = _delete_gone(source, copy) if copy.count() != seen else 0
    is_equal = not written and not gone and copy.count() == seen == source.count()
    report.compared_s = time.monotonic() - before
    return is_equal


def _delete_gone(source: Collection, copy: Collection) -> int:
    """Deletes points of an unfinished copy that its source does not have; returns how many."""
    gone: list[str] = []
    for ids in batched((payload.id for payload in copy.scan()), BLOCK):
        there = source.payloads(ids)
        gone += [point for point in ids if point not in there]
    copy.delete(gone)
    return len(gone)


def _read_blocks(source: Collection) -> Iterator[_Block]:
    """Yields all points in blocks.

    Raises:
        LookalikeError: a point has lost its vector.
    """
    at_once = max(1, min(BLOCK, _BLOCK_VALUES // source.manifest.identity.dimension))
    for payloads in batched(source.scan(), at_once):
        part = {payload.id: payload for payload in payloads}
        vectors = source.vectors(list(part))
        if source.upkeep is not None:  # locked, so that none can have been deleted
            _require_vectors(source, part, {each for each, vector in vectors.items() if vector.any()})
        yield {
            point: ImagePoint(payload=payload, vector=vectors[point])
            for point, payload in part.items()
            if point in vectors
        }


def _require_vectors(source: Collection, part: Mapping[str, Payload], usable: set[str]) -> None:
    lost = next((payload for point, payload in part.items() if point not in usable), None)
    if lost is not None:
        raise LookalikeError(
            f"the point of {lost.path} in {source.name} has lost its vector: files are damaged",
            hint=Hint(Action.INGEST_AGAIN),
        )


def _find_unequal_points(block: _Block, copy: Collection) -> list[ImagePoint]:
    """Returns those points that a copy does not have, or has with another payload or vector."""
    vectors = copy.vectors(list(block))
    payloads = copy.payloads(list(vectors))
    there = [point for point in vectors if payloads.get(point) == block[point].payload]
    if not there:
        return list(block.values())
    unequal = find_unequal(
        np.stack([block[point].vector for point in there]),
        np.stack([vectors[point] for point in there]),
        copy.manifest.distance,
    )
    equal = {point for point, is_other in zip(there, unequal, strict=True) if not is_other}
    return [each for point, each in block.items() if point not in equal]


def _complete_upkeep(copy: Collection, report: CopyReport) -> None:
    """Builds the index and the cache of an embedded copy, as an ingest does."""
    upkeep = copy.upkeep
    if upkeep is None or upkeep.is_cache_valid:
        return
    before = time.monotonic()
    complete_written(copy)
    report.indexed_s = time.monotonic() - before
