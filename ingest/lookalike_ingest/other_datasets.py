"""What other datasets of the same collections have to do with the one that is ingested.

One whose folder is gone may have been renamed, and its points are dead copies of the new ones. One whose
folder lies around or inside holds the same files twice.
"""

import os
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES
from lookalike_core.logs import logger_of

from lookalike_ingest.target import Dataset, Target

_logger = logger_of("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneDataset:
    """Another dataset whose folder is not there: `shared` of its `points` have the bytes of an image here."""

    name: str
    root: str
    points: int
    shared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingDataset:
    """Another dataset that holds files of this one.

    Its folder, links resolved, is this one's, lies in it or around it, or links lead from one to the other.
    """

    name: str
    root: str


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


def find_overlapping(dataset: Dataset, targets: Sequence[Target]) -> list[OverlappingDataset]:
    """Returns the datasets of open collections that hold files of this one's folder."""
    others = {name: root for target in targets for name, root in target.other_datasets().items()}
    here = _resolved(str(dataset.root))
    return [
        OverlappingDataset(name=name, root=root)
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


def warn_of_gone(dataset: Dataset, gone: Iterable[GoneDataset], *, dry_run: bool) -> None:
    """Logs of each what has become of it, and the command that ends it or, in a dry run, moves it."""
    for other in gone:
        is_whole = other.shared == other.points
        number = f"all {other.points}" if is_whole else f"{other.shared} of the {other.points}"
        hint = Hint(Action.FORGET_DATASET, {Argument.DATASET: other.name})
        if dry_run:
            hint = Hint(Action.MOVE_DATASET, {Argument.DATASET: other.name, Argument.NEW_ROOT: None})
        _logger.warning(
            "warning: the folder of dataset %s (%s) is gone, and %s images of it are in %s, too",
            other.name,
            other.root,
            number,
            dataset.name,
            extra={"hint": hint},
        )


def warn_of_lost_rules(dataset: Dataset, gone: Iterable[GoneDataset], targets: Sequence[Target]) -> None:
    """Logs of each that was renamed, as it seems, the rules that it had and this one has not."""
    for other in gone:
        rules = next(
            (t.rules_of(other.name) for t in targets if other.name in t.other_datasets()), DEFAULT_RULES
        )
        if 2 * other.shared >= other.points and rules not in (DEFAULT_RULES, dataset.rules):
            _logger.warning(
                "warning: the rules remembered of dataset %s, whose folder is gone, do not apply to %s: %s; "
                "a dataset that is moved to its new folder keeps them",
                other.name,
                dataset.name,
                rules,
                extra={"hint": Hint(Action.USE, {Argument.DATASET: other.name, Argument.NEW_ROOT: None})},
            )


def warn_of_overlaps(dataset: Dataset, overlapping: Iterable[OverlappingDataset]) -> None:
    """Logs of each which of the two lies in the other, and how to keep one."""
    for other in overlapping:
        this = (dataset.name, str(dataset.root))
        inner, outer = sorted([this, (other.name, other.root)], key=lambda each: -len(_resolved(each[1])))
        _logger.warning(
            "warning: dataset %s (%s) lies in dataset %s (%s), so its images are stored for both",
            *inner,
            *outer,
            extra={"hint": Hint(Action.KEEP_ONE_DATASET, {Argument.DATASET: inner[0]})},
        )


def warn_of_linked(dataset: Dataset, linked: Iterable[OverlappingDataset]) -> None:
    """Logs of each that links lead from one to the other, and how to keep one."""
    for other in linked:
        _logger.warning(
            "warning: datasets %s (%s) and %s (%s) share images through links to folders that are followed, "
            "so these are stored for both",
            dataset.name,
            dataset.root,
            other.name,
            other.root,
            extra={"hint": Hint(Action.KEEP_ONE_DATASET, {Argument.DATASET: other.name})},
        )


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
