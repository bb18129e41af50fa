"""Looks up the payloads of a collection on a server as they are needed, in batches.

Memory and the time to start do not depend on the number of points there.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from operator import attrgetter
from threading import Lock
from typing import Generic, TypeVar

from lookalike_core.batched import batched
from lookalike_core.stores import protocol
from lookalike_core.stores.points import Payload, PointFilter, point_id

from lookalike_ingest.known_payloads import Stamp
from lookalike_ingest.parts import Part
from lookalike_ingest.payload_cache import PayloadCache, translate_error
from lookalike_ingest.point_marks import NO_MARK, Mark, PointMarks
from lookalike_ingest.seen_fronts import FIRST_PAGE, SeenFronts, growing_pages

AT_ONCE = 256
"""How many points or hashes one request looks up."""

RECENT = 16_384
"""How many answers are kept: more than the files that are in hand at a time, with the largest batches."""

SAMPLE = 1_024
"""How many points of another dataset are compared before all are, if any shares its bytes."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class PayloadLookups:
    """The payloads of a collection on a server; implements `KnownPayloads`.

    `collection` returns the collection; None as long as there is none. What this ingest writes is kept in a
    temporary database that answers before the server, so that earlier answers stay right, and a dry run
    counts as the run does. Points that others write meanwhile are found or not. A collection that was empty
    at the start is not asked for the files of this ingest.
    """

    hashed_at_once = 64

    def __init__(
        self, collection: Callable[[], protocol.Collection | None], *, dry_run: bool = False
    ) -> None:
        self._collection, self._is_dry_run = collection, dry_run
        there = collection()
        self._is_asked = there is not None and next(there.scan_ids(), None) is not None
        if not self._is_asked:
            self.hashed_at_once = 0
        self._written = PayloadCache.of(())
        self._has_written = False
        self._net_written = 0
        """Points that were written, and were not there before, less those that were deleted."""
        self._marks, self._lock = PointMarks(), Lock()
        self._by_id: _Recent[str, Payload | None] = _Recent(RECENT)
        self._by_bytes: _Recent[str, list[Payload]] = _Recent(RECENT)
        """Payloads by dataset and path, less some of those that were written or deleted since."""
        self._fronts = SeenFronts()

    def see(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """Returns stamps by path, by one request, and marks their points as seen."""
        found = self._find_all(dataset, paths)
        with self._marked() as marks:
            marks.set([payload.id for payload in found.values()], Mark.SEEN | Mark.STORED)
        if self._has_written:
            self._written.see(dataset, paths)
        return {path: Stamp.of(payload) for path, payload in found.items()}

    def mark_seen(self, dataset: str, path: str, *, seen: bool = True) -> None:
        """Marks the point that a path has or would have; asks nothing."""
        with self._marked() as marks:
            marks.set([point_id(dataset, path)], Mark.SEEN if seen else NO_MARK, cleared=Mark.SEEN)
        if self._has_written:
            self._written.mark_seen(dataset, path, seen=seen)
        if not seen:
            self._fronts.clear()

    def find_unseen(self, dataset: str, part: Part | None = None) -> Iterator[Payload]:
        """Yields the payloads of points that were not marked, ordered by id.

        Reads the ids of the dataset, or of its part, unless their number says that all were seen.
        """
        collection, where = self._collection(), PointFilter(dataset=dataset)
        if collection is None or (part is None and collection.count(where) == self._count_seen()):
            return
        start, stop = (None, None) if part is None else (part.first_id, part.end_id)
        for ids in batched(collection.scan_ids(where, start=start, stop=stop), AT_ONCE):
            with self._marked() as marks:
                known = marks.find(ids)
            left = [point for point in ids if not known.get(point, NO_MARK) & Mark.SEEN]
            there = [point for point in left if known.get(point, NO_MARK) & _DELETED != Mark.CHANGED]
            yield from collection.payloads(there).values()

    def _count_seen(self) -> int:
        """Returns how many points of the dataset are in the collection if all were seen."""
        with self._marked() as marks:
            seen = marks.count(Mark.SEEN | Mark.STORED)
        return seen - self._net_written if self._is_dry_run else seen

    def prefetch_paths(self, dataset: str, paths: Sequence[str]) -> None:
        """Looks up paths, by one request."""
        self._find_all(dataset, paths)

    def prefetch_bytes(self, hashes: Collection[str]) -> None:
        """Looks up hashes whose answers are not at hand, by one request for a few hundred."""
        collection = self._collection()
        if collection is None or not self._is_asked:
            return
        for some in batched((sha256 for sha256 in set(hashes) if sha256 not in self._by_bytes), AT_ONCE):
            found: dict[str, list[Payload]] = {sha256: [] for sha256 in some}
            for payload in collection.scan(PointFilter(only_sha256=frozenset(some))):
                found[payload.sha256].append(payload)
            for sha256, payloads in found.items():
                payloads.sort(key=_sort_key)
                self._fronts.forget(sha256)
            self._by_bytes.update(found)

    def find(self, dataset: str, path: str) -> Payload | None:
        """Returns the payload of a path, at hand or by a request."""
        return self._find_all(dataset, [path]).get(path)

    def _find_all(self, dataset: str, paths: Sequence[str]) -> dict[str, Payload]:
        """Returns payloads by path, of those that have a point."""
        ids = {point_id(dataset, path): path for path in paths}
        changed = self._find_changed(ids) if self._has_written else set()
        asked = [point for point in ids if point not in changed]
        found = {ids[point]: payload for point, payload in self._look_up(asked).items()}
        written = ((ids[point], self._written.find(dataset, ids[point])) for point in changed)
        return found | {path: payload for path, payload in written if payload is not None}

    def _look_up(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Returns what the collection has by these ids; what is at hand is not asked for."""
        missing = [point for point in ids if point not in self._by_id]
        answered: dict[str, Payload | None] = {}
        if missing:
            collection = self._collection() if self._is_asked else None
            found = {} if collection is None else collection.payloads(missing)
            answered = {point: found.get(point) for point in missing}
            self._by_id.update(answered)
        known = {point: answered[point] if point in answered else self._by_id.get(point) for point in ids}
        return {point: payload for point, payload in known.items() if payload is not None}

    def find_bytes(self, sha256: str) -> Iterator[Payload]:
        """Yields the payloads with this SHA-256 by dataset and path, at hand or by a request."""
        if sha256 not in self._by_bytes:
            self.prefetch_bytes([sha256])
        written = self._written.find_bytes(sha256) if self._has_written else iter(())
        return merge(self._find_stored(sha256), written, key=_sort_key)

    def find_unseen_bytes(self, dataset: str, sha256: str) -> Iterator[Payload]:
        """Yields the payloads with this SHA-256 that were not marked, at hand or by a request."""
        if sha256 not in self._by_bytes:
            self.prefetch_bytes([sha256])
        stored = self._find_unseen_stored(dataset, sha256)
        written = self._written.find_unseen_bytes(dataset, sha256) if self._has_written else iter(())
        return merge(stored, written, key=_sort_key)

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether a point has this SHA-256, if it was prefetched or written; asks nothing."""
        if self._has_written and self._written.has_bytes(sha256):
            return True
        return next(self._find_stored(sha256), None) is not None

    def _find_stored(self, sha256: str) -> Iterator[Payload]:
        """Yields what the collection had by this SHA-256, less what was written or deleted since.

        If the first of them were, they are no longer looked at: that is for good.
        """
        stored = self._by_bytes.get(sha256) or []
        if not self._has_written:
            yield from stored
            return
        gone, is_front = 0, True
        for page in _pages(stored):
            changed = self._find_changed([payload.id for payload in page])
            is_front = is_front and len(changed) == len(page)
            gone += len(page)
            if is_front and gone > FIRST_PAGE:
                self._by_bytes.update({sha256: stored[gone:]})
            yield from (payload for payload in page if payload.id not in changed)

    def _find_unseen_stored(self, dataset: str, sha256: str) -> Iterator[Payload]:
        """Yields those of one dataset whose points were neither seen nor written or deleted since."""
        stored = self._by_bytes.get(sha256) or []
        start = bisect_right(stored, (dataset, self._fronts.find(dataset, sha256)), key=_sort_key)
        end = bisect_left(stored, (f"{dataset}\0", ""), key=_sort_key)
        is_front = True
        for page in _pages(stored[start:end]):
            with self._marked() as marks:
                known = marks.find([payload.id for payload in page])
            unseen = [each for each in page if not known.get(each.id, NO_MARK) & (Mark.SEEN | Mark.CHANGED)]
            is_front = is_front and not unseen
            if is_front and len(page) > FIRST_PAGE:
                self._fronts.advance(dataset, sha256, page[-1].path)
            yield from unseen

    def _find_changed(self, ids: Collection[str]) -> set[str]:
        """Returns which of these points this ingest has written or deleted."""
        with self._marked() as marks:
            return {point for point, known in marks.find(list(ids)).items() if known & Mark.CHANGED}

    def put(self, payload: Payload) -> None:
        """Keeps the payload beside the collection's."""
        self._written.put(payload)
        with self._marked() as marks:
            self._net_written += not marks.find([payload.id]).get(payload.id, NO_MARK) & Mark.STORED
            marks.set([payload.id], Mark.STORED | Mark.CHANGED)
        self._has_written = True

    def drop(self, payload: Payload) -> None:
        """Keeps in mind that the point was deleted."""
        self._written.drop(payload)
        with self._marked() as marks:
            marks.set([payload.id], Mark.CHANGED, cleared=Mark.STORED)
        self._net_written -= 1
        self._has_written = True

    def count_shared(self, dataset: str, other: str) -> tuple[int, int]:
        """Returns how many points a dataset has, and how many share their bytes with another dataset.

        If none of a random sample does, none counts: points come in the order of their ids, which are hashes.
        """
        collection = self._collection()
        if collection is None:
            return 0, 0
        points = shared = 0
        hashes = (payload.sha256 for payload in collection.scan(PointFilter(dataset=dataset)))
        for some in batched(hashes, AT_ONCE):
            where = PointFilter(dataset=other, only_sha256=frozenset(some))
            there = {payload.sha256 for payload in collection.scan(where)}
            points += len(some)
            shared += sum(sha256 in there or self._written.has_bytes(sha256) for sha256 in some)
            if points >= SAMPLE and not shared:
                return collection.count(PointFilter(dataset=dataset)), 0
        return points, shared

    def list_folders(self, dataset: str) -> set[str]:
        """Returns the folders of a dataset's images, by reading all of its payloads."""
        collection = self._collection()
        payloads = iter(()) if collection is None else collection.scan(PointFilter(dataset=dataset))
        found = {payload.path.rpartition("/")[0] for payload in payloads}
        return found | self._written.list_folders(dataset)

    def close(self) -> None:
        """Removes the temporary databases; the collection stays open."""
        self._written.close()
        with self._lock:
            self._marks.close()

    @contextmanager
    def _marked(self) -> Iterator[PointMarks]:
        """Serializes access by threads, and translates SQLite's errors."""
        with self._lock:
            try:
                yield self._marks
            except sqlite3.Error as error:
                raise translate_error(error) from error


_DELETED = Mark.CHANGED | Mark.STORED
"""The marks that tell a deleted point: of these it has only the first."""


def _pages(payloads: Sequence[Payload]) -> Iterator[Sequence[Payload]]:
    start = 0
    for size in growing_pages():
        if start >= len(payloads):
            return
        yield payloads[start : start + size]
        start += size


_sort_key = attrgetter("sort_key")


class _Recent(Generic[_Key, _Value]):
    """The latest answers, at most `size` of them; any thread may use it."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._answers: OrderedDict[_Key, _Value] = OrderedDict()

    def __contains__(self, key: _Key) -> bool:
        return key in self._answers

    def get(self, key: _Key) -> _Value | None:
        """Returns an answer; None if it is not at hand."""
        return self._answers.get(key)

    def update(self, answers: Mapping[_Key, _Value]) -> None:
        """Adds answers, and drops the oldest beyond the size."""
        with self._lock:
            self._answers.update(answers)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)
