"""Parts of a dataset, which several processes may ingest at once: each has the files of its hashes.

The hash of a file is the first 48 bits of the id that its point has, with the path in NFC, so that the points
of a part are next to each other in a collection; see docs/adr/0043.
"""

import re
from dataclasses import dataclass
from typing import Self

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.stores.points import point_id
from lookalike_core.text import nfc, valid_text

_BITS = 48
"""A UUIDv5 has so many bits of its hash before the first fixed one."""

MAX_PARTS = 2**20
"""More parts than a job array has tasks; each must still have its share of the hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Part `number`, from 1 on, of a dataset that is split into `total` parts of about the same size."""

    number: int
    total: int

    def __post_init__(self) -> None:
        """Refuses numbers that are no part.

        Raises:
            UsageError: there is no such part.
        """
        if 1 <= self.number <= self.total <= MAX_PARTS:
            return
        if self.total > MAX_PARTS:
            reason = f"there are at most {MAX_PARTS} parts"
        elif self.total < 1:
            reason = "there is at least one part, 1/1"
        else:
            reason = f"the first of {self.total} is 1/{self.total}, the last {self.total}/{self.total}"
        raise UsageError(f"there is no part {self}: {reason}", argument=Argument.PART)

    def __str__(self) -> str:
        """Returns the part as it is given: `2/8`."""
        return f"{self.number}/{self.total}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the part that a text such as `2/8` stands for.

        Raises:
            UsageError: it stands for none.
        """
        if (found := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)) is None:
            raise UsageError(f"{text!r} is no part; give one as 2/8", argument=Argument.PART)
        return cls(number=int(found[1]), total=int(found[2]))

    def holds(self, dataset: str, path: str) -> bool:
        """Returns whether the file at a root-relative POSIX path, in any Unicode form, is of this part."""
        return self.owns(point_id(dataset, nfc(valid_text(path))))

    def owns(self, point: str) -> bool:
        """Returns whether the point with this id belongs to this part."""
        hashed = int(point[:8] + point[9:13], 16)
        return hashed * self.total >> _BITS == self.number - 1

    @property
    def first_id(self) -> str:
        """The lowest id that a point of this part may have."""
        return _id_at(self.number - 1, self.total)

    @property
    def end_id(self) -> str | None:
        """The lowest id above those of this part; None for the last part."""
        return None if self.number == self.total else _id_at(self.number, self.total)


def _id_at(parts: int, total: int) -> str:
    """Returns the lowest id after so many parts."""
    digits = f"{-(-(parts << _BITS) // total):012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"
