"""The request for an ingest, with the same checks for the command and the library."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from lookalike_core.atomic import parse_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.images.scan import FoundFile
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.sources.source_path import name_root
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.text import nfc
from lookalike_exporter.heads.head_file import Head, read_head
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.dataset_roots import find_root
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.engines.engine import EngineChoice
from lookalike_ingest.labels import Label, LabelOf, LabelRows, check_labels, folder_label, read_labels
from lookalike_ingest.parts import Part
from lookalike_ingest.subset import Subset

DEFAULT_BACKBONE = "resnet"
DEFAULT_WEIGHTS = "imagenet"

_OF_ONE_BACKBONE = (Argument.WEIGHTS, Argument.LAYER, Argument.POOLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A name for the images below an absolute root, which their paths are relative to.

    The root is a folder of this machine or of an object store, or a Parquet dataset.

    `moved` allows another folder than the recorded one for the name. `rules` are those applied to the folder;
    they are recorded with it.
    """

    name: str
    root: Path
    moved: bool = False
    rules: FolderRules = DEFAULT_RULES
    is_named: bool = field(default=True, compare=False)
    """Whether the name was given, and is not taken from the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which models embed: backbones by name, a single one also with layer, pooling and weights; or a head.

    A `head` excludes the other fields, because it already determines its network.
    """

    backbones: Sequence[str] = ()
    weights: str = DEFAULT_WEIGHTS
    layer: str | None = None
    pooling: str | None = None
    precision: Precision = Precision.FP32
    head: str | None = None

    def check(self) -> None:
        """Refuses fields that contradict each other.

        Raises:
            UsageError: fields contradict each other.
        """
        is_special = bool(self.layer or self.pooling or self.weights != DEFAULT_WEIGHTS)
        is_own = self.backbones or is_special or self.precision is not Precision.FP32
        if self.head is not None and is_own:
            raise UsageError(
                "a head already determines the network",
                argument=Argument.HEAD,
                hint=Hint(
                    Action.LEAVE_OUT,
                    dict.fromkeys((Argument.BACKBONE, *_OF_ONE_BACKBONE, Argument.PRECISION)),
                ),
            )
        if len(self.backbones) > 1 and is_special:
            raise UsageError(
                "weights, a layer and a pooling belong to one backbone; ingest once for each",
                hint=Hint(Action.LEAVE_OUT_INSTEAD, dict.fromkeys(_OF_ONE_BACKBONE)),
            )

    def resolve(self, settings: Settings) -> list[ModelSpec | Head]:
        """Returns the spec of each backbone, or the head.

        Raises:
            UsageError: as `check`, or no such backbone, layer, pooling or head exists, or `weights` is not a
                valid file name.
        """
        self.check()
        if WeightsKind.of(self.weights) is WeightsKind.FILE:
            parse_path(self.weights, Argument.WEIGHTS)
        if self.head is not None:
            return [read_head(self.head, settings)]
        specs = [self._spec(name) for name in self.backbones or [DEFAULT_BACKBONE]]
        return list({spec.backbone.name: spec for spec in specs}.values())

    def _spec(self, name: str) -> ModelSpec:
        return ModelSpec.of(
            name, layer=self.layer, pooling=self.pooling, weights=self.weights, precision=self.precision
        )


def describe_dataset(
    folder: str | Path, name: str | None = None, *, moved: bool = False, may_be_missing: bool = False
) -> Dataset:
    """Returns the dataset of a folder, which is named after it unless a `name` is given.

    The folder may also be the URL of one in an object store, a Parquet file, or a folder of Parquet files
    and no images, both on this machine or in an object store. `moved` allows another folder than the recorded
    one for the name. `~` is the user's home.

    Raises:
        UsageError: the folder does not exist and must, or a name cannot be stored as text; or it is a URL of
            another kind, or pyarrow is not installed and must be.
        LookalikeError: an object store does not answer or refuses.
    """
    text = os.fspath(folder)
    if not text:
        raise UsageError("the name of the folder is empty")
    root = find_root(text, may_be_missing=may_be_missing)
    named = name if name is not None else name_root(root) or "root"
    for each, origin in ((named, Argument.DATASET), (str(root), "the folder")):
        if not each.strip() or each != each.encode("utf-8", "replace").decode():
            raise UsageError.of(
                origin, f"{each!a} cannot be stored as a name", hint=Hint(Action.NAME_DATASET)
            )
    return Dataset(name=named, root=root, moved=moved, is_named=name is not None)


def describe_datasets(
    folders: Sequence[str | Path],
    name: str | None = None,
    *,
    moved: bool = False,
    may_be_missing: bool = False,
) -> list[Dataset]:
    """Returns the dataset of each of several folders; a folder that is given twice counts once.

    Raises:
        UsageError: as `describe_dataset`, for any of them; one `name` is given for several folders; or two
            folders would be datasets of the same name.
    """
    found = [describe_dataset(folder, name, moved=moved, may_be_missing=may_be_missing) for folder in folders]
    by_root = {dataset.root: dataset for dataset in found}
    if name is not None and len(by_root) > 1:
        raise UsageError(
            f"one dataset name cannot stand for {len(by_root)} folders; ingest each folder separately",
            argument=Argument.DATASET,
        )
    by_name: dict[str, Dataset] = {}
    for dataset in by_root.values():
        other = by_name.setdefault(nfc(dataset.name), dataset)
        if other is not dataset:
            raise UsageError(
                f"{other.root} and {dataset.root} would both be the dataset {dataset.name}; ingest each "
                "folder separately",
                hint=Hint(Action.NAME_DATASET),
            )
    return list(by_root.values())


