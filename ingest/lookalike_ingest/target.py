"""One collection on its way to mirror a folder."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import is_full
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.exclusion import Exclusion
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.stores.collection_manifest import (
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload
from lookalike_core.stores.protocol import Collection, Store, Upkeep
from lookalike_core.text import nfc
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.changes import Change, Decision, Known
from lookalike_ingest.payload_cache import Listing, ListingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Whose images they are: a name, and the absolute folder that paths are relative to.

    `moved` says that another folder recorded under the name is out of date. `rules` are those by which the
    folder is walked, which are recorded with it.
    """

    name: str
    root: Path
    moved: bool = False
    rules: FolderRules = DEFAULT_RULES
    is_named: bool = field(default=True, compare=False)
    """Whether somebody gave it its name, rather than the folder."""


@dataclass(slots=True, kw_only=True)
class CollectionReport:
    """What became of one collection; `provider` is None where nothing was embedded.

    `removed` are the paths of the points that went, or in a dry run would go, of which the counted `excluded`
    are left out by the dataset's rules. `away` are those of the points that stay although no file was found,
    for it may be away only: with pruning all, without it those whose bytes were found in a new file.
    `calibration_dropped` says that the collection had one, which what was written has outdated.
    """

    name: str
    provider: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    removed: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    calibration_dropped: bool = False


def target_name(model: ModelFile, distance: Distance, *, into: str | None = None) -> str:
    """Of the collection that a model's vectors go to: their own, unless they go `into` another."""
    manifest = model.manifest
    return into or collection_name(manifest.identity, distance, official=manifest.weights.official)


