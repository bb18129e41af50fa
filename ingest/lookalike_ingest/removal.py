"""Taking images out of collections: a whole dataset, or those of some paths and classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import Payload, PointFilter
from lookalike_core.stores.protocol import Collection, Store, staged_name
from lookalike_core.text import find_name, nfc


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which images to take out: those that every field that is given allows.

    Attributes:
        dataset: The name of a dataset; None for any.
        paths: Images or folders, root-relative or as files are named; `*` stands for any characters, `/` too.
        classes: Names of classes; "" for images without a class.

    Raises:
        UsageError: nothing is given.
    """

    dataset: str | None = None
    paths: Sequence[str] = ()
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses to take everything out of everything."""
        if self.dataset is None and self.is_whole_dataset:
            raise UsageError("a dataset, a path or a class says what to remove; none is given")
        if not all(self.paths):
            raise UsageError("a path is empty; it would name nothing")

    @property
    def is_whole_dataset(self) -> bool:
        """Whether nothing but the dataset is asked for."""
        return not self.paths and not self.classes

    @property
    def filter(self) -> PointFilter:
        """What a store can tell of it."""
        return PointFilter(dataset=self.dataset)

    def selects(self, payload: Payload, roots: Mapping[str, str]) -> bool:
        """Tells whether an image is one of them; `roots` are the folders of datasets by name."""
        if self.classes and nfc(payload.class_name or "") not in self._class_names:
            return False
        if not self.paths:
            return True
        file = f"{roots.get(payload.dataset, '')}/{payload.path}"
        return any(_is_at(nfc(payload.path), path) for path in self._relative) or any(
            _is_at(nfc(file), path) for path in self._absolute
        )

    def __str__(self) -> str:
        """Says what it selects, as a message names it: a whole dataset by its name alone."""
        if self.is_whole_dataset:
            return self.dataset or ""
        parts = [f"class {name!r}" if name else "no class" for name in self.classes]
        parts += [f"path {path!r}" for path in self.paths]
        parts += [f"dataset {self.dataset!r}"] if self.dataset is not None else []
        return ", ".join(parts)

    @cached_property
    def _class_names(self) -> set[str]:
        return {nfc(name) for name in self.classes}

    @cached_property
    def _relative(self) -> list[str]:
        return [nfc(path.removeprefix("./").rstrip("/")) for path in self.paths]

    @cached_property
    def _absolute(self) -> list[str]:
        return [nfc(str(Path(path).expanduser().absolute())) for path in self.paths]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A collection with selected images, and how many of its points these are.

    `calibration_dropped` says that the collection was calibrated until they were removed.
    """

    collection: str
    points: int
    calibration_dropped: bool = False


def holdings(selection: Selection, *, store: Store, among: Sequence[str] = ()) -> list[Holding]:
    """Returns the collections that hold selected images, of all or of those named.

    Names are found in whichever Unicode form they are written.

    Raises:
        CollectionMissingError: a collection that was named is not there.
        UsageError: no collection knows the dataset, or none holds such an image.
    """
    found, known = [], set()
    named = ((name, store.manifest(name)) for name in among)
    for name, manifest in named if among else readable_manifests(store):
        known |= set(manifest.datasets)
        own = _as_named(selection, manifest)
        if own is None:
            continue
        try:
            with store.open(name) as collection:
                points = _count(collection, own)
        except CollectionMissingError:  # somebody has deleted it since
            if among:
                raise
            continue
        if points or selection.is_whole_dataset:
            found.append(Holding(collection=name, points=points))
    if not found:
        there = ", ".join(map(repr, sorted(known))) or "none"
        if selection.dataset is None or find_name(selection.dataset, known):
            raise UsageError(f"no collection here holds an image of {selection}; datasets there: {there}")
        raise UsageError(f"no collection here holds a dataset {selection.dataset!r}; there: {there}")
    return found


def remove_images(selection: Selection, *, store: Store, among: Sequence[Holding]) -> Iterator[Holding]:
    """Removes the selected points, collection by collection, and returns what went from each.

    With the last point of a whole dataset its name goes. Cut off in between, the name is still there, so that
    the same call goes on.
    """
    for holding in among:
        store.require_writable(holding.collection)
    for holding in among:
        store.require_writable(holding.collection)
    for holding in among:
        with store.open(holding.collection) as collection:
            own = _as_named(selection, collection.manifest) or selection
            ids = [payload.id for payload in _selected(collection, own)]
            was_calibrated = collection.manifest.calibration is not None
            collection.delete(ids)
            dropped = was_calibrated and collection.manifest.calibration is None
            if own.dataset is not None and own.is_whole_dataset:
                collection.forget_dataset(own.dataset)
        if staged_name(holding.collection) in store:  # by a rebuild that was interrupted
            store.delete(staged_name(holding.collection))
        yield Holding(collection=holding.collection, points=len(ids), calibration_dropped=dropped)


def _as_named(selection: Selection, manifest: CollectionManifest) -> Selection | None:
    """Returns the selection with the dataset's name as a collection spells it, or None."""
    if selection.dataset is None:
        return selection
    own = find_name(selection.dataset, manifest.datasets)
    return None if own is None else replace(selection, dataset=own)


def _count(collection: Collection, selection: Selection) -> int:
    if selection.is_whole_dataset:
        return collection.count(selection.filter)
    return sum(1 for _ in _selected(collection, selection))


def _selected(collection: Collection, selection: Selection) -> Iterator[Payload]:
    roots = collection.manifest.datasets
    payloads = collection.scan(selection.filter)
    return (payload for payload in payloads if selection.selects(payload, roots))


def _is_at(path: str, wanted: str) -> bool:
    """Whether a path is the wanted one, or lies below it, or fits it as a pattern."""
    return path == wanted or path.startswith(f"{wanted}/") or fnmatchcase(path, wanted)
