"""A part of a folder that is the same on every machine: so many images of each class."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappush, heappushpop

from lookalike_core.images.scan import FoundFile, Skipped

from lookalike_ingest.labels import LabelOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """At most `max_per_class` images of each class, and as many of those without one.

    Which ones hangs on `seed` and on the images' paths alone. A larger number takes more and leaves none
    of the others out; a further image puts at most one other out.
    """

    max_per_class: int
    seed: int = 0

    def rank(self, path: str) -> int:
        """An image's place among all there could be; the lowest are taken."""
        digest = hashlib.blake2b(f"{self.seed}\0{path}".encode(), digest_size=16).digest()
        return int.from_bytes(digest)


class Chosen:
    """The images that a subset takes out of a scan; of each class only the last rank taken is kept."""

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
        """Whether an image is among them; one of a class that came meanwhile is not."""
        last = self._last.get(self._label_of(found).class_name, -1)
        return self._subset.rank(found.path) <= last
