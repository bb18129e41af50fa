"""Several indexes whose rankings become one."""

from collections.abc import Iterable

from lookalike_core.errors import UsageError
from lookalike_search.asking.searched_collection import Network

from lookalike.index import Index
from lookalike.searching import Searchable


def fuse(indexes: Iterable[Index]) -> "FusedIndex":
    """Returns indexes as one, whose rankings are fused: `search(image, rule="rrf")`.

    Raises:
        UsageError: they are fewer than two.
    """
    return FusedIndex(indexes)


class FusedIndex(Searchable):
    """Several indexes that are searched as one; each of them is closed by itself."""

    def __init__(self, indexes: Iterable[Index]) -> None:
        self.indexes = tuple(indexes)
        if len(self.indexes) < _FEWEST:
            raise UsageError(f"{len(self.indexes)} index is nothing to fuse; give at least two")

    def __repr__(self) -> str:
        return f"<lookalike.FusedIndex of {', '.join(map(repr, self.indexes))}>"

    def _networks(self) -> list[Network]:
        """Returns the collections and their models, in the order of the indexes."""
        return [network for index in self.indexes for network in index._networks()]


_FEWEST = 2
