"""Removes images from collections: a whole dataset, or images by path and class."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.sources.source_path import resolve_root
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.points import Payload, PointFilter
from lookalike_core.stores.protocol import Store, require_writable
from lookalike_core.text import find_name, nfc

from lookalike_ingest.path_choice import Reading, list_readings


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which images to remove: those that match every field that is given.

    Attributes:
        dataset: The name of a dataset; None for any.
        paths: Images or folders to match any of: relative to the dataset's root, else paths on disk; `*`
            matches any characters, `/` too.
        classes: Classes to match any of; "" matches images without a class.

    Raises:
        UsageError: no field is given, or a path is empty.
    """

    dataset: str | None = None
    paths: Sequence[str] = ()
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses an empty selection, which would match every image."""
        if self.dataset is None and self.is_whole_dataset:
            raise UsageError("nothing to remove is given; name a dataset, a path or a class")
        for path in self.paths:
            list_readings(path)

    @property
    def is_whole_dataset(self) -> bool:
        """Whether it selects all images of a dataset."""
        return not self.paths and not self.classes

    @property
    def filter(self) -> PointFilter:
        """The part of the selection that a store can filter by."""
        return PointFilter(dataset=self.dataset)

    def __str__(self) -> str:
        """Describes the selection in words that fit after "images"."""
        if self.is_whole_dataset:
            return f"of {self.dataset}"
        named = [f"class {name!r}" for name in self.classes if name]
        named += [f"path {path!r}" for path in self.paths]
        named += [f"dataset {self.dataset!r}"] if self.dataset is not None else []
        parts = ["without a class"] if "" in self.classes else []
        parts += [f"of {', '.join(named)}"] if named else []
        return (" or " if len(self.classes) > 1 else ", ").join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A collection with selected images; `points` is their number.

    Either `images` are the payloads of single images, or `dataset` is the whole dataset, spelt as in the
    collection. `calibration_dropped` is true if the removal has made the collection's calibration invalid.
    """

    collection: str
    points: int
    dataset: str | None = None
    images: Sequence[Payload] = ()
    calibration_dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The collections with selected images; `unmatched` are paths and classes without a match."""

    found: Sequence[Holding]
    unmatched: Sequence[str] = ()


def find_holdings(selection: Selection, *, store: Store, among: Sequence[str] = ()) -> Holdings:
    """Returns the collections that hold selected images, among all or those named by `among`.

    Names match in any Unicode form.

    Raises:
        CollectionMissingError: a collection of `among` does not exist.
        UsageError: no collection has the dataset, or none has such an image.
    """
    known: set[str] = set()
    whole: list[Holding] = []
    finder = _ImageFinder(selection)
    named = ((name, store.manifest(name)) for name in among)
    for name, manifest in named if among else readable_manifests(store):
        known |= set(manifest.datasets)
        own = _spell_as_stored(selection, manifest)
        if own is None:
            continue
        try:
            with store.open(name) as collection:
                if own.is_whole_dataset:
                    count = collection.count(own.filter)
                    whole.append(Holding(collection=name, points=count, dataset=own.dataset))
                else:
                    finder.look_at(name, collection.manifest, collection.scan(own.filter))
        except CollectionMissingError:  # somebody has deleted it since
            if among:
                raise
    if found := whole or finder.found():
        return Holdings(found=found, unmatched=[] if whole else finder.unmatched())
    there = ", ".join(map(repr, sorted(known))) or "none"
    if selection.dataset is None or find_name(selection.dataset, known):
        raise UsageError(f"no collection here holds an image {selection}; available datasets: {there}")
    raise UsageError(f"no collection here holds a dataset {selection.dataset!r}; available: {there}")


@dataclass(slots=True)
class _ImageFinder:
    """Collects images by each reading of each path; which reading counts depends on all collections."""

    selection: Selection
    readings: list[Reading] = field(init=False)
    classes: dict[str, bool] = field(init=False)
    """Composed class -> whether an image has it."""
    hits: defaultdict[Reading | None, defaultdict[str, dict[str, Payload]]] = field(init=False)
    """Reading (None without paths) -> collection -> id -> image."""

    def __post_init__(self) -> None:
        self.readings = [reading for path in self.selection.paths for reading in list_readings(path)]
        self.classes = dict.fromkeys(map(nfc, self.selection.classes), False)
        self.hits = defaultdict(lambda: defaultdict(dict))

    def look_at(self, name: str, manifest: CollectionManifest, payloads: Iterator[Payload]) -> None:
        """Adds the images of a collection that a reading matches."""
        roots = {dataset: _list_roots(root) for dataset, root in manifest.datasets.items()}
        for payload in payloads:
            class_name = nfc(payload.class_name or "")
            if self.classes:
                if class_name not in self.classes:
                    continue
                self.classes[class_name] = True
            if not self.readings:
                self.hits[None][name][payload.id] = payload
                continue
            path = nfc(payload.path)
            files = [f"{root}/{path}" for root in roots.get(payload.dataset, ())]
            for reading in self.readings:
                if any(map(reading.fits, files)) if reading.is_file else reading.fits(path):
                    self.hits[reading][name][payload.id] = payload

    def found(self) -> list[Holding]:
        """Returns the selected images: for each path those of its first reading that has a match."""
        meant = [self._meant(path) for path in self.selection.paths] if self.readings else [None]
        images: defaultdict[str, dict[str, Payload]] = defaultdict(dict)
        for reading in meant:
            for name, payloads in self.hits.get(reading, {}).items():
                images[name].update(payloads)
        return [
            Holding(collection=name, points=len(each), images=list(each.values()))
            for name, each in images.items()
        ]

    def unmatched(self) -> list[str]:
        """Returns the paths and classes that match no image."""
        classes = [name for name in self.selection.classes if not self.classes[nfc(name)]]
        paths = [path for path in self.selection.paths if self._meant(path) is None]
        return [f"class {name!r}" for name in classes] + [f"path {path!r}" for path in paths]

    def _meant(self, path: str) -> Reading | None:
        return next((reading for reading in list_readings(path) if reading in self.hits), None)


def _list_roots(root: str) -> list[str]:
    """Returns a root as recorded and with links resolved, without a trailing slash."""
    return [nfc(place.rstrip("/")) for place in dict.fromkeys((root, resolve_root(root)))]


def remove_images(*, store: Store, among: Sequence[Holding]) -> Iterator[Holding]:
    """Removes the selected points, and yields what was removed from each collection.

    A whole dataset's name is removed after its points, so that an interrupted call can be repeated.
    """
    require_removable(store=store, among=among)
    for holding in among:
        with store.open(holding.collection) as collection:
            gone = holding.images or collection.scan(PointFilter(dataset=holding.dataset))
            ids = [payload.id for payload in gone]
            was_calibrated = collection.manifest.calibration is not None
            collection.delete(ids)
            dropped = was_calibrated and collection.manifest.calibration is None
            if holding.dataset is not None:
                collection.forget_dataset(holding.dataset)
        if staged_name(holding.collection) in store:  # by a rebuild that was interrupted
            store.delete(staged_name(holding.collection))
        yield Holding(collection=holding.collection, points=len(ids), calibration_dropped=dropped)


def require_removable(*, store: Store, among: Sequence[Holding]) -> None:
    """Refuses read-only collections, before the user is asked to confirm.

    Raises:
        StoreError: a collection is read-only.
    """
    for holding in among:
        require_writable(store, holding.collection)


def _spell_as_stored(selection: Selection, manifest: CollectionManifest) -> Selection | None:
    """Returns the selection with the dataset spelt as in a collection; None if the collection lacks it."""
    if selection.dataset is None:
        return selection
    own = find_name(selection.dataset, manifest.datasets)
    return None if own is None else replace(selection, dataset=own)
