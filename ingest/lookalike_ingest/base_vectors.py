"""Vectors that a head can be put on: those that collections of its base hold already."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
from lookalike_ingest.payload_cache import Listing, is_unchanged
from lookalike_ingest.request import Dataset


def base_names(head: Head, store: Store) -> list[str]:
    """The collections of a head's base that are there."""
    identity, official = head.base.identity, head.base.weights.official
    names = [collection_name(identity, distance, official=official) for distance in Distance]
    return [name for name in names if name in store and store.manifest(name).identity == identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """A collection of the base; `holds_folder` says that paths of the dataset mean the same files there."""

    collection: Collection
    listing: Listing
    holds_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A point whose vector serves."""

    collection: Collection
    payload: Payload


class StoredVectors:
    """What open collections of a head's base know; nothing where there is no head.

    With `rehash` size and times tell nothing, and every file must be read.
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
                listing=Listing.kept_of(collection) or Listing.of(collection.scan()),
                holds_folder=not rehash
                and collection.manifest.datasets.get(dataset.name) == str(dataset.root),
            )
            for collection in collections
        ]

    def close(self) -> None:
        """Lets go of what is known; the collections are whoever's opened them."""
        for base in self._bases:
            base.listing.close()

    def distrust(self) -> None:
        """Says that the lists beside the collections may not be believed."""
        for base in self._bases:
            if base.collection.upkeep is not None:
                base.collection.upkeep.invalidate_cache()

    def has_bytes(self, sha256: str) -> bool:
        """Whether there is a vector for these very bytes."""
        return any(base.listing.has_bytes(sha256) for base in self._bases)

    def unread(self, found: FoundFile) -> ReadFile | None:
        """A file whose size and times tell that its bytes are known; None where it must be read."""
        for base in self._bases:
            known = base.listing.at(self._dataset, found.path) if base.holds_folder else None
            if known is not None and is_unchanged(known, found):
                return ReadFile(found=found, sha256=known.sha256)
        return None

    def size(self, sha256: str) -> tuple[int, int]:
        """Width and height in pixels, as shown, of an image that has a vector; zeros for others."""
        stored = self._with_bytes(sha256)
        return (stored.payload.width, stored.payload.height) if stored else (0, 0)

    def vectors(self, hashes: Iterable[str]) -> Mapping[str, FloatVector]:
        """SHA-256 -> the head's vector, for those bytes that have one.

        Raises:
            StoreError: somebody else removed a point meanwhile.
        """
        wanted = {sha256: stored for sha256 in hashes if (stored := self._with_bytes(sha256))}
        if not wanted or self._head is None:
            return {}
        found: dict[str, FloatVector] = {}
        for collection in {id(each.collection): each.collection for each in wanted.values()}.values():
            ids = [each.payload.id for each in wanted.values() if each.collection is collection]
            found |= collection.vectors(ids)
        return {sha256: self._headed(stored, found) for sha256, stored in wanted.items()}

    def _with_bytes(self, sha256: str) -> _Stored | None:
        """The first point of these bytes."""
        for base in self._bases:
            for payload in base.listing.with_bytes(sha256):
                return _Stored(collection=base.collection, payload=payload)
        return None

    def _headed(self, stored: _Stored, found: Mapping[str, FloatVector]) -> FloatVector:
        vector = found.get(stored.payload.id)
        if vector is None or self._head is None:
            raise StoreError(
                f"{stored.payload.path}: its point in {stored.collection.name} was removed meanwhile, by "
                "somebody else",
                hint=Hint(Action.REPEAT),
            )
        headed = self._head.apply(vector[None])
        if not usable_rows(headed).all():
            raise StoreError(
                f"{stored.payload.path}: its vector in {stored.collection.name} has no direction"
            )
        return np.asarray(headed[0], dtype=np.float32)
