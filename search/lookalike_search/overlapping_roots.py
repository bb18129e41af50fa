"""Datasets whose folders overlap: a file is indexed once in each, and is one image all the same."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload, point_id
from lookalike_core.stores.protocol import Collection

from lookalike_search.collection_choice import file_of


def file_key(manifest: CollectionManifest, payload: Payload) -> str:
    """Returns what tells an indexed file from others: where it lies, or its id where that is not known."""
    file = file_of(manifest, payload.dataset, payload.path)
    return str(file) if file else payload.id


def first_of_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> dict[str, Payload]:
    """Returns by the id of each payload the first one of the same file: itself, where no folders overlap."""
    if not _overlap(manifest):
        return {payload.id: payload for payload in payloads}
    first: dict[str, Payload] = {}
    return {payload.id: first.setdefault(file_key(manifest, payload), payload) for payload in payloads}


def first_of_each_file(payloads: Sequence[Payload], manifest: CollectionManifest) -> list[Payload]:
    """Returns the payloads in their order, each file once."""
    first = first_of_file(payloads, manifest)
    return [payload for payload in payloads if first[payload.id] is payload]


def _overlap(manifest: CollectionManifest) -> bool:
    """Whether a dataset lies in another's folder, or in the same."""
    roots = sorted(Path(root).parts for root in manifest.datasets.values())
    return any(inner[: len(outer)] == outer for outer, inner in pairwise(roots))


def other_places(payloads: Sequence[Payload], collection: Collection) -> dict[str, list[Payload]]:
    """Returns by the id of each payload what other datasets of the collection know of the same file.

    Those are left out that no other dataset has.
    """
    manifest = collection.manifest
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
