"""What other datasets of the same collections have to do with the one that is ingested.

One whose folder is gone may have been renamed, and its points are dead copies of the new ones. One whose
folder lies around or inside holds the same files twice.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lookalike_core.hints import Action, Argument, Hint, Value
from lookalike_core.images.folder_rules import DEFAULT_RULES
from lookalike_core.logs import logger_of
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.text import nfc

from lookalike_ingest.report import GoneDataset, OverlappingDataset
from lookalike_ingest.request import Dataset
from lookalike_ingest.target import Target

_logger = logger_of("ingest")

DEFAULT_STORE = "embedded"
"""The label of the store that is used where none is named."""


def find_gone(targets: Sequence[Target]) -> list[GoneDataset]:
    """Returns the datasets of open collections whose folders are gone and whose bytes are here as well.

    Nothing is asked of the lists of points where all folders are there.
    """
    found = {}
    for target in targets:
        for name, root in target.other_datasets().items():
            if not _is_missing(root):
                continue
            points, shared = target.known.listing.shared(name, target.known.dataset)
            if shared:
                found[name] = GoneDataset(name=name, root=root, points=points, shared=shared)
    return list(found.values())


def find_overlapping(
    dataset: Dataset, targets: Sequence[Target], *, beside: Sequence[Dataset] = ()
) -> list[OverlappingDataset]:
    """Returns those datasets, of open collections and `beside`, that hold files of this one's folder."""
    stored = {name: root for target in targets for name, root in target.other_datasets().items()}
    others = {each.name: str(each.root) for each in beside if each.name != dataset.name} | stored
    here = _resolved(str(dataset.root))
    return [
        OverlappingDataset(name=name, root=root, is_stored=name in stored)
        for name, root in others.items()
        if _is_around(here, _resolved(root)) or _is_around(_resolved(root), here)
    ]


def find_linked(dataset: Dataset, targets: Sequence[Target]) -> list[OverlappingDataset]:
    """Returns the datasets of open collections that share files with this one through links to folders.

    Either of the two follows them, by its rules. Nothing is asked of the lists of points where none does.
    """
    found = {}
    for target in targets:
        here = _Reach.of(target, dataset.name, str(dataset.root), follows_links=dataset.rules.follow_links)
        for name, root in target.other_datasets().items():
            other = _Reach.of(target, name, root, follows_links=target.rules_of(name).follow_links)
            if here.leads_into(other) or other.leads_into(here):
                found[name] = OverlappingDataset(name=name, root=root)
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """The folder of a dataset, and those outside of it whose images it has through links, all resolved."""

    root: str
    linked: AbstractSet[str] = frozenset()

    @classmethod
    def of(cls, target: Target, name: str, root: str, *, follows_links: bool) -> Self:
        resolved = _resolved(root)
        if not follows_links:
            return cls(root=resolved)
        folders = {_resolved(f"{root}/{folder}") for folder in target.known.listing.folders(name)}
        return cls(root=resolved, linked={each for each in folders if not _is_around(resolved, each)})

    def leads_into(self, other: Self) -> bool:
        return bool(self.linked & other.linked) or any(_is_around(other.root, each) for each in self.linked)


def warn_of_gone(
    dataset: Dataset, gone: Iterable[GoneDataset], *, store: str, made_with: Mapping[Argument, Value] | None
) -> None:
    """Logs of each that was renamed, as it seems, the command that takes it out or moves it.

    The folder of another may be on a disk that is away; of one that shares less than half of its images
    nothing is said. `made_with` are the arguments of a dry run, after which the dataset can still be moved;
    else it is None.
    """
    for other in gone:
        is_whole = other.shared == other.points
        number = f"all {other.points}" if is_whole else f"{other.shared} of the {other.points}"
        images = f"{number} images of it are" if other.points > 1 else "the one image of it is"
        said = (other.name, other.root, images, dataset.name)
        if other.is_renamed:
            _logger.warning(
                "warning: the folder of dataset %s (%s) is gone, and %s in %s, too",
                *said,
                extra={"hint": _end_of(other, dataset, store=store, made_with=made_with)},
            )
        elif 2 * other.shared >= other.points:
            _logger.warning(
                "warning: the folder of dataset %s (%s) is not there, and %s in %s, too; its "
                "disk may not be mounted",
                *said,
            )


