"""Datasets with overlapping folders: a file has a point in each dataset, but counts as one image.

One of its points represents it everywhere: first one with a class, then that of the dataset with the
outermost folder, then that of the first dataset by name. So classes and verdicts stay the same when a folder
inside an indexed one is ingested again as a dataset of its own.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

from lookalike_core.sources.source_path import SourcePath, parse_root
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload, PointFilter, SearchHit, point_id
from lookalike_core.stores.protocol import Collection


def file_of(manifest: CollectionManifest, dataset: str, path: str) -> Path | None:
    """Returns the path of an image's file; None if the manifest does not have its dataset."""
    root = manifest.datasets.get(dataset)
    return parse_root(root) / path if root else None


def file_key(manifest: CollectionManifest, payload: Payload) -> str:
    """Returns a key that identifies an indexed file: its path, or its id if the path is unknown."""
    return _file_key(manifest, payload, os.path.realpath)


def _file_key(manifest: CollectionManifest, payload: Payload, real_folder: Callable[[str], str]) -> str:
    """Resolves links to folders only: a link to a file is an image of its own."""
    file = file_of(manifest, payload.dataset, payload.path)
    if file is None:
        return payload.id
    if not _has_links(manifest) or isinstance(file, SourcePath):
        return str(file)
    return f"{real_folder(str(file.parent))}/{file.name}"


def first_of_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> dict[str, Payload]:
    """Returns by each payload's id the payload that represents the same file: itself without an overlap."""
    if not _overlap(manifest):
        return {payload.id: payload for payload in payloads}
    first: dict[str, Payload] = {}
    real_folder = cache(os.path.realpath)
    keys = [_file_key(manifest, payload, real_folder) for payload in payloads]
    for key, payload in zip(keys, payloads, strict=True):
        first[key] = first_by_rule([first.get(key, payload), payload], manifest.datasets)
    return {payload.id: first[key] for key, payload in zip(keys, payloads, strict=True)}


def first_by_rule(payloads: Sequence[Payload], roots: Mapping[str, str]) -> Payload:
    """Returns the payload that represents a file, of all its payloads; `roots` are the datasets' folders."""

    def place(payload: Payload) -> tuple[bool, int, str]:
        root = roots.get(payload.dataset, "")
        return not payload.class_name, len(parse_root(root).parts), payload.dataset

    return payloads[0] if len(payloads) == 1 else min(payloads, key=place)


def first_of_hits(
    hits: Sequence[SearchHit], collection: Collection, where: PointFilter, *, among: PointFilter
) -> Sequence[SearchHit]:
    """Returns the hits of a search for `where`, each with the payload that represents its file.

    That is the first, by the rule above, of the points that match `among`; these are looked up if folders
    overlap, since a search of fixed depth may have found another one only. Hits whose file does not match
    `where` by its representing payload are dropped. A point with other bytes is of another version of the
    file.
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
    """Returns the payloads in their order, each file once, by the payload that represents it."""
    first = first_of_file(payloads, manifest)
    return [payload for payload in payloads if first[payload.id] is payload]


def _overlap(manifest: CollectionManifest) -> bool:
    """Returns whether folders of datasets overlap, or could by links from one to another."""
    if _has_links(manifest):
        return True
    roots = sorted(parse_root(root).parts for root in manifest.datasets.values())
    return any(inner[: len(outer)] == outer for outer, inner in pairwise(roots))


def _has_links(manifest: CollectionManifest) -> bool:
    """Returns whether one of several datasets follows links to folders, possibly into another one."""
    return len(manifest.datasets) > 1 and any(rules.follow_links for rules in manifest.folder_rules.values())


def has_overlap(manifests: Sequence[CollectionManifest]) -> bool:
    """Returns whether datasets overlap within one of the collections, or between two of them."""
    each = {
        (parse_root(root).parts, name) for manifest in manifests for name, root in manifest.datasets.items()
    }
    is_nested = any(inner[: len(outer)] == outer for (outer, _), (inner, _) in pairwise(sorted(each)))
    return is_nested or any(map(_overlap, manifests))


def ids_of_file(file: Path, manifest: CollectionManifest) -> list[str]:
    """Returns the ids that a file has in all datasets of a collection whose folders contain it."""
    return [
        point_id(dataset, file.relative_to(root).as_posix())
        for dataset, root in manifest.datasets.items()
        if file.is_relative_to(root)
    ]


def other_places(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """Returns by each payload's id what other datasets of the collection store about the same file.

    Payloads without another dataset are omitted.
    """
    manifest = collection.manifest
    if _has_links(manifest):
        return _other_places_by_links(payloads, collection)
    ids = {payload.id: list(_other_ids(payload, manifest)) for payload in payloads}
    there = collection.payloads([other for others in ids.values() for other in others])
    places = {id_: [there[other] for other in others if other in there] for id_, others in ids.items()}
    return {id_: others for id_, others in places.items() if others}


def _other_ids(payload: Payload, manifest: CollectionManifest) -> Iterator[str]:
    """Yields the ids that the file would have in the other datasets whose folders contain it."""
    file = file_of(manifest, payload.dataset, payload.path)
    for dataset, root in manifest.datasets.items():
        if file is not None and dataset != payload.dataset and file.is_relative_to(root):
            yield point_id(dataset, file.relative_to(parse_root(root)).as_posix())


def _other_places_by_links(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """Compares the real paths of all payloads with the same hash, since links to a file are not recorded."""
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
