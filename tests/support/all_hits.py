"""The neighbours of every image, each hit by itself."""

from typing import Any

from lookalike_core.stores.points import Payload, SearchHit
from lookalike_core.stores.protocol import Collection
from lookalike_search.analysis.all_neighbours import find_all_scenes


def all_hits(collection: Collection, **options: Any) -> list[tuple[Payload, list[SearchHit]]]:
    """Returns each image with its hits, which are not folded."""
    found = find_all_scenes(collection, above=None, **options)
    return [(payload, [scene.hit for scene in scenes]) for payload, scenes in found]
