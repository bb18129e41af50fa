"""The pages of a long result, each with its address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_PAGES = 10**6
"""The last page that an address can ask for; beyond the last one that there is, that one is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """A page of a result: the place before its first entry, and the addresses of all pages."""

    number: int
    first: int
    last: int
    total: int
    addresses: Sequence[str]

    @classmethod
    def of(cls, total: int, per_page: int, page: int, address: Callable[[int], str]) -> "Paging":
        """Returns a page of so many entries, from 1; `address` returns where a page is."""
        count = max(1, -(-total // per_page))
        number = min(page, count)
        return cls(
            number=number,
            first=(number - 1) * per_page,
            last=min(number * per_page, total),
            total=total,
            addresses=[address(each) for each in range(1, count + 1)],
        )
