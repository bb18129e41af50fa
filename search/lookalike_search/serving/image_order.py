"""The order of all images of a collection, by dataset, class and path, of which pages are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from lookalike_core.stores.points import Payload

Group = tuple[str, str]
"""A dataset and a class, "" for images without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of the images of a filter: their ids, the place of the first, and how many there are in all."""

    ids: Sequence[str]
    offset: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """The images of a dataset and a class: how many there are, and the id of the first."""

    dataset: str
    class_name: str
    """`""` for no class."""
    count: int
    first_id: str


class ImageOrder:
    """The images of a collection by dataset, class and path; without a class they come first in a dataset.

    It takes 16 bytes an image.
    """

    def __init__(self, payloads: Iterable[Payload]) -> None:
        groups: dict[Group, list[tuple[str, bytes]]] = {}
        for payload in payloads:
            group = payload.dataset, payload.class_name or ""
            groups.setdefault(group, []).append((payload.path, UUID(payload.id).bytes))
        self._ranges: dict[Group, range] = {}
        parts, start = [], 0
        for group in sorted(groups):  # one after the other: a single sort would stop all threads
            images = sorted(groups.pop(group))
            parts.append(b"".join(id_ for _, id_ in images))
            self._ranges[group] = range(start, start + len(images))
            start += len(images)
        self._ids = np.frombuffer(b"".join(parts), dtype=">u8").reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._ids)

    def groups(self) -> list[ImageGroup]:
        """Returns the datasets and classes, in the order of their images."""
        return [
            ImageGroup(dataset=dataset, class_name=name, count=len(found), first_id=self._id(found.start))
            for (dataset, name), found in self._ranges.items()
        ]

    def page(
        self,
        *,
        dataset: str | None,
        class_name: str | None,
        limit: int,
        offset: int = 0,
        after: str | None = None,
    ) -> Page | None:
        """Returns images from a place on, or those after the one of an id; None where it is unknown.

        Only those of a dataset and a class are counted, where they are given; `""` is no class.
        """
        ranges = [
            found
            for group, found in self._ranges.items()
            if dataset in (None, group[0]) and class_name in (None, group[1])
        ]
        if after is not None:
            place = self._find(after)
            if place is None:
                return None
            offset = sum(min(max(place + 1 - found.start, 0), len(found)) for found in ranges)
        return Page(
            ids=[self._id(place) for place in _slice(ranges, offset, limit)],
            offset=offset,
            total=sum(map(len, ranges)),
        )

    def _id(self, place: int) -> str:
        return str(UUID(bytes=self._ids[place].tobytes()))

    def _find(self, id_: str) -> int | None:
        """Returns the place of an image."""
        high, low = np.frombuffer(UUID(id_).bytes, dtype=">u8")
        found = np.flatnonzero((self._ids[:, 0] == high) & (self._ids[:, 1] == low))
        return int(found[0]) if found.size else None


def _slice(ranges: Iterable[range], offset: int, limit: int) -> list[int]:
    """Returns places of ranges that follow each other, from the one at `offset` on."""
    places: list[int] = []
    for found in ranges:
        places += found[offset : offset + limit - len(places)]
        offset = max(0, offset - len(found))
    return places
