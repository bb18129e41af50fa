"""What an ingest is asked for, made of what people name: the same checks for the command and for programs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike_core.atomic import named_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.missing_path import require_folder
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.text import nfc
from lookalike_exporter.heads.head_file import Head, named_head
from lookalike_exporter.spec import ModelSpec

from lookalike_ingest.labels import check_labels, read_labels
from lookalike_ingest.target import Dataset

DEFAULT_BACKBONE = "resnet"
DEFAULT_WEIGHTS = "imagenet"

_OF_ONE_BACKBONE = (Argument.WEIGHTS, Argument.LAYER, Argument.POOLING)


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
