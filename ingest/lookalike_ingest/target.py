"""A collection that an ingest compares with a folder and brings up to date."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import is_disk_full
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.sources.source_path import parse_root
from lookalike_core.stores.collection_manifest import (
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload
from lookalike_core.stores.protocol import Collection, Store, Upkeep, require_writable
from lookalike_core.text import nfc
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.changes import Change, Decision, KnownPoints, Removal
from lookalike_ingest.payload_cache import PayloadCache, PayloadCacheError
from lookalike_ingest.payload_lookups import PayloadLookups
from lookalike_ingest.report import CollectionReport
from lookalike_ingest.request import IngestRequest

EmbedAgain = Callable[[Sequence[Payload]], Mapping[str, FloatVector]]
"""Computes the vectors of files, by SHA-256, of those that still have these bytes."""


Wanted = Sequence[tuple[Decision, Payload]]
"""Decisions that write something, each with its payload."""


def list_wanted(decisions: Sequence[Decision]) -> list[tuple[Decision, Payload]]:
    """Returns the decisions that write something."""
    return [(decision, decision.payload) for decision in decisions if decision.payload is not None]


def target_name(model: ModelFile, distance: Distance, *, into: str | None = None) -> str:
    """Returns the collection for a model's vectors: their own, or `into` if it is given."""
    manifest = model.manifest
    return into or collection_name(manifest.identity, distance, official=manifest.weights.official)


class Target:
    """A collection that a folder is compared with; it is opened if it exists, and only read.

    Raises:
        ManifestError: the collection is of another embedding space, or its name is taken by something else.
        UsageError: the collection has another root for the dataset, or another vector quantization.
    """

    def __init__(
        self,
        request: IngestRequest,
        model: ModelFile,
        distance: Distance,
        *,
        store: Store,
        stack: ExitStack,
    ) -> None:
        self.name = target_name(model, distance, into=request.into)
        self.model, self.distance = model, distance
        self.report = CollectionReport(name=self.name)
        self._request, self._dataset = request, request.dataset
        self._store, self._stack, self._was_calibrated = store, stack, False
        self._collection = self._open() if self._is_there() else None
        self._cache = None if store.local is None else self._load_cache()
        payloads = self._cache or PayloadLookups(lambda: self._collection, dry_run=request.dry_run)
        self.known = KnownPoints(self._dataset.name, payloads, rehash=request.rehash)
        stack.callback(self.known.payloads.close)

    def carry_out(
        self,
        planned: Sequence[Decision],
        done: Sequence[Decision],
        embedded: Mapping[str, FloatVector],  # noqa: ARG002 - for those who write
        embed_again: EmbedAgain,  # noqa: ARG002
    ) -> None:
        """Counts the decisions in `done`; writes nothing.

        `embedded` maps SHA-256 to computed vectors. `embed_again` computes those that were to be copied from
        points that another process has removed.
        """
        self.known.settle(planned, done)
        self.report.counts.update(decision.change for decision in done)

    def complete_writes(self) -> None:
        """Waits for writes that `carry_out` has started; here there are none."""

    def remove(self, removal: Removal) -> None:
        """Reports which points would be removed; removes none."""
        self.report.removed = sorted(payload.path for payload in removal.gone)
        self.report.away = list(removal.away)
        self.report.waiting = len(removal.waiting)
        self.report.counts["removed"] = len(removal.gone)
        if removal.excluded:
            self.report.counts["excluded"] = removal.excluded

    def note_calibration(self) -> None:
        """Reports whether the collection had a calibration and has lost it."""
        if self._was_calibrated and self._collection is not None:
            self.report.calibration_dropped = self._collection.manifest.calibration is None

    def finish(self, on_wait: Callable[[], None]) -> None:
        """Does nothing, because nothing was written."""

    def other_datasets(self) -> Mapping[str, str]:
        """Returns the folders of all other datasets of the collection, by name."""
        datasets = {} if self._collection is None else self._collection.manifest.datasets
        return {name: root for name, root in datasets.items() if name != self._dataset.name}

    def rules_of(self, dataset: str) -> FolderRules:
        """Returns the rules that the collection remembers for a dataset."""
        return DEFAULT_RULES if self._collection is None else self._collection.manifest.rules_of(dataset)

    @property
    def holds_dataset(self) -> bool:
        """Returns whether the collection has the dataset."""
        return self._collection is not None and self._dataset.name in self._collection.manifest.datasets

    def invalidate_cache(self) -> None:
        """Marks the payload cache beside the collection as not valid."""
        if self._upkeep is not None:
            self._upkeep.invalidate_cache()

    @property
    def _upkeep(self) -> Upkeep | None:
        return None if self._collection is None else self._collection.upkeep

    def _load_cache(self) -> PayloadCache:
        """Returns the payload cache that an earlier ingest saved if it is valid; else reads the store."""
        if self._collection is None:
            return PayloadCache.of(())
        return PayloadCache.load_beside(self._collection) or self._read_points(self._collection)

    def _read_points(self, collection: Collection) -> PayloadCache:
        """Reads the points except damaged ones, whose files are ingested like new ones."""
        damaged = set(collection.upkeep.find_damaged()) if collection.upkeep else set()
        return PayloadCache.of(point for point in collection.scan(EVERYTHING) if point.id not in damaged)

    def _is_there(self) -> bool:
        """Returns whether the collection exists; raises if its name is taken by something else."""
        try:
            self._store.manifest(self.name)
        except CollectionMissingError:
            return False
        return True

    def _open(self) -> Collection:
        collection = self._stack.enter_context(self._store.open(self.name))
        manifest, quantize = collection.manifest, self._request.quantize
        self._was_calibrated = manifest.calibration is not None
        manifest.require(self.model.manifest.identity, self.distance, name=self.name)
        if quantize not in (None, manifest.vector_quantization):
            raise UsageError(
                f"{self.name} was created with another vector quantization, {manifest.vector_quantization}",
                argument=Argument.QUANTIZE,
                hint=Hint(
                    Action.REQUANTIZE, {Argument.COLLECTION: self.name, Argument.QUANTIZE: str(quantize)}
                ),
            )
        root, known_root = str(self._dataset.root), manifest.datasets.get(self._dataset.name)
        if known_root is not None and not _is_same_folder(known_root, root) and not self._dataset.moved:
            raise UsageError(
                f"dataset {self._dataset.name} of {self.name} has the root {known_root}, not {root}",
                path=root,
                hint=Hint(Action.MOVE_OR_RENAME_DATASET),
            )
        return collection