def load_labels(table: Path, root: Path) -> dict[str, str | None]:
    """Returns the classes in a table, by path relative to a dataset's root; None is no class.

    Raises:
        UsageError: the table cannot be read, or belongs to another folder.
    """
    labels = read_labels(table)
    check_labels(labels, root)
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to ingest and how; `labels` (root-relative path -> class) override what `label_of` returns.

    Paths of labels may be in another Unicode form than on disk; classes are composed (NFC).

    An image for which `takes` is false, or which is not in the `subset`, is ignored, in the folder and in the
    collections.

    `rules` are the requested ones; fields that are None are as the collections remember them, and
    `dataset.rules` are those that finally apply. With a `part`, the files and points of other parts are left
    alone. If root-relative `paths` are given, exactly these are looked
    up, excluded or not, and the folder is not walked.

    `prune` removes the points of files that are gone; with `force` also if no file is left, or a folder is
    empty and its disk may not be mounted. `prune_after` removes them only once they have been missing for
    that time, since an ingest with `prune_after` first missed them. `rehash` reads every file, whatever its
    size and times. `into` names the collection, instead of the model and the distance; then there must be one
    of each. A head is the only one of `specs`. Without a `batch_size` that of the execution provider is used.
    `quantize` and `layout` are for collections that are created; existing ones must have the same. An
    `engine` embeds and writes on other machines, to a store on a server.
    """

    dataset: Dataset
    specs: Sequence[ModelSpec | Head]
    distances: Sequence[Distance]
    labels: Mapping[str, str | None] = field(default_factory=dict)
    label_of: LabelOf = folder_label
    takes: Callable[[FoundFile], bool] | None = None
    subset: Subset | None = None
    part: Part | None = None
    rules: RuleChoice = field(default_factory=RuleChoice)
    paths: Sequence[str] | None = None
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    prune: bool = False
    prune_after: timedelta | None = None
    force: bool = False
    rehash: bool = False
    into: str | None = None
    quantize: VectorQuantization | None = None
    layout: ClusterLayout | None = None
    engine: EngineChoice | None = None
    label_rows: LabelRows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses fields that contradict each other.

        Raises:
            UsageError: fields contradict each other.
        """
        check_pruning(prune=self.prune, prune_after=self.prune_after, force=self.force)
        object.__setattr__(self, "label_rows", LabelRows(self.labels))
        self.rules.check()

    @property
    def walked_by(self) -> FolderRules:
        """The rules that apply to this ingest; given `paths` are never excluded."""
        rules = self.dataset.rules
        return rules if self.paths is None else replace(rules, exclude=(), default_excludes=False)

    def holds(self, path: str) -> bool:
        """Returns whether a root-relative path is to be ingested: all are, or those of one part."""
        return self.part is None or self.part.holds(self.dataset.name, path)

    @property
    def prunes(self) -> bool:
        """Whether points of deleted files are removed, at once or after a time."""
        return self.prune or self.prune_after is not None

    @property
    def may_be_empty(self) -> bool:
        """Whether the folder may hold no images."""
        return self.prune and self.force

    def label(self, found: FoundFile) -> Label:
        """Returns an image's class."""
        row = self.label_rows.find(found.path) if self.labels else None
        label = self.label_of(found) if row is None else Label(class_name=self.labels[row])
        if label.class_name is None or (composed := nfc(label.class_name)) == label.class_name:
            return label
        return replace(label, class_name=composed)


def check_pruning(*, prune: bool, force: bool, prune_after: timedelta | None = None) -> None:
    """Refuses `force` without `prune`, and `prune` with `prune_after`.

    Raises:
        UsageError: `force` is given without `prune`, or points would be pruned both at once and after a time,
            or after a negative one.
    """
    if prune and prune_after is not None:
        raise UsageError(
            "points of deleted files are removed either at once or after a time",
            hint=Hint(Action.LEAVE_ONE_OUT, {Argument.PRUNE: None, Argument.PRUNE_AFTER: None}),
        )
    if prune_after is not None and prune_after < timedelta(0):
        raise UsageError("a negative time has no meaning", argument=Argument.PRUNE_AFTER)
    if force and not prune:
        raise UsageError(
            "this allows pruning to empty a dataset and has no effect without pruning",
            argument=Argument.FORCE,
            hint=Hint(Action.USE, {Argument.PRUNE: None}),
        )


@dataclass(slots=True)
class StopRequest:
    """Asks an ingest to end after the current batch."""

    requested: bool = False
    waits_for_batch: bool = False
    """Whether there may be a current batch: not while a model is exported or a lock is waited for."""

    def be_done(self) -> None:
        """Records that there is no current batch any more."""
        self.waits_for_batch = False

    def check(self) -> None:
        """Raises KeyboardInterrupt if a stop is requested; for waits without a batch to finish."""
        if self.requested:
            raise KeyboardInterrupt
