"""Finds other datasets of the same collections that hold the same images as the ingested one.

If the folder of such a dataset is gone, it may have been renamed, so that its points are stale. If its folder
contains this one or is inside it, the same files are stored twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from lookalike_core.hints import Action, Argument, Hint, Value
from lookalike_core.images.folder_rules import DEFAULT_RULES
from lookalike_core.logs import get_logger
from lookalike_core.sources.source_path import SourcePath, parse_root, resolve_root
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.text import nfc

from lookalike_ingest.absence import is_missing
from lookalike_ingest.report import GoneDataset, OverlappingDataset
from lookalike_ingest.request import Dataset
from lookalike_ingest.target import Target

_logger = get_logger("ingest")

DEFAULT_STORE = "embedded"
"""The label of the default store."""


def find_gone(targets: Sequence[Target]) -> list[GoneDataset]:
    """Returns the datasets of open collections whose folders are gone while their images are here as well."""
    found = {}
    for target in targets:
        for name, root in target.other_datasets().items():
            if not _is_gone(root):
                continue
            points, shared = target.known.payloads.count_shared(name, target.known.dataset)
            if shared:
                found[name] = GoneDataset(name=name, root=root, points=points, shared=shared)
    return list(found.values())


def _is_gone(root: str) -> bool:
    """Returns whether a root is known not to exist; object stores are not asked at every ingest."""
    place = parse_root(root)
    return not (isinstance(place, SourcePath) and place.is_remote) and is_missing(place, follow_links=True)


def find_overlapping(
    dataset: Dataset, targets: Sequence[Target], *, beside: Sequence[Dataset] = ()
) -> list[OverlappingDataset]:
    """Returns datasets, of open collections and `beside`, whose folder contains this one or is inside it."""
    stored = {name: root for target in targets for name, root in target.other_datasets().items()}
    others = {each.name: str(each.root) for each in beside if each.name != dataset.name} | stored
    here = resolve_root(str(dataset.root))
    return [
        OverlappingDataset(name=name, root=root, is_stored=name in stored)
        for name, root in others.items()
        if _contains(here, resolve_root(root)) or _contains(resolve_root(root), here)
    ]


def find_linked(dataset: Dataset, targets: Sequence[Target]) -> list[OverlappingDataset]:
    """Returns the datasets of open collections that share files with this one through followed links."""
    found = {}
    for target in targets:
        others = target.other_datasets()
        if not others:
            continue
        here = _Reach.of(target, dataset.name, str(dataset.root), follows_links=dataset.rules.follow_links)
        for name, root in others.items():
            other = _Reach.of(target, name, root, follows_links=target.rules_of(name).follow_links)
            if here.leads_into(other) or other.leads_into(here):
                found[name] = OverlappingDataset(name=name, root=root)
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """The resolved folder of a dataset, and the outside folders that its images are in through links."""

    root: str
    linked: AbstractSet[str] = frozenset()

    @classmethod
    def of(cls, target: Target, name: str, root: str, *, follows_links: bool) -> Self:
        resolved = resolve_root(root)
        if not follows_links:
            return cls(root=resolved)
        folders = {resolve_root(f"{root}/{folder}") for folder in target.known.payloads.list_folders(name)}
        return cls(root=resolved, linked={each for each in folders if not _contains(resolved, each)})

    def leads_into(self, other: Self) -> bool:
        return bool(self.linked & other.linked) or any(_contains(other.root, each) for each in self.linked)


def warn_of_gone(
    dataset: Dataset, gone: Iterable[GoneDataset], *, store: str, made_with: Mapping[Argument, Value] | None
) -> None:
    """Warns of datasets that seem to have been renamed, with a hint how to remove or move them.

    Datasets that share only half of their images may be on a disk that is not mounted; others are not
    mentioned. `made_with` are the arguments of a dry run, after which the dataset can still be moved; None
    otherwise.
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
                extra={"hint": _hint_for(other, dataset, store=store, made_with=made_with)},
            )
        elif 2 * other.shared >= other.points:
            _logger.warning(
                "warning: the folder of dataset %s (%s) is not there, and %s in %s, too; its "
                "disk may not be mounted",
                *said,
            )


def _hint_for(
    other: GoneDataset, dataset: Dataset, *, store: str, made_with: Mapping[Argument, Value] | None
) -> Hint:
    named: dict[Argument, Value] = {Argument.DATASET: other.name, **store_argument(store)}
    if made_with is None:
        return Hint(Action.FORGET_DATASET, named)
    folder: dict[Argument, Value] = {Argument.FOLDER: str(dataset.root), Argument.NEW_ROOT: None}
    return Hint(Action.MOVE_DATASET, folder | dict(made_with) | named)


def store_argument(label: str) -> dict[Argument, Value]:
    """Returns the argument that names a store; empty for the default one."""
    return {} if label == DEFAULT_STORE else {Argument.STORE: label}


def warn_of_lost_rules(dataset: Dataset, gone: Iterable[GoneDataset], targets: Sequence[Target]) -> None:
    """Warns of datasets that seem to have been renamed and whose rules this one does not have."""
    for other in gone:
        rules = next(
            (t.rules_of(other.name) for t in targets if other.name in t.other_datasets()), DEFAULT_RULES
        )
        if other.is_renamed and rules not in (DEFAULT_RULES, dataset.rules):
            _logger.warning(
                "warning: the remembered rules of dataset %s, whose folder is gone, do not apply to %s: %s; "
                "a dataset that is moved to its new folder keeps them",
                other.name,
                dataset.name,
                rules,
                extra={"hint": Hint(Action.USE, {Argument.DATASET: other.name, Argument.NEW_ROOT: None})},
            )


def warn_of_overlaps(
    dataset: Dataset, overlapping: Iterable[OverlappingDataset], *, store: str, is_stored: bool
) -> None:
    """Warns of overlapping datasets, with a hint how to keep only one.

    `is_stored`: the dataset itself is in a collection, or will be after this ingest.
    """
    for other in overlapping:
        this = (dataset.name, str(dataset.root))
        inner, outer = sorted([this, (other.name, other.root)], key=lambda each: -len(resolve_root(each[1])))
        is_same = resolve_root(inner[1]) == resolve_root(outer[1])
        can_go = other.is_stored if inner[0] == other.name else is_stored
        named: dict[Argument, Value] = {Argument.DATASET: inner[0], **store_argument(store)}
        _logger.warning(
            "warning: dataset %s (%s) %s dataset %s (%s), so its images are stored for both",
            *inner,
            "has the folder of" if is_same else "is inside",
            *outer,
            extra={"hint": Hint(Action.KEEP_ONE_DATASET, named)} if can_go else None,
        )


def warn_of_linked(dataset: Dataset, linked: Iterable[OverlappingDataset], *, store: str) -> None:
    """Warns of datasets that share images through links, with a hint how to keep only one."""
    for other in linked:
        _logger.warning(
            "warning: datasets %s (%s) and %s (%s) share images through links to folders that are followed, "
            "so these are stored for both",
            dataset.name,
            dataset.root,
            other.name,
            other.root,
            extra={
                "hint": Hint(Action.KEEP_ONE_DATASET, {Argument.DATASET: other.name, **store_argument(store)})
            },
        )


def find_folder_names(dataset: Dataset, manifest: CollectionManifest) -> list[str]:
    """Returns the names under which a collection has a dataset's folder; resolves links."""
    here = nfc(resolve_root(str(dataset.root)))
    return [name for name, root in manifest.datasets.items() if nfc(resolve_root(root)) == here]


def _contains(folder: str, other: str) -> bool:
    return parse_root(other).is_relative_to(parse_root(folder))
