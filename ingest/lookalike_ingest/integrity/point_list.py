"""Compares the list of points beside an embedded collection with the points themselves.

The list is the payload cache that the last complete ingest saved, so it names points that the collection has
lost since.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields

from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import nfc

from lookalike_ingest.integrity.faults import Fault, Finding
from lookalike_ingest.payload_cache import PayloadCache, PayloadCacheError


class PointList:
    """The list of a collection; nothing is written to it."""

    def __init__(self, cache: PayloadCache) -> None:
        self._cache = cache
        self._found = 0
        self._is_damaged = False

    @classmethod
    def open_beside(cls, collection: Collection, is_current: Callable[[], bool]) -> "PointList | None":
        """Returns the list beside a collection; None if there is none, or points were written since.

        `is_current` is asked once the list is copied: after that, an ingest changes the file alone.
        """
        upkeep = collection.upkeep
        if upkeep is None or upkeep.points_before is None:
            return None
        cache = PayloadCache.load(upkeep.cache_file, is_copied=True)
        if cache is not None and not is_current():
            cache.close()
            return None
        return None if cache is None else cls(cache)

    def close(self) -> None:
        """Closes the list."""
        self._cache.close()

    def compare(self, payload: Payload, id_: str) -> list[Finding]:
        """Returns how a point differs from the list; nothing once the list turned out to be damaged."""
        try:
            listed = self._cache.find(payload.dataset, payload.path) if not self._is_damaged else payload
        except PayloadCacheError:
            self._is_damaged, listed = True, payload
        self._found += listed is not None
        if listed is None:
            what = "the point is not in the list of the last ingest"
        elif differing := _differing_fields(payload, listed):
            what = f"in the list of the last ingest it has another {', '.join(differing)}"
        else:
            return []
        return [
            Finding(fault=Fault.LIST_DIFFERS, detail=what, dataset=payload.dataset, path=payload.path, id=id_)
        ]

    def find_lost(self, collection: Collection) -> Iterator[Finding]:
        """Yields the points in the list that the collection does not have, or that the list is damaged.

        To be called after all comparisons.
        """
        try:
            if not self._is_damaged and self._found < len(self._cache):
                there = {id_ for id_, _ in collection.scan_points()}
                yield from (_lost(payload) for payload in self._cache if payload.id not in there)
        except PayloadCacheError:
            self._is_damaged = True
        if self._is_damaged:
            yield Finding(fault=Fault.LIST_DIFFERS, detail="the list of points cannot be read")


def _lost(payload: Payload) -> Finding:
    return Finding(
        fault=Fault.STORE_DAMAGED,
        detail="the point is lost: the last ingest left it in the collection",
        dataset=payload.dataset,
        path=payload.path,
        id=payload.id,
    )


def _differing_fields(stored: Payload, listed: Payload) -> list[str]:
    """Returns the names of the fields that differ; a class may be in any Unicode form."""
    return [
        {"class_name": "class"}.get(each.name, each.name)
        for each in fields(stored)
        if _composed(getattr(stored, each.name)) != _composed(getattr(listed, each.name))
    ]


def _composed(value: object) -> object:
    return nfc(value) if isinstance(value, str) else value