def _end_of(
    other: GoneDataset, dataset: Dataset, *, store: str, made_with: Mapping[Argument, Value] | None
) -> Hint:
    named: dict[Argument, Value] = {Argument.DATASET: other.name, **in_store(store)}
    if made_with is None:
        return Hint(Action.FORGET_DATASET, named)
    folder: dict[Argument, Value] = {Argument.FOLDER: str(dataset.root), Argument.NEW_ROOT: None}
    return Hint(Action.MOVE_DATASET, folder | dict(made_with) | named)


def in_store(label: str) -> dict[Argument, Value]:
    """Returns the argument that names a store, none of the one that everybody has."""
    return {} if label == DEFAULT_STORE else {Argument.STORE: label}


def warn_of_lost_rules(dataset: Dataset, gone: Iterable[GoneDataset], targets: Sequence[Target]) -> None:
    """Logs of each that was renamed, as it seems, the rules that it had and this one has not."""
    for other in gone:
        rules = next(
            (t.rules_of(other.name) for t in targets if other.name in t.other_datasets()), DEFAULT_RULES
        )
        if other.is_renamed and rules not in (DEFAULT_RULES, dataset.rules):
            _logger.warning(
                "warning: the rules remembered of dataset %s, whose folder is gone, do not apply to %s: %s; "
                "a dataset that is moved to its new folder keeps them",
                other.name,
                dataset.name,
                rules,
                extra={"hint": Hint(Action.USE, {Argument.DATASET: other.name, Argument.NEW_ROOT: None})},
            )


def warn_of_overlaps(
    dataset: Dataset, overlapping: Iterable[OverlappingDataset], *, store: str, is_stored: bool
) -> None:
    """Logs of each which of the two lies in the other, and how to keep one.

    `is_stored` says whether the dataset itself is, or will be once this ingest is done.
    """
    for other in overlapping:
        this = (dataset.name, str(dataset.root))
        inner, outer = sorted([this, (other.name, other.root)], key=lambda each: -len(_resolved(each[1])))
        is_same = _resolved(inner[1]) == _resolved(outer[1])
        can_go = other.is_stored if inner[0] == other.name else is_stored
        named: dict[Argument, Value] = {Argument.DATASET: inner[0], **in_store(store)}
        _logger.warning(
            "warning: dataset %s (%s) %s dataset %s (%s), so its images are stored for both",
            *inner,
            "has the folder of" if is_same else "lies in",
            *outer,
            extra={"hint": Hint(Action.KEEP_ONE_DATASET, named)} if can_go else None,
        )


def warn_of_linked(dataset: Dataset, linked: Iterable[OverlappingDataset], *, store: str) -> None:
    """Logs of each that links lead from one to the other, and how to keep one."""
    for other in linked:
        _logger.warning(
            "warning: datasets %s (%s) and %s (%s) share images through links to folders that are followed, "
            "so these are stored for both",
            dataset.name,
            dataset.root,
            other.name,
            other.root,
            extra={"hint": Hint(Action.KEEP_ONE_DATASET, {Argument.DATASET: other.name, **in_store(store)})},
        )


def names_of_folder(dataset: Dataset, manifest: CollectionManifest) -> list[str]:
    """Returns the datasets of a collection whose folder is a dataset's, links resolved."""
    here = nfc(_resolved(str(dataset.root)))
    return [name for name, root in manifest.datasets.items() if nfc(_resolved(root)) == here]


def _is_missing(root: str) -> bool:
    """Only what is known not to be there; a folder may be closed to us."""
    try:
        os.stat(root)  # noqa: PTH116 - of a plain text
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _resolved(root: str) -> str:
    return os.path.realpath(root)


def _is_around(folder: str, other: str) -> bool:
    return Path(other).is_relative_to(folder)
