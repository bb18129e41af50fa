"""Indexes: collections of images to fill, search and analyse."""

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from threading import Event, RLock
from types import TracebackType
from typing import Self, TypedDict, Unpack

import numpy as np
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.logs import get_logger
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.cluster_layout import MAX_LAYOUT_NUMBER, ClusterLayout, choose_layout
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import find_ingest_under_way
from lookalike_core.stores.shared import SharedCollection, SharedStore
from lookalike_exporter.heads.fit import FitReport, FitRequest, fit_head
from lookalike_exporter.heads.head_file import Head, read_collection_head
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.backup import BackupReport, back_up, check_backup, restore
from lookalike_ingest.copying import CopyReport, copy_collection
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.engines.engine import EngineName, choose_engine
from lookalike_ingest.integrity.collection_check import ALL, Sample, VerifyOptions, verify_collection
from lookalike_ingest.integrity.faults import Verification
from lookalike_ingest.labels import check_labels
from lookalike_ingest.rebuild import RebuildOptions, RebuildReport, rebuild
from lookalike_ingest.removal import Selection, find_holdings, remove_images
from lookalike_ingest.request import (
    DEFAULT_BACKBONE,
    IngestRequest,
    StopRequest,
    describe_dataset,
    describe_datasets,
    load_labels,
)
from lookalike_ingest.run import run_ingest
from lookalike_ingest.status import CollectionStatus, read_statuses
from lookalike_ingest.subset import Subset
from lookalike_ingest.synsets import choose_synset_labels
from lookalike_ingest.table_import import ImportReport, import_table
from lookalike_ingest.watching.watch import WatchedFolders, require_watchable, watch_folders
from lookalike_search.analysis.all_neighbours import find_all_chosen
from lookalike_search.analysis.audit import FALSE_DISCOVERIES, audit_collection
from lookalike_search.analysis.collection_map import load_sample, map_collection
from lookalike_search.analysis.duplicates import SIMILAR_ABOVE, find_duplicates
from lookalike_search.analysis.explanation import explain_pair, load_pair
from lookalike_search.analysis.export import ExportReport, check_export, export_collection
from lookalike_search.analysis.inversion_attack import RECOGNISED
from lookalike_search.analysis.privacy import LIMIT, measure_privacy, sample_vectors
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.collection_choice import (
    CollectionSelector,
    collection_of_model,
    resolve_dataset,
    resolve_filter,
)
from lookalike_search.evaluation.calibration_run import calibrate_collection
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.runs import EvaluationOptions, evaluate_settings
from numpy.typing import NDArray

from lookalike.arguments import (
    ATTACKED,
    NEIGHBOURS_OF_EACH,
    ON_A_MAP,
    RECOGNISED_OF_EACH,
    SEEDS_OF_A_MAP,
    check_choice,
    check_hit_choice,
    check_number,
    check_share,
    check_study,
    check_text,
    check_whole,
    filter_by_dataset,
    list_texts,
    parse_part,
    parse_region,
)
from lookalike.errors import FoldersError
from lookalike.model import Model, settings_for
from lookalike.notebook import shows_progress
from lookalike.records import (
    AddReport,
    Audit,
    Duplicates,
    Evaluation,
    Explanation,
    Map,
    Neighbours,
    Point,
    Privacy,
    Where,
)
from lookalike.searching import ImageInput, RegionInput, Searchable, plain_query, points_where

_logger = get_logger("index")


def open_index(
    place: str | os.PathLike[str] | None = None,
    *,
    model: str | Model | None = None,
    distance: str | None = None,
    collection: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
) -> "Index":
    """Opens an index: a collection of a store, which the first `add` creates if needed.

    An index in a read-only folder can be searched and analysed; methods that write raise `StoreError`.

    Args:
        place: A folder, which is a store of its own; or the URL of a Qdrant server, `http://host:6333`, with
            its key in QDRANT_API_KEY; None for the store that the commands use: that of LOOKALIKE_STORE or
            QDRANT_URL, else a server on this machine or the embedded store in LOOKALIKE_HOME.
        model: The name of a backbone with its official weights, or a `Model`. None chooses the preferred
            collection of the store, or ResNet101V2 for an empty store.
        distance: `cosine` (the default of a new collection) or `euclid`.
        collection: The name of an existing collection, instead of a model and a distance.
        provider: The execution provider, unless `model` is a `Model`: `auto`, `cuda`, `openvino` or `cpu`.
        threads: Threads on a CPU, unless `model` is a `Model`.

    Raises:
        CollectionMissingError: there is no collection of this name.
        StoreError: the store cannot be reached, or refuses.
        UsageError: arguments contradict each other.
    """
    if collection is not None and (model is not None or distance is not None):
        raise UsageError(
            "a collection has its own model and distance; leave those out, or leave its name out"
        )
    if isinstance(model, str):
        model = Model(model, provider=provider, threads=threads)
    elif model is not None and (provider is not None or threads is not None):
        raise UsageError("a Model has its own provider and threads; leave those out")
    settings = model._settings if model else settings_for(provider, threads)
    metric = check_choice(Distance, distance, "distance") if distance is not None else None
    store = SharedStore(open_store(_store_address(place), settings))
    if collection is not None and collection not in store:
        there, holder = ", ".join(store.names()) or "none", find_ingest_under_way(store)
        store.close()
        then = f"; {holder} is adding images and may be making it" if holder else ""
        raise CollectionMissingError(
            f"there is no collection {collection} in {store.label}; available: {there}{then}",
            collection=collection,
            holder=holder,
        )
    return Index(store, settings, model=model, distance=metric, collection=collection)


