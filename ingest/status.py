"""What lies in a store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lookalike.console import Reporter
from lookalike.errors import ManifestError
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


def collection_statuses(store: Store, reporter: Reporter) -> Iterator[CollectionStatus]:
    """Every collection of ours, counted exactly; one that cannot be read is said and left out."""
    for name in store.names():
        try:
            opened = store.open(name)
        except ManifestError as error:
            reporter.say(f"warning: collection {name} is left out: {error}")
            continue
        with opened as collection:
            yield CollectionStatus(
                name=name,
                manifest=collection.manifest,
                points=collection.count(EVERYTHING),
                datasets=collection.tally("dataset"),
                classes=collection.tally("class"),
            )
