"""Groups of the same picture: byte-identical, or as good as identical to a network.

`stars` is pure: nearness in, groups out. Around it, files are looked at and never touched.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.stores.points import Payload


ABOVE = 0.99
"""Cosine similarity from which two pictures are taken for the same one, unless told otherwise."""

IntVector = NDArray[np.int64]
Near = Callable[[IntVector], Iterable[tuple[int, IntVector, NDArray[np.floating]]]]
"""For some rows: each with the rows that are near to it, int64 `[M]`, and their similarity `[M]`. It may
leave out what comes before the row itself."""


class FileState(StrEnum):
    """What has become of a file since it was ingested."""

    PRESENT = "present"
    CHANGED = "changed"
    GONE = "gone"


class KeptBecause(StrEnum):
    """The first rule that sets the kept file apart from the next best of its group."""

    THERE = "the only one as it was ingested"
    PIXELS = "most pixels"
    BYTES = "most bytes"
    OLDEST = "oldest"
    PATH = "first by path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A picture of a group.

    `file` is None where the manifest does not know the dataset's folder. `similarity` is the cosine
    similarity to the kept picture, 1 where `is_identical`: the same bytes. `is_redundant` says that the
    file could be deleted: it and the kept one are as they were ingested, and they are two files.
    """

    payload: Payload
    file: Path | None
    state: FileState
    similarity: float
    is_identical: bool
    is_redundant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The same picture several times: the file to keep, why that one, and the others, most similar first."""

    kept: Member
    because: KeptBecause
    others: Sequence[Member]

    @property
    def redundant(self) -> list[Member]:
        """Those that could be deleted."""
        return [member for member in self.others if member.is_redundant]

    @property
    def redundant_bytes(self) -> int:
        """What deleting them would free."""
        return sum(member.payload.bytes for member in self.redundant)