@shows_progress
def restore_index(
    file: str | os.PathLike[str], place: str | os.PathLike[str] | None = None, *, check: bool = False
) -> BackupReport:
    """Makes a collection of its backup, after all of the backup has been checked; `open` opens it.

    Args:
        file: The file that `Index.backup` wrote.
        place: As for `open`; a backup can be restored to the kind of store that it is of.
        check: Only read the file and compare all of its content with the SHA-256 in it.

    Raises:
        LookalikeError: the file is damaged, or is no backup.
        ManifestError: a collection of its name exists, which was not changed; or another head has the name of
            its head.
        UsageError: there is no such file, or the backup is of the other kind of store.
        StoreError: the store cannot be reached or written to.
    """
    path = Path(os.fspath(file)).expanduser().absolute()
    if check:
        return check_backup(path)
    settings = settings_for()
    store = open_store(_store_address(place), settings)
    try:
        return restore(path, store=store, settings=settings)
    finally:
        store.close()


def list_collections(place: str | os.PathLike[str] | None = None) -> list[CollectionStatus]:
    """Returns the status of each collection of a store, counted exactly; `open(collection=)` opens one.

    Args:
        place: As for `open`.

    Raises:
        StoreError: the store cannot be reached, or refuses.
    """
    store = open_store(_store_address(place), settings_for())
    try:
        return list(read_statuses(store))
    finally:
        store.close()


def _store_address(place: str | os.PathLike[str] | None) -> str | None:
    """Returns the address of a store; that of a folder means an embedded store."""
    if place is None:
        return None
    text = os.fspath(place)
    if isinstance(place, str) and "://" in text:
        return text
    if not text:
        raise UsageError("the name of the folder is empty")
    return f"embedded:{text}"


def _choose_layout(
    shards: int | None, replicas: int | None, write_consistency: int | None
) -> ClusterLayout | None:
    given = {"shards": shards, "replicas": replicas, "write_consistency": write_consistency}
    for name, value in given.items():
        if value is not None:
            check_whole(value, name, (1, MAX_LAYOUT_NUMBER))
    return choose_layout(**given)


class AddOptions(TypedDict, total=False):
    """The options that `Index.add` and `Index.add_many` share, described there."""

    new_root: bool
    prune: bool
    prune_after: timedelta | None
    force: bool
    dry_run: bool
    exclude: str | Sequence[str] | None
    default_excludes: bool | None
    follow_links: bool | None
    class_level: int | None
    max_per_class: int | None
    seed: int
    part: tuple[int, int] | None
    engine: str | None
    address: str | None
    rehash: bool
    batch_size: int | None
    max_pixels: int
    quantize: str | None
    shards: int | None
    replicas: int | None
    write_consistency: int | None
    synsets: str | os.PathLike[str] | None
    val_solution: str | os.PathLike[str] | None


