"""Datasets whose folders overlap: a file is indexed once in each, and is one image all the same."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload, PointFilter, point_id
from lookalike_core.stores.protocol import Collection

from lookalike_search.collection_choice import file_of


def file_key(manifest: CollectionManifest, payload: Payload) -> str:
    """Returns what tells an indexed file from others: where it lies, or its id where that is not known."""
    return _file_key(manifest, payload, os.path.realpath)


def _file_key(manifest: CollectionManifest, payload: Payload, real_folder: Callable[[str], str]) -> str:
    """Only links to folders are resolved: one to a file is an image of its own wherever it lies."""
    file = file_of(manifest, payload.dataset, payload.path)
    if file is None:
        return payload.id
    return f"{real_folder(str(file.parent))}/{file.name}" if _has_links(manifest) else str(file)


def first_of_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> dict[str, Payload]:
    """Returns by the id of each payload the first one of the same file: itself, where no folders overlap."""
    if not _overlap(manifest):
        return {payload.id: payload for payload in payloads}
    first: dict[str, Payload] = {}
    real_folder = cache(os.path.realpath)
    return {
        payload.id: first.setdefault(_file_key(manifest, payload, real_folder), payload)
        for payload in payloads
    }


def first_of_each_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> list[Payload]:
    """Returns the payloads in their order, each file once."""
    first = first_of_file(payloads, manifest)
    return [payload for payload in payloads if first[payload.id] is payload]


def _overlap(manifest: CollectionManifest) -> bool:
    """Whether a dataset lies in another's folder, or in the same, or links may lead from one to another."""
    if _has_links(manifest):
        return True
    roots = sorted(Path(root).parts for root in manifest.datasets.values())
    return any(inner[: len(outer)] == outer for outer, inner in pairwise(roots))


def _has_links(manifest: CollectionManifest) -> bool:
    """Whether one of several datasets follows links to folders, which may lead to another one's files."""
    return len(manifest.datasets) > 1 and any(rules.follow_links for rules in manifest.folder_rules.values())


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
    """The ids that the file would have in the other datasets whose folders it lies in."""
    file = file_of(manifest, payload.dataset, payload.path)
    for dataset, root in manifest.datasets.items():
        if file is not None and dataset != payload.dataset and file.is_relative_to(root):
            yield point_id(dataset, file.relative_to(Path(root)).as_posix())


def _other_places_by_links(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """By the real paths of all with the same bytes: nothing tells which links lead to a file."""
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
