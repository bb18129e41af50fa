"""A random sample of a folder, with at most N images per class, which is the same on every machine."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappush, heappushpop

from lookalike_core.images.scan import FoundFile, Skipped

from lookalike_ingest.labels import LabelOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A random sample of at most `max_per_class` images of each class, and as many without a class.

    It depends on `seed` and on the images' paths alone. A larger number only adds images; a new image in the
    folder displaces at most one other.
    """

    max_per_class: int
    seed: int = 0

    def rank(self, path: str) -> int:
        """Returns a pseudo-random rank of a path; the lowest ranks are in the sample."""
        digest = hashlib.blake2b(f"{self.seed}\0{path}".encode(), digest_size=16).digest()
        return int.from_bytes(digest)


class Chosen:
    """Tells which images of a scan are in a subset, by the highest rank in the sample of each class."""

    def __init__(self, subset: Subset, entries: Iterable[FoundFile | Skipped], label_of: LabelOf) -> None:
        self._subset, self._label_of = subset, label_of
        lowest: dict[str | None, list[int]] = defaultdict(list)  # heaps of negated ranks: the largest first
        for entry in entries:
            if isinstance(entry, Skipped):
                continue
            heap, rank = lowest[label_of(entry).class_name], subset.rank(entry.path)
            if len(heap) < subset.max_per_class:
                heappush(heap, -rank)
            else:
                heappushpop(heap, -rank)
        self._last = {name: -heap[0] for name, heap in lowest.items()}

    def __call__(self, found: FoundFile) -> bool:
        """Returns whether an image is in the subset; False for a class that was not scanned."""
        last = self._last.get(self._label_of(found).class_name, -1)
        return self._subset.rank(found.path) <= last