class Index(Searchable):
    """One collection of images: `lookalike.open` opens it; `close`, or leaving a `with` block, releases it.

    An index may be used from several threads: searches continue while another thread adds, and writes wait
    for each other. Only one process at a time can open an embedded store.
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
        """Guards what is found and loaded once."""
        self._writing = RLock()
        """Held while a method writes."""
        self._searched: SearchedCollection | None = None
        self._embedders: Embedders | None = None
        """Shared by the folders of `add_many`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lookalike.Index {self._name or 'not opened yet'} in {self._store.label}>"

    def __len__(self) -> int:
        """Returns the number of images, 0 before anything was added."""
        return self._opened().count() if self._existing() else 0

    def __bool__(self) -> bool:
        """Returns True, since an index has a length, and an empty one would be false."""
        return True

    def close(self) -> None:
        """Releases the store after writes in progress; a second call does nothing.

        Later use raises `UsageError`.
        """
        with self._writing:
            self._store.close()

    @property
    def collection(self) -> str:
        """The name of the collection.

        Raises:
            CollectionMissingError: no images were added yet; its `holder` is a process that is adding images.
        """
        if (name := self._existing()) is None:
            holder = find_ingest_under_way(self._store)
            then = f"{holder} is adding images" if holder else "add a folder of images first"
            raise CollectionMissingError(f"the index in {self._store.label} is empty; {then}", holder=holder)
        return name

    @property
    def store(self) -> str:
        """The address of the store, without credentials."""
        return self._store.label

    @property
    def manifest(self) -> CollectionManifest:
        """The collection's manifest: its model, its distance, its datasets and their folders."""
        return self._opened().manifest

    @property
    def classes(self) -> dict[str, int]:
        """Class -> its exact number of images; `""` is no class."""
        return self._opened().tally("class")

    @property
    def datasets(self) -> dict[str, int]:
        """Dataset -> its exact number of images."""
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
        prune_after: timedelta | None = None,
        force: bool = False,
        dry_run: bool = False,
        exclude: str | Sequence[str] | None = None,
        default_excludes: bool | None = None,
        follow_links: bool | None = None,
        class_level: int | None = None,
        max_per_class: int | None = None,
        seed: int = 0,
        part: tuple[int, int] | None = None,
        engine: str | None = None,
        address: str | None = None,
        rehash: bool = False,
        batch_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
        quantize: str | None = None,
        shards: int | None = None,
        replicas: int | None = None,
        write_consistency: int | None = None,
        synsets: str | os.PathLike[str] | None = None,
        val_solution: str | os.PathLike[str] | None = None,
    ) -> AddReport:
        """Updates the index from a folder of images; only new and changed ones are embedded.

        Args:
            folder: The folder; the first folder below it is an image's class, unless `class_level` is given.
                It may be in an object store (`s3://BUCKET/FOLDER`, `gs://...`). A Parquet file with images
                inside, or a folder of such files, is read, too.
            dataset: The name of the dataset; by default the folder's.
            labels: Classes by path below the folder, which override those of folders; or the path of a CSV
                file with the header `path,class`.
            new_root: Confirm that the dataset's folder has moved to `folder`.
            prune: Remove the points of deleted files; with `force` even where all files are missing or a
                folder is empty, as when a disk is not mounted.
            prune_after: Remove the points of deleted files only once they have been gone for this time, since
                a call with `prune_after` first missed them.
            force: See `prune`.
            dry_run: Report what would be done, and change nothing.
            exclude: A gitignore pattern, or several: matching files are left out, and removed from the index.
                None keeps the stored patterns, an empty list clears them.
            default_excludes: Leave out hidden files, and those of systems (`@eaDir`, `$RECYCLE.BIN`). This
                and the next two arguments are stored with the dataset; None keeps the stored value.
            follow_links: Follow links to folders.
            class_level: The level of the folder that names an image's class: 1 is below `folder`, 2 one level
                deeper; -1 is the image's own folder.
            max_per_class: Add a random sample of at most this many images of each class.
            seed: The seed of that sample.
            part: Add only one part of the folder, as `(2, 8)` for the second of eight, chosen by paths.
                Several processes may each add one at the same time to an index on a server.
            engine: `ray` embeds and writes on a Ray cluster, to an index on a server; the files must be at
                the same paths on its nodes. One that this process is connected to already is used.
            address: The cluster: `auto` for that of this machine, or the `HOST:PORT` of its head; None starts
                one on this machine alone, unless RAY_ADDRESS names one.
            rehash: Read every file again, even if its size and times are unchanged.
            batch_size: Images in a batch; by default 16, on a GPU 128.
            max_pixels: Images of more pixels are skipped.
            quantize: Vector quantization of a new collection: `int8` or `int4`.
            shards: Shards of a new collection on a server; by default as the server is set up.
            replicas: Copies of each shard, on different peers of the server's cluster.
            write_consistency: The replicas that must confirm a write while one fails.
            synsets: ImageNet's table of the names of its folders.
            val_solution: ImageNet's table of the classes of its validation images.

        After an interruption the next call continues.

        Raises:
            StoreError: the store is read-only, and its folder the error's `path`; nothing was embedded.
            UsageError: the folder is missing or holds no images, the dataset has another folder, or a pattern
                is malformed; or the collection has other shards or replicas, or cannot have them.
            WeightsError, ModelError, ProviderError: the model is not available or cannot be run.
            ManifestError: the collection holds another embedding space, or is not of Lookalike.
        """
        if class_level is not None and not isinstance(class_level, int):
            raise UsageError(f"class_level must be a whole number, not {class_level!r}")
        whose = describe_dataset(os.fspath(folder), dataset, moved=new_root, may_be_missing=force)
        if isinstance(labels, str | os.PathLike):
            labels = load_labels(Path(labels).expanduser(), whose.root)
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
                label_of=choose_synset_labels(
                    whose.root,
                    names=Path(synsets).expanduser() if synsets else None,
                    solution=Path(val_solution).expanduser() if val_solution else None,
                ),
                subset=None if max_per_class is None else Subset(max_per_class=max_per_class, seed=seed),
                part=None if part is None else parse_part(part),
                engine=choose_engine(
                    None if engine is None else check_choice(EngineName, engine, "engine"), address
                ),
                rules=rules,
                batch_size=batch_size,
                max_pixels=max_pixels,
                dry_run=dry_run,
                prune=prune,
                prune_after=prune_after,
                force=force,
                rehash=rehash,
                into=existing,
                quantize=check_choice(VectorQuantization, quantize, "quantize")
                if quantize is not None
                else None,
                layout=_choose_layout(shards, replicas, write_consistency),
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
        """Adds several folders, each a dataset; the model is loaded once.

        Args:
            folders: The folders; a repeated one is added once.
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
        datasets = describe_datasets(named, may_be_missing=options.get("force", False))
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

    def watch(
        self,
        folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        stop: Event | None = None,
        poll_s: float | None = None,
        **options: Unpack[AddOptions],
    ) -> Generator[AddReport, None, None]:
        """Keeps the index up to date with folders, and yields a report each time that one has changed it.

        Each folder is added at the start, again once nothing has changed for two seconds, every minute where
        changes do not pause, and once an hour anyway. The model is loaded once. A folder that is missing or
        holds no images is waited for. What goes wrong after the first time is logged, and tried again.

        Args:
            folders: A folder, or several, each a dataset.
            stop: Setting it ends the watch after the folder in hand, from any thread; without it, the watch
                ends when the generator is closed.
            poll_s: Look through the folders so often, where changes have no events, as on network file
                systems; in seconds.
            options: Those of `add`, without `dataset`, `labels`, `dry_run`, `force`, `part`, `engine` and
                `address`.

        Raises:
            UsageError: a folder is missing, or two have the same name, or an option makes no sense here.
            WeightsError, ModelError, ProviderError, ManifestError, StoreError: as for `add`, the first time.
        """
        if unknown := options.keys() - AddOptions.__annotations__.keys():
            raise TypeError(f"watch has no parameter {min(unknown)}")
        for name in ("dry_run", "force", "part", "engine", "address"):
            if options.get(name):
                raise UsageError("a watch has no use for this; leave it out", argument=name)
        roots = [dataset.root for dataset in describe_datasets(list_texts(folders, "folders"))]
        if not roots:
            raise UsageError("there is no folder to watch", argument="folders")
        require_watchable(roots)
        every_s = None if poll_s is None else check_number(poll_s, "poll_s")
        return self._watch(roots, stop or Event(), every_s, options)

    def _watch(
        self, roots: Sequence[Path], stop: Event, poll_s: float | None, options: AddOptions
    ) -> Generator[AddReport, None, None]:
        embedders = Embedders(self._settings)

        def add(root: Path) -> AddReport:
            with self._writing:
                others, self._embedders = self._embedders, embedders
                try:
                    return self.add(root, **options)
                finally:
                    self._embedders = others

        watched = WatchedFolders(
            roots=roots,
            ingest=add,
            rules_of=attrgetter("rules"),
            is_stopped=stop.is_set,
            is_local=self._store.local is not None,
            poll_s=poll_s,
        )
        for run in watch_folders(watched):
            reports = (folder.report for folder in run.folders)
            yield from (report for report in reports if report is not None and report.has_changes)

    def points(self, where: Where | None = None) -> list[Point]:
        """Returns the images of the index, sorted by dataset and path.

        Raises:
            UsageError: the index holds no such class or dataset.
        """
        opened = self._opened()
        manifest = opened.manifest
        return [Point._of(payload, manifest) for payload in _payloads(opened, where)]

    def vectors(self, where: Where | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """Returns ids and stored vectors, float32 `[N, D]`, in the order of `points`.

        Vectors of a cosine collection have length 1.

        Raises:
            UsageError: as for `points`.
        """
        opened = self._opened()
        payloads, matrix = read_vectors(opened, _payloads(opened, where))
        return [payload.id for payload in payloads], matrix

    @shows_progress
    def export(
        self,
        path: str | os.PathLike[str],
        *,
        where: Where | None = None,
        thumbnails: bool = False,
    ) -> ExportReport:
        """Writes images, classes and vectors to a file, sorted by dataset and path, a part at a time.

        Args:
            path: The file. Its suffix is the format: `.parquet` for everything, `.npy` for the vectors with
                a `.csv` of their rows beside it, `.csv` for everything but the vectors.
            where: Only matching images; then a calibration is not exported.
            thumbnails: In Parquet, also a column of thumbnails, read from the files of the images.

        Raises:
            UsageError: the suffix is another one, only Parquet has thumbnails, pyarrow is not installed, a
                file is there that is no earlier export, or the index holds no such class or dataset.
            OSError: the file cannot be written.
        """
        target = check_export(Path(path).expanduser(), thumbnails=thumbnails)
        return export_collection(self._opened(), target, where=points_where(where))

    @shows_progress
    def evaluate(
        self,
        *,
        dataset: str | None = None,
        queries: int | None = None,
        k: int | Sequence[int] = 10,
        noise: Sequence[float] = (),
        sample: int | None = None,
        near_above: float = NEAR_ABOVE,
        without_near: bool = False,
        indexed: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """Measures how good the neighbours are, by leave-one-out over all images with a class.

        Args:
            dataset: Only images of this dataset.
            queries: How many of the images are queries, a random sample; by default all, which takes time
                that grows with the square of their number.
            k: How many neighbours vote; several numbers study the votes over k, as `Evaluation.vote_study`,
                and 10 vote for all other figures.
            noise: Standard deviations of Gaussian noise, on pixels of 0 to 255: the votes are also studied on
                a sample of the images, read from their files and embedded again with each of these and 0.
            sample: How many images to embed with noise, 200 by default; of each class in proportion.
            near_above: The cosine similarity over which two images count as near-duplicates, 0 to 1.
            without_near: Leave out near-duplicates of the query.
            indexed: Also measure the recall of the store's index; see `Evaluation.details`.
            seed: The seed of the bootstrap, and of the samples and noise.

        Raises:
            UsageError: fewer than two images have a class.
            ImageError: noise is asked for, and no image can be read from its file.
        """
        voters, study = check_study(k, noise, sample)
        options = EvaluationOptions(
            where=filter_by_dataset(dataset),
            queries=None if queries is None else check_whole(queries, "queries"),
            k=voters,
            study=study,
            near_above=check_number(near_above, "near_above"),
            without_near=without_near,
            seed=check_whole(seed, "seed"),
            indexed=indexed,
        )
        plan, manifest = Plan(collections=[self.collection]), self.manifest
        [setting] = evaluate_settings(self._store, plan, options, settings=self._settings)
        return Evaluation._of(setting, manifest, k=voters)

    @shows_progress
    def fit_head(
        self,
        name: str,
        *,
        classes: str | Sequence[str] = (),
        dims: int | None = None,
        unlabelled: bool = False,
        principal: int | None = None,
        seed: int = 0,
        force: bool = False,
    ) -> FitReport:
        """Fits a new last layer to the index; `Model(head=name)` embeds with it.

        Args:
            name: The name of the head.
            classes: Only images of this class or these; by default all images with a class.
            dims: The dimension of its vectors; by default that of the network.
            unlabelled: Fit to all images and no classes, by Local Aggregation.
            principal: Fit no classes, and keep so many principal values of the vectors alone.
            seed: The seed of the split; a fifth of each class is held out, or of all images without labels.
            force: Replace another head of this name.

        Raises:
            UsageError: there are too few classes or images, another head has this name, or arguments exclude
                each other.
        """
        request = FitRequest(
            collections=[self.collection],
            name=check_text(name, "name"),
            classes=list_texts(classes, "classes"),
            dims=None if dims is None else check_whole(dims, "dims"),
            unlabelled=unlabelled,
            principal=None if principal is None else check_whole(principal, "principal"),
            seed=check_whole(seed, "seed"),
            force=force,
        )
        return fit_head(request, store=self._store, settings=self._settings)

    @shows_progress
    def calibrate(self, *, seed: int = 0) -> Calibration:
        """Fits a calibration and stores it with the index, so that answers have probabilities.

        Adding or removing images drops it.

        Raises:
            UsageError: too few images have a class, or there are too few classes.
        """
        with self._writing:
            return calibrate_collection(
                self._store, self.collection, seed=check_whole(seed, "seed")
            ).calibration

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
        min_chance: float | None = None,
        one_per: str | None = None,
        diverse: float = 0.0,
    ) -> Neighbours:
        """Returns the `k` nearest neighbours of every image.

        `exact` is brute force, the default up to 50,000 images; otherwise the store's index is searched.
        Exact duplicates are left out, unless `include_self` keeps them. `without_near`, `near_above`,
        `min_chance`, `one_per` and `diverse` are as for `search`.
        """
        wanted, near = check_whole(k, "k", NEIGHBOURS_OF_EACH), check_number(near_above, "near_above")
        opened, meant = self._opened(), points_where(where)
        found = find_all_chosen(
            opened,
            limit=wanted,
            above=near if without_near else None,
            choice=check_hit_choice(min_chance, one_per, diverse),
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
        """Returns groups of duplicates, with the file to keep; nothing is deleted.

        Args:
            above: The cosine similarity over which images are compared on their pixels, and shown as similar
                where those prove nothing; by default 0.95 and 0.99. 1 finds exact duplicates only.
            dataset: Only images of this dataset.
            keep_in: A folder, or several, whose files are preferred and never offered for deletion.

        Raises:
            UsageError: a Euclidean index is too large for brute force, or a folder of `keep_in` holds none of
                its images.
        """
        opened = self._opened()
        groups = find_duplicates(
            opened,
            above=None if above is None else check_number(above, "above"),
            where=filter_by_dataset(dataset),
            keep_in=[Path(folder).expanduser() for folder in list_texts(keep_in, "keep_in")],
        )
        return Duplicates(
            collection=opened.name, groups=groups, above=SIMILAR_ABOVE if above is None else above
        )

    @shows_progress
    def audit(
        self,
        *,
        dataset: str | None = None,
        false_discoveries: float = FALSE_DISCOVERIES,
        near_above: float = NEAR_ABOVE,
        files: bool = False,
        seed: int = 0,
    ) -> Audit:
        """Finds wrong labels, outliers, leaked duplicates and classes that look the same; writes nothing.

        Args:
            dataset: Only images of this dataset.
            false_discoveries: The share of the listed wrong labels, outliers without a class and classes that
                may be false.
            near_above: The cosine similarity over which two images count as near-duplicates, 0 to 1.
            files: Also read the files, to find blank, dark and blurred images; all else needs vectors alone.
            seed: The seed of the folds that outliers are measured by.

        Raises:
            UsageError: the index holds no image, or has no such dataset.
        """
        rate = check_share(false_discoveries, "false_discoveries", example=0.05)
        found = audit_collection(
            self._opened(),
            where=filter_by_dataset(dataset),
            false_discoveries=rate,
            near_above=check_number(near_above, "near_above"),
            read_files=files,
            seed=check_whole(seed, "seed"),
        )
        return Audit._of(found, false_discoveries=rate)

    @shows_progress
    def explain(
        self,
        query: ImageInput,
        neighbour: ImageInput,
        *,
        max_pixels: int = MAX_PIXELS,
        region: RegionInput | None = None,
    ) -> Explanation:
        """Returns the shares of image cells in the similarity of two images.

        With a `region`, as for `search`, the cells of the query are those of this part of it.

        Raises:
            ImageError: one of them cannot be read, or the region reaches beyond the query.
            UsageError: the vectors of this index are not average-pooled, or one of the two is a vector.
        """
        pair = load_pair(
            plain_query(query),
            plain_query(neighbour),
            [self.collection],
            store=self._store,
            max_pixels=check_whole(max_pixels, "max_pixels"),
            region=None if region is None else parse_region(region),
        )
        [found] = explain_pair(pair, settings=self._settings)
        return Explanation._of(found, (pair.query, pair.neighbour))

    @shows_progress
    def map(self, *, limit: int = 2_000, dataset: str | None = None, seed: int = 0) -> Map:
        """Returns a map in two dimensions of at most `limit` images, a random sample stratified by class.

        Raises:
            CollectionError: there are no images.
            UsageError: the index holds no such dataset.
        """
        drawn, seeded = check_whole(limit, "limit", ON_A_MAP), check_whole(seed, "seed", SEEDS_OF_A_MAP)
        opened = self._opened()
        meant = resolve_dataset(filter_by_dataset(dataset), opened.manifest)
        sampled = load_sample(opened, limit=drawn, seed=seeded, where=meant)
        return Map._of(map_collection(sampled, seed=seeded), seed=seeded)

    @shows_progress
    def privacy(
        self,
        *,
        limit: int = LIMIT,
        dataset: str | None = None,
        recognised: int = RECOGNISED,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> Privacy:
        """Returns what an attacker reconstructs from the vectors, who has four fifths of the images as well.

        Args:
            limit: Attack at most this many images, a random sample stratified by class, 25 to 5,000.
            dataset: Only images of this dataset.
            recognised: Embed at most this many reconstructions of each kind, to find whether the network
                recognises their classes; 0 for none.
            seed: The seed of the sample, the splits and the decoders.
            max_pixels: Images of more pixels are left out.

        Raises:
            UsageError: there are too few images, too few of their files can be read, or the index holds no
                such dataset.
            WeightsError, ManifestError: the model that embeds reconstructions is not available.
        """
        attacked, seeded = check_whole(limit, "limit", ATTACKED), check_whole(seed, "seed", SEEDS_OF_A_MAP)
        embedded = check_whole(recognised, "recognised", RECOGNISED_OF_EACH)
        pixels = check_whole(max_pixels, "max_pixels")
        sampled = sample_vectors(
            self._opened(), limit=attacked, seed=seeded, where=filter_by_dataset(dataset)
        )
        report = measure_privacy(
            sampled, settings=self._settings, seed=seeded, recognised=embedded, max_pixels=pixels
        )
        return Privacy._of(report, seed=seeded)

    @shows_progress
    def import_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        as_name: str | None = None,
        new_root: bool = False,
        shards: int | None = None,
        replicas: int | None = None,
        write_consistency: int | None = None,
    ) -> ImportReport:
        """Adds the images of a Parquet file that `export` wrote, with their vectors; nothing is embedded.

        An empty index becomes the exported collection. Images that the index has already are replaced. The
        whole file is checked before anything is written; after an interruption the next call continues.

        Args:
            path: The file.
            as_name: The name of the collection that an empty index becomes, by default that of the exported
                one. `open(collection=name)` opens a collection of another name.
            new_root: Take the file's folder for a dataset of which the index has another folder.
            shards: As for `add`.
            replicas: As for `add`.
            write_consistency: As for `add`.

        Raises:
            UsageError: there is no such file, it is no Parquet file, pyarrow is not installed, a dataset has
                another folder, or the name is not valid, or is not that of this index; or the collection has
                other shards or replicas, or cannot have them.
            ManifestError: the file was not exported by Lookalike, or is of another embedding space than this
                index.
            LookalikeError: the file is damaged, or a row is not what `export` writes.
            StoreError: the store is read-only.
        """
        layout = _choose_layout(shards, replicas, write_consistency)
        with self._writing:
            existing = self._existing()
            if None not in (existing, as_name) and existing != as_name:
                raise UsageError.of(Argument.AS, f"this index is the collection {existing} already")
            report = import_table(
                Path(path).expanduser().absolute(),
                store=self._store,
                settings=self._settings,
                stop=StopRequest(),
                into=existing or as_name,
                new_root=new_root,
                layout=layout,
                check=self._require_wanted_space if existing is None else lambda _: None,
                origin="path",
            )
        with self._lock:
            self._name, self._searched = report.collection, None
        return report

    def _require_wanted_space(self, manifest: CollectionManifest) -> None:
        """Refuses a manifest of another model or distance than this index was opened with."""
        wanted = manifest.identity
        if self._model is not None:
            wanted = get_model(self._model._wanted, settings=self._settings).manifest.identity
        manifest.require(wanted, self._distance or manifest.distance, name=manifest.collection)

    def remove(
        self,
        dataset: str | None = None,
        *,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        classes: str | Sequence[str] = (),
    ) -> int:
        """Removes images from the index, and returns how many; the files stay.

        Images have to match all given arguments. A value that matches no image, beside others that do, is
        logged. The next `add` of the folder adds images again whose files exist.

        Args:
            dataset: Only images of this dataset; alone, all of them, and the dataset's name.
            paths: Only these images, and those below these folders: paths in a dataset, or, where no image
                has such a path, paths of files; `*` matches any characters. One of several has to match.
            classes: Only images of any of these classes; "" for those without a class.

        Raises:
            UsageError: there is no such dataset, no image matches, or no argument is given.
        """
        selection = Selection(
            dataset=dataset, paths=list_texts(paths, "paths"), classes=list_texts(classes, "classes")
        )
        with self._writing:
            meant = find_holdings(selection, store=self._store, among=[self.collection])
            for each in meant.unmatched:
                _logger.warning("warning: %s matches no image here", each)
            return sum(each.points for each in remove_images(store=self._store, among=meant.found))

    @shows_progress
    def rebuild(
        self,
        *,
        quantize: str | None = None,
        shards: int | None = None,
        replicas: int | None = None,
        write_consistency: int | None = None,
        force: bool = False,
        batch_size: int | None = None,
    ) -> RebuildReport:
        """Builds the collection again from its folders, with this version of the library.

        The report's `replaced` says whether the new collection replaced the old one, which is kept where
        images are missing or unreadable, unless `force` drops these. The other arguments are as for `add`;
        None keeps what the collection has.
        """
        options = RebuildOptions(
            batch_size=None if batch_size is None else check_whole(batch_size, "batch_size"),
            force=force,
            quantize=check_choice(VectorQuantization, quantize, "quantize") if quantize is not None else None,
            layout=_choose_layout(shards, replicas, write_consistency),
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
            self._searched = None  # a head may have been fitted again since
        return report

    @shows_progress
    def copy(
        self,
        to: str | os.PathLike[str],
        *,
        as_name: str | None = None,
        shards: int | None = None,
        replicas: int | None = None,
        write_consistency: int | None = None,
    ) -> CopyReport:
        """Copies the collection to another store, and compares every point of the copy with its source.

        The manifest, datasets and calibration come along. A copy that was interrupted is continued by the
        next call; one that exists with the same content is left as it is.

        Args:
            to: A folder, which is a store of its own, or the URL of a Qdrant server, as for `open`.
            as_name: The name of the copy, by default that of the collection. `open(collection=name)` opens a
                copy of another name; `add` to a store without `collection` does not find it.
            shards: Shards of the copy on a server; by default as that server is set up.
            replicas: Copies of each shard of it, on different peers of the server's cluster.
            write_consistency: The replicas that must confirm a write to it while one fails.

        Raises:
            ManifestError: a collection of this name with other content exists there; it was not changed.
            UsageError: the name is not valid, or the collection would be copied to itself; or the copy has
                other shards or replicas, or cannot have them.
            StoreError: the stores cannot be reached or written to, or what is written is not stored.
        """
        layout = _choose_layout(shards, replicas, write_consistency)
        target = open_store(_store_address(to), self._settings)
        try:
            return copy_collection(
                self.collection, store=self._store, to=target, as_name=as_name, layout=layout
            )
        finally:
            target.close()

    @shows_progress
    def backup(self, file: str | os.PathLike[str]) -> BackupReport:
        """Writes the collection and its head to one file, an uncompressed tar, which `restore` reads.

        The file has its name when it is complete and was checked. Searches wait meanwhile. An earlier backup
        is replaced, another file is not.

        Raises:
            UsageError: `file` is a folder or device, or exists and is no backup.
            StoreError: a cluster has parts of the collection on other nodes.
            OSError: the disk is full, or the file cannot be written.
        """
        path = Path(os.fspath(file)).expanduser()
        with self._writing:
            return back_up(self.collection, path, store=self._store, settings=self._settings)

    @shows_progress
    def verify(
        self, *, sample: float | None = None, seed: int = 0, max_pixels: int = MAX_PIXELS
    ) -> Verification:
        """Verifies that the collection is what its files and its model make; writes nothing.

        All ids, payloads and vectors are checked, and that the files exist. Files are read, hashed and
        embedded again; `Verification.findings` are the faults.

        Args:
            sample: How many files to read again: a whole number, or a share as 0.01; None for all.
            seed: The seed of the sample.
            max_pixels: Images of more pixels are not compared.

        Raises:
            StoreError: the collection cannot be read, for another reason than damaged files.
            UsageError: the sample is neither a positive whole number nor a share up to 1.
            WeightsError, ManifestError: the model is not available.
        """
        options = VerifyOptions(
            sample=ALL if sample is None else _parse_sample(sample),
            seed=check_whole(seed, "seed"),
            max_pixels=check_whole(max_pixels, "max_pixels"),
        )
        return verify_collection(self._opened(), options, settings=self._settings)

    def _networks(self) -> list[SearchedCollection]:
        """Returns the collection with its model.

        Raises:
            CollectionMissingError: no images were added yet.
        """
        with self._lock:
            name = self.collection
            if self._searched is None:
                self._searched = SearchedCollection(self._store.open(name), settings=self._settings)
            return [self._searched]

    def _opened(self) -> SharedCollection:
        return self._store.open(self.collection)

    def _existing(self) -> str | None:
        """Returns the name of the collection, which is looked up once; None before images were added."""
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
        """Returns the model that embeds added images."""
        if self._model is not None:
            return self._model._wanted
        if existing is None:
            return ModelSpec.of(DEFAULT_BACKBONE)
        manifest = self._store.manifest(existing)
        if manifest.identity.head is not None:
            return read_collection_head(manifest.identity, self._settings, collection=existing)
        return ModelSpec.from_manifest(manifest)


def _parse_sample(sample: object) -> Sample:
    """Returns the sample that a whole number or a share means."""
    if isinstance(sample, float) and 0 < sample <= 1:
        return Sample(share=sample)
    return Sample(count=check_whole(sample, "sample"))


def _payloads(opened: SharedCollection, where: Where | None) -> list[Payload]:
    """Returns the payloads of matching points, sorted by dataset and path."""
    return sorted(opened.scan(resolve_filter(points_where(where), opened)), key=attrgetter("sort_key"))
