"""What lies in a store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lookalike.manifest import CollectionManifest
from lookalike.stores.points import EVERYTHING
from lookalike.stores.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """One collection; `datasets` and `classes` map names to numbers of points, `""` being no class."""

    name: str
    manifest: CollectionManifest
    points: int
    datasets: Mapping[str, int]
    classes: Mapping[str, int]


def collection_statuses(store: Store) -> Iterator[CollectionStatus]:
    """Every collection of ours, counted exactly."""
    for name in store.names():
        with store.open(name) as collection:
            yield CollectionStatus(
                name=name,
                manifest=collection.manifest,
                points=collection.count(EVERYTHING),
                datasets=collection.tally("dataset"),
                classes=collection.tally("class"),
            )