class WrittenTarget(Target):
    """A collection that is written to; it is created with its first point.

    Raises:
        StoreError: the collection is read-only.
    """

    def carry_out(
        self,
        planned: Sequence[Decision],
        done: Sequence[Decision],
        embedded: Mapping[str, FloatVector],
        embed_again: EmbedAgain,
    ) -> None:
        """Writes what was decided, and then counts it."""
        if wanted := list_wanted(done):
            collection = self._open_or_create()
            self._write(collection, wanted, self._get_vectors(collection, wanted, embedded, embed_again))
        super().carry_out(planned, done, embedded, embed_again)

    def _open_or_create(self) -> Collection:
        self._collection = self._collection or self._create()
        return self._collection

    def _get_vectors(
        self, collection: Collection, wanted: Wanted, embedded: Mapping[str, FloatVector], again: EmbedAgain
    ) -> dict[str, FloatVector]:
        """Returns the vectors to write, by SHA-256: stored ones of other points, and computed ones."""
        vectors = {**self._read_vectors(collection, wanted), **embedded}
        lost = [p for decision, p in wanted if decision.writes_vector and p.sha256 not in vectors]
        return {**vectors, **again(lost)} if lost else vectors

    def _read_vectors(self, collection: Collection, wanted: Wanted) -> dict[str, FloatVector]:
        """Returns by SHA-256 the vectors of the points that decisions copy from.

        A point that an earlier decision overwrites still has its old vector; the vector for its new bytes
        comes from a source or an image that the earlier decision already has.
        """
        sources: dict[str, str] = {}
        written: set[str] = set()
        for decision, payload in wanted:
            if decision.vector_of is not None and decision.vector_of.id not in written:
                sources[decision.vector_of.id] = decision.vector_of.sha256
            if decision.writes_vector:
                written.add(payload.id)
        found = collection.vectors(list(sources))
        return {sources[point_id]: vector for point_id, vector in found.items()}

    def _write(self, collection: Collection, wanted: Wanted, vectors: Mapping[str, FloatVector]) -> None:
        collection.upsert(self._make_points(wanted, vectors))
        self._write_rest(collection, wanted)

    def _write_rest(self, collection: Collection, wanted: Wanted) -> None:
        """Writes what may follow the vectors: changed payloads, and the deletion of moved points."""
        for is_same_class in (False, True):
            fresh = [
                payload
                for decision, payload in wanted
                if decision.payload_only and (decision.change is Change.UNCHANGED) == is_same_class
            ]
            collection.replace_payloads(fresh, same_classes=is_same_class)
        collection.delete([decision.replaces.id for decision, _ in wanted if decision.replaces is not None])

    def remove(self, removal: Removal) -> None:
        """Removes the points, records since when files are missing, and reports both."""
        if self._collection is not None:
            self._collection.replace_payloads(removal.to_record, same_classes=True)
            for payload in removal.to_record:
                self.known.record_missing(payload)
            self._collection.delete([payload.id for payload in removal.gone])
            for payload in removal.gone:
                self.known.remove(payload)
        super().remove(removal)

    def finish(self, on_wait: Callable[[], None]) -> None:
        """Builds the search index, calling `on_wait` a few times a second, and saves the payload cache.

        A collection with a valid cache has its index already.
        """
        collection, upkeep = self._collection, self._upkeep
        is_complete = upkeep is None or upkeep.is_cache_valid
        if collection is not None and self._cache is not None and not is_complete:
            complete_upkeep(collection, self._cache, on_wait=on_wait)

    def _read_points(self, collection: Collection) -> PayloadCache:
        """Removes damaged points, whose files are ingested like new ones, and reads the others."""
        if (upkeep := collection.upkeep) is not None:
            collection.delete(upkeep.find_damaged())
            upkeep.invalidate_cache()
        return PayloadCache.of(collection.scan(EVERYTHING))

    def _open(self) -> Collection:
        """Opens the collection, and records the dataset's root and the rules of its folder.

        One of an older version on a server gets its indexes.
        """
        require_writable(self._store, self.name)
        collection = super()._open()
        if collection.upkeep is None:
            collection.complete_indexes()
        name, root, rules = self._dataset.name, str(self._dataset.root), self._dataset.rules
        if (collection.manifest.datasets.get(name), collection.manifest.rules_of(name)) != (root, rules):
            collection.record_dataset(name, root, rules)
        return collection

    def _create(self) -> Collection:
        """Creates the collection, unless another ingest has just done so, or it is staged by a rebuild."""
        if not self._is_there() and self._request.into is None:
            try:
                self._store.create(self._new_manifest(), name=self.name, layout=self._request.layout)
            except ManifestError:
                if self.name not in self._store:
                    raise
        return self._open()

    def _new_manifest(self) -> CollectionManifest:
        made = new_manifest(
            self.model,
            self.distance,
            provider=self.report.provider or "",
            datasets={},
            vector_quantization=self._request.quantize or VectorQuantization.NONE,
        )
        return made.with_dataset(self._dataset.name, str(self._dataset.root), self._dataset.rules)

    def _make_points(self, wanted: Wanted, vectors: Mapping[str, FloatVector]) -> list[ImagePoint]:
        return [self._make_point(p, vectors) for decision, p in wanted if decision.writes_vector]

    def _make_point(self, payload: Payload, vectors: Mapping[str, FloatVector]) -> ImagePoint:
        """Returns the point to write.

        Raises:
            StoreError: another process has removed the point with its vector, and its file has changed since.
        """
        vector = vectors.get(payload.sha256)
        if vector is None:
            raise StoreError(
                f"{payload.path}: the point of {self.name} with its vector was removed by another process",
                hint=Hint(Action.REPEAT),
            )
        return ImagePoint(payload=payload, vector=vector)


