"""An index: one collection of images, which is filled, searched and analysed."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self, TypedDict, Unpack

import numpy as np
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.logs import logger_of
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import stored_vectors
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import Payload
from lookalike_core.stores.shared import SharedCollection, SharedStore
from lookalike_exporter.heads.fit import FitReport, FitRequest, fit_head
from lookalike_exporter.heads.head_file import Head, head_of
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.labels import check_labels
from lookalike_ingest.rebuild import RebuildOptions, RebuildReport, rebuild
from lookalike_ingest.removal import Selection, holdings, remove_images
from lookalike_ingest.request import DEFAULT_BACKBONE, dataset_in, datasets_in, labels_in
from lookalike_ingest.run import Embedders, IngestRequest, StopRequest, run_ingest
from lookalike_ingest.status import CollectionStatus, collection_statuses
from lookalike_ingest.subset import Subset
from lookalike_ingest.synsets import synset_labels
from lookalike_search.analysis.all_neighbours import every_scenes
from lookalike_search.analysis.collection_map import load_sample, mapped
from lookalike_search.analysis.duplicates import ABOVE, find_duplicates
from lookalike_search.analysis.explanation import explanations, see_both
from lookalike_search.asking.searched_collection import Network
from lookalike_search.class_names import stored_class
from lookalike_search.collection_choice import CollectionSelector, collection_of_model, in_collection
from lookalike_search.evaluation.calibration_run import calibrate_collection
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.runs import EvaluationOptions, evaluated
from numpy.typing import NDArray

from lookalike.arguments import (
    NEIGHBOURS_OF_EACH,
    ON_A_MAP,
    SEEDS_OF_A_MAP,
    chosen,
    list_texts,
    number,
    points_of,
    text,
    whole,
)
from lookalike.errors import FoldersError
from lookalike.model import Model, settings_for
from lookalike.notebook import shows_progress
from lookalike.records import (
    AddReport,
    Duplicates,
    Evaluation,
    Explanation,
    Map,
    Neighbours,
    Point,
    Where,
)
from lookalike.searching import ImageInput, Searchable, plain_query, points_where

_logger = logger_of("index")


def open_index(
    place: str | os.PathLike[str] | None = None,
    *,
    model: str | Model | None = None,
    distance: str | None = None,
    collection: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
) -> "Index":
    """Opens an index: one collection of a store, which the first `add` makes where it is not there.

    One in a folder that may only be read can be searched and analysed; what writes raises `StoreError`.

    Args:
        place: A folder, which is a store of its own; or the URL of a Qdrant server, `http://host:6333`, whose
            key is in QDRANT_API_KEY; None as LOOKALIKE_STORE and QDRANT_URL say.
        model: What embeds images: a backbone's name, with its official weights, or a `Model`. None takes the
            preferred collection of those that are there, and ResNet101V2 where there is none.
        distance: `cosine` (the default of a new collection) or `euclid`.
        collection: The name of a collection that is there, instead of a model and a distance.
        provider: What to embed on, where `model` is no `Model` that says so: `auto`, `cuda`, `openvino` or
            `cpu`.
        threads: How many threads a CPU embeds in.

    Raises:
        CollectionMissingError: there is no collection of the name that was given.
        StoreError: the store cannot be reached, or refuses.
        UsageError: arguments do not fit together.
    """
    if collection is not None and (model is not None or distance is not None):
        raise UsageError("a collection knows its model and distance; leave those out, or leave its name out")
    if isinstance(model, str):
        model = Model(model, provider=provider, threads=threads)
    elif model is not None and (provider is not None or threads is not None):
        raise UsageError("the model says what it runs on; leave provider and threads out")
    settings = model._settings if model else settings_for(provider, threads)
    metric = chosen(Distance, distance, "distance") if distance is not None else None
    store = SharedStore(open_store(_named_store(place), settings))
    for notice in store.notices:
        _logger.warning("%s", notice)
    if collection is not None and collection not in store:
        there, holder = ", ".join(store.names()) or "none", store.ingest_under_way()
        store.close()
        then = f"; {holder} is adding images and may be making it" if holder else ""
        raise CollectionMissingError(
            f"there is no collection {collection} in {store.label}; there: {there}{then}",
            collection=collection,
            holder=holder,
        )
    return Index(store, settings, model=model, distance=metric, collection=collection)


def list_collections(place: str | os.PathLike[str] | None = None) -> list[CollectionStatus]:
    """Returns what lies in a store, collection by collection, counted exactly; `open(collection=)` opens one.

    Args:
        place: As for `open`.

    Raises:
        StoreError: the store cannot be reached, or refuses.
    """
    store = open_store(_named_store(place), settings_for())
    try:
        return list(collection_statuses(store))
    finally:
        store.close()


def _named_store(place: str | os.PathLike[str] | None) -> str | None:
    """What names a store below: a folder is an embedded one."""
    if place is None:
        return None
    text = os.fspath(place)
    if isinstance(place, str) and "://" in text:
        return text
    if not text:
        raise UsageError("the name of the folder is empty")
    return f"embedded:{text}"


class AddOptions(TypedDict, total=False):
    """The options that `Index.add` and `Index.add_many` share, described there."""

    new_root: bool
    prune: bool
    force: bool
    dry_run: bool
    exclude: str | Sequence[str] | None
    default_excludes: bool | None
    follow_links: bool | None
    class_level: int | None
    max_per_class: int | None
    seed: int
    rehash: bool
    batch_size: int | None
    max_pixels: int
    quantize: str | None
    synsets: str | os.PathLike[str] | None
    val_solution: str | os.PathLike[str] | None


class Index(Searchable):
    """One collection of images: `lookalike.open` opens it; `close`, or leaving a `with` block, releases it.

    An index may be used from several threads: searches go on while another thread adds, and writes wait for
    each other. An embedded store belongs to one process as long as an index on it is open.
    """

    def __init__(
        self,
        store: SharedStore,
        settings: Settings,
        *,
        model: Model | None,
        distance: Distance | None,
        collection: str | None,
    ) -> None:
        self._store, self._settings = store, settings
        self._model, self._distance, self._name = model, distance, collection
        self._lock = RLock()
        """Around what is found and loaded once."""
        self._writing = RLock()
        """Around whatever writes, from its beginning to its end."""
        self._searched: Network | None = None
        self._embedders: Embedders | None = None
        """While several folders are added."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lookalike.Index {self._name or 'not opened yet'} in {self._store.label}>"

    def __len__(self) -> int:
        """How many images are in it; none where nothing was added yet."""
        return self._opened().count() if self._existing() else 0

    def __bool__(self) -> bool:
        """An index is true, whether or not it is empty."""
        return True

    def close(self) -> None:
        """Releases the store, once what is being written is; a second time it does nothing.

        What is used afterwards raises `UsageError`.
        """
        with self._writing:
            self._store.close()

    @property
    def collection(self) -> str:
        """The name of the collection.

        Raises:
            CollectionMissingError: nothing was added yet; its `holder` is the process that is at it.
        """
        if (name := self._existing()) is None:
            holder = self._store.ingest_under_way()
            then = f"{holder} is adding images" if holder else "add a folder of images first"
            raise CollectionMissingError(
                f"there is nothing in the index in {self._store.label} yet; {then}", holder=holder
            )
        return name

    @property
    def store(self) -> str:
        """The store that holds it, without credentials."""
        return self._store.label

    @property
    def manifest(self) -> CollectionManifest:
        """What the collection says of itself: its model, its distance, its datasets and their folders."""
        return self._opened().manifest

    @property
    def classes(self) -> dict[str, int]:
        """How many images each class has, counted exactly; `""` is no class."""
        return self._opened().tally("class")

    @property
    def datasets(self) -> dict[str, int]:
        """How many images each dataset has, counted exactly."""
        return self._opened().tally("dataset")

    @shows_progress
    def add(
        self,
        folder: str | os.PathLike[str],
        *,
        dataset: str | None = None,
        labels: Mapping[str, str | None] | str | os.PathLike[str] | None = None,
        new_root: bool = False,
        prune: bool = False,
        force: bool = False,
        dry_run: bool = False,
        exclude: str | Sequence[str] | None = None,
        default_excludes: bool | None = None,
        follow_links: bool | None = None,
        class_level: int | None = None,
        max_per_class: int | None = None,
        seed: int = 0,
        rehash: bool = False,
        batch_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
        quantize: str | None = None,
        synsets: str | os.PathLike[str] | None = None,
        val_solution: str | os.PathLike[str] | None = None,
    ) -> AddReport:
        """Brings the index up to date with a folder of images: only what is new or has changed is embedded.

        Args:
            folder: The folder; an image's class is the first folder below it, unless `class_level` says
                otherwise.
            dataset: The name of its images; by default the folder's.
            labels: Classes by path below the folder, which override those of folders; or the path of a CSV
                file with the header `path,class`.
            new_root: The dataset's folder has moved here.
            prune: Remove the points of files that are gone; with `force` even where all of them are, or where
                a folder is empty, so that its disk may not be mounted.
            force: See `prune`.
            dry_run: Only count what would be done.
            exclude: A pattern by gitignore's rules, or several; what fits is left out, and leaves the index.
                None keeps those that are remembered, an empty list forgets them.
            default_excludes: Leave out what is hidden, and what systems make (`@eaDir`, `$RECYCLE.BIN`).
                It and the two that follow are remembered, too, which is what None stands for.
            follow_links: Follow links to folders.
            class_level: Which folder names an image's class: 1 the first below `folder`, 2 the one in it; -1
                the image's own.
            max_per_class: Take at most so many images of each class, drawn by `seed`.
            seed: See `max_per_class`.
            rehash: Read every file again, also those whose size and times are as before.
            batch_size: Images a run of the network; by default 16, on a GPU 128.
            max_pixels: Images of more pixels are skipped.
            quantize: Search by short forms of the vectors: `int8` or `int4`; for a collection that is made
                now.
            synsets: ImageNet's table of what its folders are called.
            val_solution: ImageNet's table of the classes of its validation images.

        What is interrupted goes on with the next call.

        Raises:
            StoreError: the index lies where it may only be read, which its `path` is; nothing was embedded.
            UsageError: the folder is missing or holds no images, or the dataset lies elsewhere; or a pattern
                is malformed.
            WeightsError, ModelError, ProviderError: the model cannot be had or run.
            ManifestError: the collection holds another space, or is not ours.
        """
        if class_level is not None and not isinstance(class_level, int):
            raise UsageError(f"class_level is a whole number, not {class_level!r}")
        whose = dataset_in(os.fspath(folder), dataset, moved=new_root, may_be_missing=force)
        if isinstance(labels, str | os.PathLike):
            labels = labels_in(Path(labels).expanduser(), whose.root)
        else:
            check_labels(labels or {}, whose.root)
        rules = RuleChoice(
            exclude=None if exclude is None else list_texts(exclude, "exclude"),
            default_excludes=default_excludes,
            follow_links=follow_links,
            class_level=class_level,
        )
        rules.check_for(whose.root)
        with self._writing:
            existing = self._existing()
            request = IngestRequest(
                dataset=whose,
                specs=[self._wanted(existing)],
                distances=[self._store.manifest(existing).distance if existing else self._new_distance],
                labels=labels or {},
                label_of=synset_labels(
                    whose.root,
                    names=Path(synsets).expanduser() if synsets else None,
                    solution=Path(val_solution).expanduser() if val_solution else None,
                ),
                subset=None if max_per_class is None else Subset(max_per_class=max_per_class, seed=seed),
                rules=rules,
                batch_size=batch_size,
                max_pixels=max_pixels,
                dry_run=dry_run,
                prune=prune,
                force=force,
                rehash=rehash,
                into=existing,
                quantize=chosen(VectorQuantization, quantize, "quantize") if quantize is not None else None,
            )
            done = run_ingest(
                request,
                store=self._store,
                settings=self._settings,
                stop=StopRequest(),
                embedders=self._embedders,
            )
        return AddReport._of(done)

    @shows_progress
    def add_many(
        self, folders: Iterable[str | os.PathLike[str]], **options: Unpack[AddOptions]
    ) -> list[AddReport]:
        """Does what `add` does for several folders, each a dataset of its own; the model is opened once.

        Args:
            folders: The folders; one that is named twice is added once.
            options: Those of `add`, without `dataset` and `labels`.

        Raises:
            UsageError: a folder is missing, or two have the same name, before anything is done.
            FoldersError: `add` raised `UsageError` for some; the others are added, and their reports are its
                `reports`; its `errors` say what is wrong, by folder.
            WeightsError, ModelError, ProviderError, ManifestError: as for `add`.
        """
        if unknown := options.keys() - AddOptions.__annotations__.keys():
            raise TypeError(f"add_many has no parameter {min(unknown)}")
        named = list_texts(folders, "folders", is_several=True)
        datasets = datasets_in(named, may_be_missing=options.get("force", False))
        reports: list[AddReport] = []
        problems: dict[Path, UsageError] = {}
        with self._writing:
            self._embedders = Embedders(self._settings)
            try:
                for dataset in datasets:
                    try:
                        reports.append(self.add(dataset.root, **options))
                    except UsageError as error:
                        problems[dataset.root] = error
            finally:
                self._embedders = None
        if problems:
            raise FoldersError(reports=reports, errors=problems)
        return reports

    def points(self, where: Where | None = None) -> list[Point]:
        """Returns the images of the index, by dataset and path.

        Raises:
            UsageError: the index holds no such class or dataset.
        """
        opened = self._opened()
        manifest = opened.manifest
        return [Point._of(payload, manifest) for payload in _payloads(opened, where)]

    def vectors(self, where: Where | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """Returns ids and stored vectors, float32 `[N, D]`, in the order of `points`.

        Those of a cosine collection have length 1.

        Raises:
            UsageError: as for `points`.
        """
        opened = self._opened()
        payloads, matrix = stored_vectors(opened, _payloads(opened, where))
        return [payload.id for payload in payloads], matrix

    @shows_progress
    def evaluate(
        self,
        *,
        dataset: str | None = None,
        k: int = 10,
        near_above: float = NEAR_ABOVE,
        without_near: bool = False,
        indexed: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """Measures how good the neighbours are: every labelled image asks for the others, exactly.

        Args:
            dataset: Only images of this dataset.
            k: How many neighbours vote.
            near_above: The cosine similarity over which two images count as near-duplicates, 0 to 1.
            without_near: Leave near-duplicates of the asking image out.
            indexed: Compare what the store's own index finds, too; see `Evaluation.details`.
            seed: Of the bootstrap.

        Raises:
            UsageError: fewer than two images have a class.
        """
        options = EvaluationOptions(
            where=points_of(dataset),
            k=whole(k, "k"),
            near_above=number(near_above, "near_above"),
            without_near=without_near,
            seed=whole(seed, "seed"),
            indexed=indexed,
        )
        plan, manifest = Plan(collections=[self.collection]), self.manifest
        [setting] = evaluated(self._store, plan, options, settings=self._settings)
        return Evaluation._of(setting, manifest, k=k)

    @shows_progress
    def fit_head(
        self,
        name: str,
        *,
        classes: str | Sequence[str] = (),
        dims: int | None = None,
        seed: int = 0,
        force: bool = False,
    ) -> FitReport:
        """Fits a new last layer to the classes of the index; `Model(head=name)` embeds with it.

        Args:
            name: What the layer is called.
            classes: Only images of this class or these; by default all that have one.
            dims: How many values it gives; by default as many as the network.
            seed: Draws the fifth of the images that it is measured on.
            force: Replace another head of this name.

        Raises:
            UsageError: there are too few classes or images, or another head has this name.
        """
        request = FitRequest(
            collections=[self.collection],
            name=text(name, "name"),
            classes=list_texts(classes, "classes"),
            dims=None if dims is None else whole(dims, "dims"),
            seed=whole(seed, "seed"),
            force=force,
        )
        return fit_head(request, store=self._store, settings=self._settings)

    @shows_progress
    def calibrate(self, *, seed: int = 0) -> Calibration:
        """Learns how often neighbours of a score are right, which is recorded, and which answers then say.

        Adding or removing images drops it.

        Raises:
            UsageError: too few images have a class, or there are too few classes.
        """
        with self._writing:
            return calibrate_collection(self._store, self.collection, seed=whole(seed, "seed")).calibration

    @shows_progress
    def neighbours(
        self,
        k: int = 10,
        *,
        where: Where | None = None,
        exact: bool | None = None,
        include_self: bool = False,
        without_near: bool = False,
        near_above: float = NEAR_ABOVE,
    ) -> Neighbours:
        """Returns the `k` nearest neighbours of each and every image.

        `exact` compares all with all, which is the default up to 50,000 images; without it the store's index
        is asked. Images with the same bytes are left out, unless `include_self` keeps them. `without_near`
        and `near_above` are as for `search`.
        """
        wanted, near = whole(k, "k", NEIGHBOURS_OF_EACH), number(near_above, "near_above")
        opened, meant = self._opened(), points_where(where)
        found = every_scenes(
            opened,
            limit=wanted,
            above=near if without_near else None,
            where=meant,
            include_copies=include_self,
            exact=exact,
        )
        return Neighbours._of(list(found), opened.manifest, k=wanted)

    @shows_progress
    def duplicates(
        self,
        *,
        above: float | None = None,
        dataset: str | None = None,
        keep_in: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    ) -> Duplicates:
        """Returns groups of the same image, and which file to keep; nothing is deleted.

        Args:
            above: The cosine similarity from which on images are compared on their pixels, and shown where
                that proves nothing; by default 0.95 and 0.99. 1 finds those of the same bytes alone.
            dataset: Only images of this dataset.
            keep_in: A folder, or several, whose files are kept before others; none in them is offered for
                deletion.

        Raises:
            UsageError: distances are Euclidean and the index too large to compare all with all, or a folder
                to keep holds nothing of it.
        """
        opened = self._opened()
        groups = find_duplicates(
            opened,
            above=None if above is None else number(above, "above"),
            where=points_of(dataset),
            keep_in=[Path(folder).expanduser() for folder in list_texts(keep_in, "keep_in")],
        )
        return Duplicates(collection=opened.name, groups=groups, above=ABOVE if above is None else above)

    @shows_progress
    def explain(
        self, query: ImageInput, neighbour: ImageInput, *, max_pixels: int = MAX_PIXELS
    ) -> Explanation:
        """Returns where in two images their similarity comes from.

        Raises:
            ImageError: one of them cannot be read.
            UsageError: the vectors of this index are no averages over cells, or one of them is a vector.
        """
        pair = see_both(
            plain_query(query),
            plain_query(neighbour),
            [self.collection],
            store=self._store,
            max_pixels=whole(max_pixels, "max_pixels"),
        )
        [found] = explanations(pair, settings=self._settings)
        return Explanation._of(found, (pair.query, pair.neighbour))

    @shows_progress
    def map(self, *, limit: int = 2_000, dataset: str | None = None, seed: int = 0) -> Map:
        """Returns the images in two dimensions, near ones near; of all classes alike at most `limit` of them.

        Raises:
            CollectionError: there are no images.
            UsageError: the index holds no such dataset.
        """
        drawn, seeded = whole(limit, "limit", ON_A_MAP), whole(seed, "seed", SEEDS_OF_A_MAP)
        opened = self._opened()
        meant = in_collection(points_of(dataset), opened.manifest)
        sampled = load_sample(opened, limit=drawn, seed=seeded, where=meant)
        return Map._of(mapped(sampled, seed=seeded), seed=seeded)

    def remove(
        self,
        dataset: str | None = None,
        *,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        classes: str | Sequence[str] = (),
    ) -> int:
        """Takes images out of the index, and returns how many; the files stay.

        All that is given must hold. What names no image among others that do is logged. The next `add` of
        their folder takes images in again whose files are still there.

        Args:
            dataset: Only images of this dataset; alone, all of them, and the dataset's name.
            paths: Only these images, and those below these folders: paths in a dataset, or, where no image
                has such a one, paths of files; `*` stands for any characters. Any of several may be meant.
            classes: Only images of any of these classes; "" for those without a class.

        Raises:
            UsageError: the index holds no such dataset or image, nothing is given, or a path names nothing.
        """
        selection = Selection(
            dataset=dataset, paths=list_texts(paths, "paths"), classes=list_texts(classes, "classes")
        )
        with self._writing:
            meant = holdings(selection, store=self._store, among=[self.collection])
            for each in meant.unmatched:
                _logger.warning("warning: %s names no image here", each)
            return sum(each.points for each in remove_images(store=self._store, among=meant.found))

    @shows_progress
    def rebuild(
        self, *, quantize: str | None = None, force: bool = False, batch_size: int | None = None
    ) -> RebuildReport:
        """Makes the collection anew from its folders, as this version makes them.

        Its report's `replaced` says whether it was. The old one stays until the new one is whole, and for
        good where images are away or cannot be read, unless `force` leaves those out. `quantize` is as for
        `add`.
        """
        options = RebuildOptions(
            batch_size=None if batch_size is None else whole(batch_size, "batch_size"),
            force=force,
            quantize=chosen(VectorQuantization, quantize, "quantize") if quantize is not None else None,
        )
        with self._writing:
            report = rebuild(
                self.collection,
                options,
                store=self._store,
                settings=self._settings,
                stop=StopRequest(),
            )
        with self._lock:
            self._searched = None  # of a head that was fitted again the model is another one
        return report

    def _networks(self) -> list[Network]:
        """Returns the collection and its model, as the stage below searches them.

        Raises:
            CollectionMissingError: nothing was added yet.
        """
        with self._lock:
            name = self.collection
            if self._searched is None:
                self._searched = Network(self._store.open(name), settings=self._settings)
            return [self._searched]

    def _opened(self) -> SharedCollection:
        return self._store.open(self.collection)

    def _existing(self) -> str | None:
        """The name of the collection, found once; None where nothing was added yet."""
        with self._lock:
            self._store.require_open()
            if self._name is None:
                self._name = self._found()
            return self._name

    def _found(self) -> str | None:
        if self._model is not None:
            return collection_of_model(
                self._store,
                self._model._wanted,
                distance=self._distance,
                settings=self._settings,
            )
        selector = CollectionSelector(distance=self._distance)
        try:
            return selector.resolve_one(self._store, settings=self._settings)
        except CollectionMissingError:
            return None

    @property
    def _new_distance(self) -> Distance:
        return self._distance or Distance.COSINE

    def _wanted(self, existing: str | None) -> ModelSpec | Head:
        """What embeds images that are added."""
        if self._model is not None:
            return self._model._wanted
        if existing is None:
            return ModelSpec.of(DEFAULT_BACKBONE)
        manifest = self._store.manifest(existing)
        if manifest.identity.head is not None:
            return head_of(manifest.identity, self._settings, collection=existing)
        return ModelSpec.of_collection(manifest)


def _payloads(opened: SharedCollection, where: Where | None) -> list[Payload]:
    """Returns what is known of the points that are meant, by dataset and path."""
    meant = in_collection(points_where(where), opened.manifest)
    meant = replace(meant, class_name=stored_class(meant.class_name, [opened]))
    return sorted(opened.scan(meant), key=_place)


def _place(payload: Payload) -> tuple[str, str]:
    return payload.dataset, payload.path
