"""Exact duplicates of a query: images with the same bytes, which its answer leaves out and lists."""

from collections.abc import Sequence

from lookalike_core.stores.overlapping_roots import file_key, file_of, first_of_each_file
from lookalike_core.stores.points import PointFilter

from lookalike_search.asking.answers import ExactDuplicate
from lookalike_search.asking.examples import Example
from lookalike_search.asking.searched_collection import SearchedCollection


def find_exact_duplicates(
    networks: Sequence[SearchedCollection], examples: Sequence[Example], where: PointFilter
) -> list[ExactDuplicate]:
    """Returns the images whose hashes `where` excludes, without the examples, sorted by dataset and path.

    Each file is listed once, even if several datasets and collections hold it.
    """
    found: dict[str, ExactDuplicate] = {}
    if where.only_sha256:
        for network in networks:
            manifest = network.manifest
            own = {file_key(manifest, each.indexed) for each in examples if each.indexed}
            for payload in first_of_each_file(list(network.collection.scan(where)), manifest):
                key = file_key(manifest, payload)
                if key not in own:
                    file = file_of(manifest, payload.dataset, payload.path)
                    found.setdefault(key, ExactDuplicate(payload=payload, file=file))
    return sorted(found.values(), key=lambda each: (each.payload.dataset, each.payload.path))
