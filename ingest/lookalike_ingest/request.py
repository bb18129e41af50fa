"""What an ingest is asked for, made of what people name: the same checks for the command and for programs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookalike_core.atomic import named_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.images.scan import FoundFile
from lookalike_core.missing_path import require_folder
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.text import nfc
from lookalike_exporter.heads.head_file import Head, named_head
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.labels import Label, LabelOf, LabelRows, check_labels, folder_label, read_labels
from lookalike_ingest.subset import Subset

DEFAULT_BACKBONE = "resnet"
DEFAULT_WEIGHTS = "imagenet"

_OF_ONE_BACKBONE = (Argument.WEIGHTS, Argument.LAYER, Argument.POOLING)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What embeds: backbones by their names, with a layer, a pooling and weights of one, or a head's model.

    A `head` is named alone: it says which network it belongs to.
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
            UsageError: they do.
        """
        is_special = bool(self.layer or self.pooling or self.weights != DEFAULT_WEIGHTS)
        is_own = self.backbones or is_special or self.precision is not Precision.FP32
        if self.head is not None and is_own:
            raise UsageError(
                "a head says which network it belongs to",
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
        """Returns one of each backbone, or the head.

        Raises:
            UsageError: as `check`, or there is no such backbone, layer, pooling or head, or no file can have
                the name that the weights are given by.
        """
        self.check()
        if WeightsKind.of(self.weights) is WeightsKind.FILE:
            named_path(self.weights, Argument.WEIGHTS)
        if self.head is not None:
            return [named_head(self.head, settings)]
        specs = [self._spec(name) for name in self.backbones or [DEFAULT_BACKBONE]]
        return list({spec.backbone.name: spec for spec in specs}.values())

    def _spec(self, name: str) -> ModelSpec:
        return ModelSpec.of(
            name, layer=self.layer, pooling=self.pooling, weights=self.weights, precision=self.precision
        )


def dataset_in(
    folder: str | Path, name: str | None = None, *, moved: bool = False, may_be_missing: bool = False
) -> Dataset:
    """Returns whose images lie in a folder; they are called like it unless they have a `name`.

    `moved` says that another folder recorded under the name is out of date. `~` is the user's own folder.

    Raises:
        UsageError: there is no such folder, unless it may be missing, or a name cannot be stored as text.
    """
    text = os.fspath(folder)
    if not text:
        raise UsageError("the name of the folder is empty")
    try:
        root = Path(os.path.expanduser(text)).resolve()  # noqa: PTH111 - leaves a name like ~x alone
        if root.exists() or not may_be_missing:
            require_folder(root)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{text[:200]} cannot be looked into ({error.__class__.__name__})") from error
    named = name if name is not None else root.name or "root"
    for each, origin in ((named, Argument.DATASET), (str(root), "the folder")):
        if not each.strip() or each != each.encode("utf-8", "replace").decode():
            raise UsageError.of(
                origin, f"{each!a} cannot be stored as a name", hint=Hint(Action.NAME_DATASET)
            )
    return Dataset(name=named, root=root, moved=moved, is_named=name is not None)


def datasets_in(
    folders: Sequence[str | Path],
    name: str | None = None,
    *,
    moved: bool = False,
    may_be_missing: bool = False,
) -> list[Dataset]:
    """Returns whose images lie in each of several folders, a folder that is named twice once.

    Raises:
        UsageError: as `dataset_in`, of any of them; there is one `name` for several; or two of them would be
            datasets of one name.
    """
    found = [dataset_in(folder, name, moved=moved, may_be_missing=may_be_missing) for folder in folders]
    by_root = {dataset.root: dataset for dataset in found}
    if name is not None and len(by_root) > 1:
        raise UsageError(
            f"one name is for one folder, and {len(by_root)} are given; ingest each for itself",
            argument=Argument.DATASET,
        )
    by_name: dict[str, Dataset] = {}
    for dataset in by_root.values():
        other = by_name.setdefault(nfc(dataset.name), dataset)
        if other is not dataset:
            raise UsageError(
                f"{other.root} and {dataset.root} would both be the dataset {dataset.name}; ingest each for "
                "itself",
                hint=Hint(Action.NAME_DATASET),
            )
    return list(by_root.values())


def labels_in(table: Path, root: Path) -> dict[str, str | None]:
    """Returns the classes of a table, by path below a dataset's root; None for those that have none.

    Raises:
        UsageError: it cannot be read, or is another folder's.
    """
    labels = read_labels(table)
    check_labels(labels, root)
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to ingest and how; `labels` overrides by root-relative path what `label_of` says of an image.

    Paths of labels may have another Unicode form than the disk's, and classes are composed (NFC).

    An image that it does not take (`takes`; None takes all) is left alone, in the folder and in the
    collections; so are those of the folder that are not in the `subset`.

    `rules` is what is asked for of the rules by which the folder is walked; what is not is as remembered, for
    the dataset's own are those that the ingest ends up with. Where root-relative `paths` are given, these are
    looked up, whatever the rules leave out, and the folder is not walked.

    `prune` removes the points of files that are gone, with `force` even where all of them are, or where a
    folder is there and holds nothing, so that its disk may not be mounted. `rehash` reads every file,
    whatever its size and times say. `into`
    names another collection than the model's and the distance's own; it goes with one of each. A head is
    the only one of `specs`. Where no `batch_size` is given the provider has its own. `quantize` is for
    collections that are made now; one that is there must have it.
    """

    dataset: Dataset
    specs: Sequence[ModelSpec | Head]
    distances: Sequence[Distance]
    labels: Mapping[str, str | None] = field(default_factory=dict)
    label_of: LabelOf = folder_label
    takes: Callable[[FoundFile], bool] | None = None
    subset: Subset | None = None
    rules: RuleChoice = field(default_factory=RuleChoice)
    paths: Sequence[str] | None = None
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    prune: bool = False
    force: bool = False
    rehash: bool = False
    into: str | None = None
    quantize: VectorQuantization | None = None
    label_rows: LabelRows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses fields that contradict each other, whoever asks.

        Raises:
            UsageError: they do.
        """
        check_pruning(prune=self.prune, force=self.force)
        object.__setattr__(self, "label_rows", LabelRows(self.labels))
        self.rules.check()

    @property
    def walked_by(self) -> FolderRules:
        """The rules that this ingest goes by; paths that are given are left out by none."""
        rules = self.dataset.rules
        return rules if self.paths is None else replace(rules, exclude=(), default_excludes=False)

    @property
    def may_be_empty(self) -> bool:
        """Whether the folder may hold nothing at all."""
        return self.prune and self.force

    def label(self, found: FoundFile) -> Label:
        """Returns an image's class."""
        row = self.label_rows.find(found.path) if self.labels else None
        label = self.label_of(found) if row is None else Label(class_name=self.labels[row])
        if label.class_name is None or (composed := nfc(label.class_name)) == label.class_name:
            return label
        return replace(label, class_name=composed)


def check_pruning(*, prune: bool, force: bool) -> None:
    """Refuses to force what is not done.

    Raises:
        UsageError: `force` lets a dataset be emptied, and points are not to be removed.
    """
    if force and not prune:
        raise UsageError(
            "this lets a dataset be emptied, and nothing is to be removed",
            argument=Argument.FORCE,
            hint=Hint(Action.USE, {Argument.PRUNE: None}),
        )


@dataclass(slots=True)
class StopRequest:
    """Set by whoever wants the ingest to end after the batch in hand."""

    requested: bool = False
    waits_for_batch: bool = False
    """Whether there may be a batch in hand: not while a model is exported or a lock is waited for."""

    def be_done(self) -> None:
        """There is no batch in hand any more."""
        self.waits_for_batch = False

    def check(self) -> None:
        """For waits that have no batch to finish."""
        if self.requested:
            raise KeyboardInterrupt
