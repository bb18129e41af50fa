"""Remembers up to which path all files with the same bytes were seen, so that each is passed over once."""

from collections.abc import Iterator

MAX_FRONTS = 16_384
"""How many are remembered: each is of an image with more copies than one page."""

FIRST_PAGE, LARGEST_PAGE = 4, 256
"""How many points with the same bytes are read at once: few, since mostly the first of them will do."""


class SeenFronts:
    """By dataset and SHA-256, the last path before which no file is unseen; "" if that is not known."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, str]] = {}

    def find(self, dataset: str, sha256: str) -> str:
        """Returns the last path that need not be looked at again."""
        return self._paths.get(sha256, {}).get(dataset, "")

    def advance(self, dataset: str, sha256: str, path: str) -> None:
        """Remembers that all files up to a path were seen."""
        if len(self._paths) >= MAX_FRONTS and sha256 not in self._paths:
            self._paths.clear()
        self._paths.setdefault(sha256, {})[dataset] = path

    def forget(self, sha256: str) -> None:
        """Forgets one SHA-256, whose points are looked up again."""
        self._paths.pop(sha256, None)

    def clear(self) -> None:
        """Forgets all, since a file is unseen again."""
        self._paths.clear()


def growing_pages() -> Iterator[int]:
    """Yields the sizes of pages."""
    size = FIRST_PAGE
    while True:
        yield size
        size = min(4 * size, LARGEST_PAGE)