def complete_upkeep(
    collection: Collection, cache: PayloadCache, *, on_wait: Callable[[], None] = lambda: None
) -> None:
    """Builds the indexes that a collection needs and lacks, and saves the cache of its payloads.

    `on_wait` is called a few times a second while the search index is built. Payload fields that it does not
    link are indexed after it. Does nothing on a server.
    """
    if (upkeep := collection.upkeep) is None:
        return
    if upkeep.needs_index():
        with progress.bar(f"index of {collection.name}", unit="seconds", total=None) as bar:

            def wait() -> None:
                bar.advance(0)  # for the time alone
                on_wait()

            upkeep.build_index(wait)
    collection.complete_indexes()
    try:
        cache.save(upkeep.cache_file)
    except (OSError, PayloadCacheError) as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        return  # something is in its place that cannot be removed; the next ingest reads the store
    upkeep.validate_cache()


def complete_written(collection: Collection, *, on_wait: Callable[[], None] = lambda: None) -> None:
    """Does what `complete_upkeep` does after points were written by other means than an ingest.

    The payloads are read from the collection. Does nothing on a server.
    """
    if collection.upkeep is None:
        return
    cache = PayloadCache.of(collection.scan())
    try:
        complete_upkeep(collection, cache, on_wait=on_wait)
    finally:
        cache.close()


def _is_same_folder(one: str, other: str) -> bool:
    """Returns whether two paths are the same folder; they may be in two Unicode forms."""
    if one == other:
        return True
    is_alike = nfc(one) == nfc(other)
    return is_alike and not (
        parse_root(one).exists() and parse_root(other).exists() and not parse_root(one).samefile(other)
    )


def new_manifest(
    model: ModelFile,
    distance: Distance,
    *,
    provider: str,
    datasets: Mapping[str, str],
    vector_quantization: VectorQuantization = VectorQuantization.NONE,
) -> CollectionManifest:
    """Returns the manifest of a new collection."""
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
    """Returns the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
