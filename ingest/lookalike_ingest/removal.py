"""Taking a dataset out of collections."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store, staged_name
from lookalike_core.text import find_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A collection that knows a dataset, and how many of its points are the dataset's.

    `calibration_dropped` says that the collection was calibrated until they were removed.
    """

    collection: str
    points: int
    calibration_dropped: bool = False


def holdings(dataset: str, *, store: Store, among: Sequence[str] = ()) -> list[Holding]:
    """The collections that know the dataset, in whichever Unicode form, all of them or those named.

    Raises:
        CollectionMissingError: a collection that was named is not there.
        UsageError: no collection knows the dataset; the message lists the datasets there are.
    """
    found, known = [], set()
    named = ((name, store.manifest(name)) for name in among)
    for name, manifest in named if among else readable_manifests(store):
        known |= set(manifest.datasets)
        own_name = find_name(dataset, manifest.datasets)
        if own_name is None:
            continue
        try:
            with store.open(name) as collection:
                points = collection.count(PointFilter(dataset=own_name))
        except CollectionMissingError:  # somebody has deleted it since
            if among:
                raise
            continue
        found.append(Holding(collection=name, points=points))
    if not found:
        there = ", ".join(map(repr, sorted(known))) or "none"
        raise UsageError(f"no collection here holds a dataset {dataset!r}; there: {there}")
    return found


def remove_dataset(dataset: str, *, store: Store, among: Sequence[Holding]) -> Iterator[Holding]:
    """Removes the dataset's points and then its name, collection by collection; says what went.

    Cut off in between, the name is still there, so that the same call goes on.
    """
    for holding in among:
        with store.open(holding.collection) as collection:
            own_name = find_name(dataset, collection.manifest.datasets) or dataset
            ids = [payload.id for payload in collection.scan(PointFilter(dataset=own_name))]
            was_calibrated = collection.manifest.calibration is not None
            collection.delete(ids)
            dropped = was_calibrated and collection.manifest.calibration is None
            collection.forget_dataset(own_name)
        if staged_name(holding.collection) in store:  # by a rebuild that was interrupted
            store.delete(staged_name(holding.collection))
        yield Holding(collection=holding.collection, points=len(ids), calibration_dropped=dropped)
