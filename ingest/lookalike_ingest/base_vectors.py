"""Finds stored vectors of a head's base network, so that only the head has to be applied."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.collection_manifest import Distance, collection_name
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_core.stores.protocol import Collection, Store
from lookalike_exporter.heads.head_file import Head

from lookalike_ingest.image_reader import ReadFile
from lookalike_ingest.known_payloads import KnownPayloads, is_unchanged
from lookalike_ingest.payload_cache import PayloadCache
from lookalike_ingest.payload_lookups import PayloadLookups
from lookalike_ingest.request import Dataset


def find_base_collections(head: Head, store: Store) -> list[str]:
    """Returns the names of the existing collections of a head's base network."""
    identity, official = head.base.identity, head.base.weights.official
    names = [collection_name(identity, distance, official=official) for distance in Distance]
    return [name for name in names if name in store and store.manifest(name).identity == identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """A collection of the base network; `holds_folder`: its paths of the dataset name the same files."""

    collection: Collection
    payloads: KnownPayloads
    holds_folder: bool


class BaseVectors:
    """Finds vectors in the open collections of a head's base network; finds none without a head.

    With `rehash`, sizes and times are ignored, and every file must be read.
    """

    def __init__(
        self,
        head: Head | None,
        collections: Sequence[Collection],
        dataset: Dataset,
        *,
        rehash: bool = False,
    ) -> None:
        self._head, self._dataset = head, dataset.name
        self._bases = [
            _Base(
                collection=collection,
                payloads=_open_payloads(collection),
                holds_folder=not rehash
                and collection.manifest.datasets.get(dataset.name) == str(dataset.root),
            )
            for collection in collections
        ]

    def close(self) -> None:
        """Closes the known payloads; the collections stay open."""
        for base in self._bases:
            base.payloads.close()

    def invalidate_caches(self) -> None:
        """Marks the caches beside the collections as not valid."""
        for base in self._bases:
            if base.collection.upkeep is not None:
                base.collection.upkeep.invalidate_cache()

    @property
    def hashed_at_once(self) -> int:
        """How many files should be hashed before `prefetch_bytes`; 0 if bytes are found without."""
        return max((base.payloads.hashed_at_once for base in self._bases), default=0)

    def prefetch_paths(self, paths: Sequence[str]) -> None:
        """Looks up a few hundred paths that `find_unread` will be asked for."""
        for base in self._bases:
            if base.holds_folder:
                base.payloads.prefetch_paths(self._dataset, paths)

    def prefetch_bytes(self, hashes: AbstractSet[str]) -> None:
        """Looks up a few hundred SHA-256 that the other methods will be asked for."""
        for base in self._bases:
            base.payloads.prefetch_bytes(hashes)

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether a vector is stored for this SHA-256."""
        return any(base.payloads.has_bytes(sha256) for base in self._bases)

    def find_unread(self, found: FoundFile) -> ReadFile | None:
        """Returns a file whose SHA-256 is known by its size and times; None if it must be read."""
        for base in self._bases:
            known = base.payloads.find(self._dataset, found.path) if base.holds_folder else None
            if known is not None and known.taken_at is not None and is_unchanged(known, found):
                return ReadFile(
                    found=replace(found, bytes=known.bytes), sha256=known.sha256, taken_at=known.taken_at
                )
        return None

    def get_size(self, sha256: str) -> tuple[int, int]:
        """Returns the displayed width and height in pixels of an image with a stored vector; else zeros."""
        for base in self._bases:
            for payload in base.payloads.find_bytes(sha256):
                return payload.width, payload.height
        return 0, 0

    def get_vectors(self, hashes: Iterable[str]) -> Mapping[str, FloatVector]:
        """Returns the head's vectors by SHA-256, for images whose base vectors are stored.

        Raises:
            StoreError: another process has removed a point in the meantime.
        """
        left, found = set(hashes), {}
        for base in self._bases:
            known = ((sha256, next(base.payloads.find_bytes(sha256), None)) for sha256 in left)
            points = {sha256: payload for sha256, payload in known if payload is not None}
            left -= points.keys()
            vectors = base.collection.vectors([payload.id for payload in points.values()]) if points else {}
            for sha256, payload in points.items():
                found[sha256] = self._apply_head(base.collection, payload, vectors.get(payload.id))
        return found

    def _apply_head(
        self, collection: Collection, payload: Payload, vector: FloatVector | None
    ) -> FloatVector:
        if vector is None or self._head is None:
            raise StoreError(
                f"{payload.path}: its point in {collection.name} was removed by another process",
                hint=Hint(Action.REPEAT),
            )
        headed = self._head.apply(vector[None])
        if not usable_rows(headed).all():
            raise StoreError(f"{payload.path}: its vector in {collection.name} has no direction")
        return np.asarray(headed[0], dtype=np.float32)


def _open_payloads(collection: Collection) -> KnownPayloads:
    """Returns the payloads of a collection, which is only read."""
    if collection.upkeep is None:
        return PayloadLookups(lambda: collection)
    return PayloadCache.load_beside(collection) or PayloadCache.of(collection.scan())