class Target:
    """A collection that is opened where it is there, and made when the first point is written.

    Raises:
        ManifestError: the collection holds another space, or something that is not ours has its name.
        StoreError: the collection may only be read, and this is no dry run.
        UsageError: the collection knows the dataset under another root, or stores vectors otherwise.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: ModelFile,
        distance: Distance,
        *,
        store: Store,
        stack: ExitStack,
        read_only: bool,
        name: str | None = None,
        quantize: VectorQuantization | None = None,
        rehash: bool = False,
    ) -> None:
        self._is_staged = name is not None
        self.name = target_name(model, distance, into=name)
        self.model = model
        self.report = CollectionReport(name=self.name)
        self._dataset, self._distance, self._quantize = dataset, distance, quantize
        self._store, self._stack, self._read_only = store, stack, read_only
        if not read_only and store.local is not None:
            store.local.require_writable(self.name)
        self._collection = self._opened() if self._is_there() else None
        self.known = Known(dataset.name, self._listing(), rehash=rehash)
        stack.callback(self.known.listing.close)

    def decide(self, decision: Decision) -> Decision:
        """Takes a decision as carried out, so that the next file is decided upon knowing it."""
        self.report.counts[decision.change] += 1
        if decision.payload is not None and self._upkeep is not None and not self._read_only:
            self._upkeep.invalidate_cache()
        if decision.replaces is not None:
            self.known.remove(decision.replaces)
        if decision.payload is not None:
            self.known.add(decision.payload)
        return decision

    def withdraw(self, decision: Decision) -> None:
        """Takes a decision back that cannot be carried out."""
        self.report.counts[decision.change] -= 1
        if decision.payload is not None:
            self.known.remove(decision.payload)
        if decision.before is not None:
            self.known.add(decision.before)

    def write(self, decisions: Sequence[Decision], embedded: Mapping[str, FloatVector]) -> None:
        """Carries decisions out; `embedded` maps SHA-256 to the vectors that were computed for them."""
        wanted = [decision for decision in decisions if decision.payload is not None]
        if self._read_only or not wanted:
            return
        collection = self._collection or self._created()
        vectors = {**self._stored(collection, wanted), **embedded}
        points = [
            self._point(d.payload, vectors) for d in wanted if d.payload is not None and d.writes_vector
        ]
        with self._watching(collection):
            collection.upsert(points)
            for refreshes in (False, True):
                collection.replace_payloads(
                    [d.payload for d in wanted if d.payload is not None and _replaces(d, refreshes)],
                    same_classes=refreshes,
                )
            collection.delete([d.replaces.id for d in wanted if d.replaces is not None])

    def settle(
        self,
        *,
        unread_folders: Sequence[str],
        prune: bool,
        exclusion: Exclusion,
        stays: Callable[[str], bool] = lambda _: False,
        perhaps_moved: AbstractSet[str] = frozenset(),
    ) -> None:
        """Removes the points of files that are gone; unless pruning, only of those moved or excluded.

        Of the others those stay of which `stays` says so by path: they may be away only, and so may those
        that are `perhaps_moved`.
        """
        gone = self.known.vanished(unread_folders=unread_folders)
        excluded = {payload.id for payload in gone if exclusion.covers(payload.path)}
        sure = excluded | {payload.id for payload in self.known.moved_among(gone)}
        unsure = [payload for payload in gone if payload.id not in sure]
        away = {p.path for p in unsure if (stays(p.path) if prune else p.path in perhaps_moved)}
        gone = [payload for payload in gone if payload.id in sure or (prune and payload.path not in away)]
        if self._collection is not None and not self._read_only:
            with self._watching(self._collection):
                self._collection.delete([payload.id for payload in gone])
            for payload in gone:
                self.known.remove(payload)
        self.report.removed, self.report.away = sorted(payload.path for payload in gone), sorted(away)
        self.report.counts["removed"] = len(gone)
        if excluded:
            self.report.counts["excluded"] = len(excluded)

    def other_datasets(self) -> Mapping[str, str]:
        """Returns the folders of all datasets of the collection but this one, by name."""
        datasets = {} if self._collection is None else self._collection.manifest.datasets
        return {name: root for name, root in datasets.items() if name != self._dataset.name}

    def rules_of(self, dataset: str) -> FolderRules:
        """Returns the rules that the collection remembers of a dataset."""
        return DEFAULT_RULES if self._collection is None else self._collection.manifest.rules_of(dataset)

    @property
    def holds_dataset(self) -> bool:
        """Whether the collection knows the dataset."""
        return self._collection is not None and self._dataset.name in self._collection.manifest.datasets

    def needs_index(self) -> bool:
        """Whether the collection has outgrown exact search; a valid cache was written after the index."""
        upkeep = self._upkeep
        if upkeep is None or self._read_only or upkeep.is_cache_valid:
            return False
        return upkeep.needs_index()

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Builds the search index."""
        if self._upkeep is not None:
            self._upkeep.build_index(on_wait)

    def keep_listing(self) -> None:
        """Leaves what is known of the points to the next ingest, once nothing more is written."""
        upkeep = self._upkeep
        if upkeep is None or self._read_only or upkeep.is_cache_valid:
            return
        try:
            self.known.listing.save(upkeep.cache_file)
        except (OSError, ListingError) as error:
            if isinstance(error, OSError) and is_full(error):
                raise
            return  # something is in its place that cannot be removed; the next ingest asks the store again
        upkeep.validate_cache()

    def distrust(self) -> None:
        """Says that the list beside the collection may not be believed."""
        if self._upkeep is not None:
            self._upkeep.invalidate_cache()

    @property
    def _upkeep(self) -> Upkeep | None:
        return None if self._collection is None else self._collection.upkeep

    def _listing(self) -> Listing:
        """What an earlier ingest has kept where it is still true, else what the store says."""
        collection = self._collection
        if collection is None:
            return Listing.of(())
        if (kept := Listing.kept_of(collection)) is not None:
            return kept
        if (upkeep := collection.upkeep) is None:
            return Listing.of(collection.scan(EVERYTHING))
        damaged = set(upkeep.find_damaged())
        if self._read_only:
            return Listing.of(point for point in collection.scan(EVERYTHING) if point.id not in damaged)
        with self._watching(collection):  # their files are taken in like new ones
            collection.delete(sorted(damaged))
        upkeep.invalidate_cache()
        return Listing.of(collection.scan(EVERYTHING), upkeep.cache_file)

    @contextmanager
    def _watching(self, collection: Collection) -> Iterator[None]:
        """Notes that a calibration was dropped, by what is written in the block."""
        was_calibrated = collection.manifest.calibration is not None
        yield
        if was_calibrated and collection.manifest.calibration is None:
            self.report.calibration_dropped = True

    def _point(self, payload: Payload, vectors: Mapping[str, FloatVector]) -> ImagePoint:
        """The vector was computed or is a stored point's, which somebody else may have removed since."""
        vector = vectors.get(payload.sha256)
        if vector is None:
            raise StoreError(
                f"{payload.path}: the point of {self.name} that has its vector was removed meanwhile, by "
                "somebody else",
                hint=Hint(Action.REPEAT),
            )
        return ImagePoint(payload=payload, vector=vector)

    @staticmethod
    def _stored(collection: Collection, decisions: Sequence[Decision]) -> dict[str, FloatVector]:
        """SHA-256 -> vector of the points that decisions point at.

        A point that an earlier one of the decisions writes anew still has its old vector; the bytes that
        it will have are those of a source or an image that the earlier decision has already.
        """
        sources: dict[str, str] = {}
        written: set[str] = set()
        for decision in decisions:
            if decision.vector_of is not None and decision.vector_of.id not in written:
                sources[decision.vector_of.id] = decision.vector_of.sha256
            if decision.payload is not None and decision.writes_vector:
                written.add(decision.payload.id)
        found = collection.vectors(list(sources))
        return {sources[point_id]: vector for point_id, vector in found.items()}

    def _is_there(self) -> bool:
        """Asked before anything is embedded: what has our name and is not ours is refused here."""
        try:
            self._store.manifest(self.name)
        except CollectionMissingError:
            return False
        return True

    def _opened(self) -> Collection:
        collection = self._stack.enter_context(self._store.open(self.name))
        collection.manifest.require(self.model.manifest.identity, self._distance, name=self.name)
        stored = collection.manifest.vector_quantization
        if self._quantize not in (None, stored):
            raise UsageError(
                f"{self.name} was made with another quantization, {stored}",
                argument=Argument.QUANTIZE,
                hint=Hint(
                    Action.REQUANTIZE,
                    {Argument.COLLECTION: self.name, Argument.QUANTIZE: str(self._quantize)},
                ),
            )
        root, known_root = str(self._dataset.root), collection.manifest.datasets.get(self._dataset.name)
        if known_root is not None and not _is_same_folder(known_root, root) and not self._dataset.moved:
            raise UsageError(
                f"dataset {self._dataset.name} of {self.name} lies in {known_root}, not in {root}",
                path=root,
                hint=Hint(Action.MOVE_OR_RENAME_DATASET),
            )
        known_rules, rules = collection.manifest.rules_of(self._dataset.name), self._dataset.rules
        if (known_root, known_rules) != (root, rules) and not self._read_only:
            collection.record_dataset(self._dataset.name, root, rules)
        return collection

    def _created(self) -> Collection:
        """Made now, unless another ingest has made it since we looked; a staged one is made by who stages."""
        if not self._is_there() and not self._is_staged:
            try:
                self._store.create(self._new_manifest(), name=self.name)
            except ManifestError:
                if self.name not in self._store:
                    raise
        self._collection = self._opened()
        return self._collection

    def _new_manifest(self) -> CollectionManifest:
        provider = self.report.provider or ""
        made = new_manifest(
            self.model,
            self._distance,
            provider=provider,
            datasets={},
            vector_quantization=self._quantize or VectorQuantization.NONE,
        )
        return made.with_dataset(self._dataset.name, str(self._dataset.root), self._dataset.rules)


def _is_same_folder(one: str, other: str) -> bool:
    """Whether two names are one folder's, perhaps in two Unicode forms; where both exist the disk tells."""
    if one == other:
        return True
    is_alike = nfc(one) == nfc(other)
    return is_alike and not (Path(one).exists() and Path(other).exists() and not Path(one).samefile(other))


def _replaces(decision: Decision, refreshes: bool) -> bool:
    """Whether a payload alone is replaced, and only refreshed: same class, another time or size."""
    return decision.payload_only and (decision.change is Change.UNCHANGED) == refreshes


def new_manifest(
    model: ModelFile,
    distance: Distance,
    *,
    provider: str,
    datasets: Mapping[str, str],
    vector_quantization: VectorQuantization = VectorQuantization.NONE,
) -> CollectionManifest:
    """What a collection that is made now says of itself."""
    manifest = model.manifest
    return CollectionManifest(
        identity=manifest.identity,
        distance=distance,
        weights=manifest.weights,
        exporter_version=manifest.exporter_version,
        graph_revision=manifest.graph_revision,
        provider=provider,
        created_at=now(),
        datasets=datasets,
        graph_precision=manifest.graph_precision,
        activation_ranges=manifest.activation_ranges,
        vector_quantization=vector_quantization,
    )


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
