"""Datasets whose folders overlap: a file is indexed once in each, and is one image all the same.

One of its points stands for it, everywhere: one that gives a class before one that does not, then that of the
dataset whose folder is outermost, then that of the dataset whose name comes first. So classes and verdicts
stay as they are where a folder inside an indexed one is ingested again as a dataset of its own.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload, PointFilter, SearchHit, point_id
from lookalike_core.stores.protocol import Collection


def file_of(manifest: CollectionManifest, dataset: str, path: str) -> Path | None:
    """Returns where an image lies, as far as the manifest knows."""
    root = manifest.datasets.get(dataset)
    return Path(root) / path if root else None


def file_key(manifest: CollectionManifest, payload: Payload) -> str:
    """Returns what tells an indexed file from others: where it lies, or its id where that is not known."""
    return _file_key(manifest, payload, os.path.realpath)


def _file_key(manifest: CollectionManifest, payload: Payload, real_folder: Callable[[str], str]) -> str:
    """Resolves links to folders alone: one to a file is an image of its own wherever it lies."""
    file = file_of(manifest, payload.dataset, payload.path)
    if file is None:
        return payload.id
    return f"{real_folder(str(file.parent))}/{file.name}" if _has_links(manifest) else str(file)


def first_of_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> dict[str, Payload]:
    """Returns by the id of each payload the one that stands for the same file: itself without an overlap."""
    if not _overlap(manifest):
        return {payload.id: payload for payload in payloads}
    first: dict[str, Payload] = {}
    real_folder = cache(os.path.realpath)
    keys = [_file_key(manifest, payload, real_folder) for payload in payloads]
    for key, payload in zip(keys, payloads, strict=True):
        first[key] = first_by_rule([first.get(key, payload), payload], manifest.datasets)
    return {payload.id: first[key] for key, payload in zip(keys, payloads, strict=True)}


def first_by_rule(payloads: Sequence[Payload], roots: Mapping[str, str]) -> Payload:
    """Returns of the payloads of one file the one that stands for it; `roots` are the datasets' folders."""

    def place(payload: Payload) -> tuple[bool, int, str]:
        root = roots.get(payload.dataset, "")
        return not payload.class_name, len(Path(root).parts), payload.dataset

    return payloads[0] if len(payloads) == 1 else min(payloads, key=place)


def first_of_hits(
    hits: Sequence[SearchHit], collection: Collection, where: PointFilter, *, among: PointFilter
) -> Sequence[SearchHit]:
    """Returns the hits of a search for `where`, each with the payload that stands for its file.

    That is the first of the points that `among` matches, which are looked up where folders overlap: a search
    of a fixed depth may have met another one only. Hits whose file is not what `where` asks for go, as one of
    a class that its file has by another point. A point of other bytes is of another state of the file.
    """
    manifest = collection.manifest
    if not _overlap(manifest):
        return hits
    places = other_places([hit.payload for hit in hits], collection)
    found = []
    for hit in hits:
        same = [other for other in places.get(hit.payload.id, ()) if other.sha256 == hit.payload.sha256]
        payload = first_by_rule([hit.payload, *filter(among.matches, same)], manifest.datasets)
        if where.matches(payload):
            found.append(replace(hit, payload=payload))
    return found


def first_of_each_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> list[Payload]:
    """Returns the payloads in their order, each file once, by the payload that stands for it."""
    first = first_of_file(payloads, manifest)
    return [payload for payload in payloads if first[payload.id] is payload]


def _overlap(manifest: CollectionManifest) -> bool:
    """Returns whether folders of datasets overlap, or links may lead from one to another."""
    if _has_links(manifest):
        return True
    roots = sorted(Path(root).parts for root in manifest.datasets.values())
    return any(inner[: len(outer)] == outer for outer, inner in pairwise(roots))


def _has_links(manifest: CollectionManifest) -> bool:
    """Returns whether one of several datasets follows links to folders, perhaps to another one's files."""
    return len(manifest.datasets) > 1 and any(rules.follow_links for rules in manifest.folder_rules.values())


def has_overlap(manifests: Sequence[CollectionManifest]) -> bool:
    """Returns whether datasets overlap within one of several collections, or between two of them."""
    each = {(Path(root).parts, name) for manifest in manifests for name, root in manifest.datasets.items()}
    is_nested = any(inner[: len(outer)] == outer for (outer, _), (inner, _) in pairwise(sorted(each)))
    return is_nested or any(map(_overlap, manifests))


def ids_of_file(file: Path, manifest: CollectionManifest) -> list[str]:
    """Returns the ids that a file has in the datasets of a collection whose folders it lies in."""
    return [
        point_id(dataset, file.relative_to(root).as_posix())
        for dataset, root in manifest.datasets.items()
        if file.is_relative_to(root)
    ]


def other_places(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """Returns by the id of each payload what other datasets of the collection know of the same file.

    Those are left out that no other dataset has.
    """
    manifest = collection.manifest
    if _has_links(manifest):
        return _other_places_by_links(payloads, collection)
    ids = {payload.id: list(_other_ids(payload, manifest)) for payload in payloads}
    there = collection.payloads([other for others in ids.values() for other in others])
    places = {id_: [there[other] for other in others if other in there] for id_, others in ids.items()}
    return {id_: others for id_, others in places.items() if others}


def _other_ids(payload: Payload, manifest: CollectionManifest) -> Iterator[str]:
    """Yields the ids that the file would have in the other datasets whose folders it lies in."""
    file = file_of(manifest, payload.dataset, payload.path)
    for dataset, root in manifest.datasets.items():
        if file is not None and dataset != payload.dataset and file.is_relative_to(root):
            yield point_id(dataset, file.relative_to(Path(root)).as_posix())


def _other_places_by_links(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """Compares real paths of all with the same bytes: nothing tells which links lead to a file."""
    manifest, same = collection.manifest, frozenset(payload.sha256 for payload in payloads)
    by_key: dict[str, list[Payload]] = {}
    for found in collection.scan(PointFilter(only_sha256=same)) if same else ():
        by_key.setdefault(file_key(manifest, found), []).append(found)
    places = {
        payload.id: [
            each for each in by_key.get(file_key(manifest, payload), ()) if each.dataset != payload.dataset
        ]
        for payload in payloads
    }
    return {id_: others for id_, others in places.items() if others}
