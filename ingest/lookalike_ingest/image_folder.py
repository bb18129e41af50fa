"""The images of the folder that is ingested, or why there are none."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import FoundFile, OtherFiles, Skipped, has_images, scan
from lookalike_core.missing_path import require_folder
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.protocol import Store
from lookalike_core.text import counted

from lookalike_ingest.other_datasets import names_of_folder
from lookalike_ingest.request import Dataset


def require_images(dataset: Dataset, store: Store, *, may_be_empty: bool = False) -> None:
    """Refuses a folder without images, whatever rules may say, before anything is exported.

    Raises:
        UsageError: there is no such folder, or no image in it, and it may not be so.
    """
    if may_be_empty:
        return
    require_folder(dataset.root)
    if not has_images(dataset.root):
        others = OtherFiles()
        if next(scan(dataset.root, others), None) is None:
            raise no_images(dataset.root, others, dataset=_stored_name(dataset, store))


def _stored_name(dataset: Dataset, store: Store) -> str | None:
    """By which name a store has a dataset: its own, or another one for its folder; None where by none."""
    manifests = [manifest for _, manifest in readable_manifests(store)]
    if any(dataset.name in manifest.datasets for manifest in manifests):
        return dataset.name
    return next((name for each in manifests for name in names_of_folder(dataset, each)), None)


def find_images(
    root: Path, others: OtherFiles, *, rules: FolderRules, may_be_empty: bool = False
) -> Iterator[FoundFile | Skipped]:
    """The scan, once it is known to find something; what it passes over is counted in `others`.

    Raises:
        UsageError: there is no image in the folder but what the rules leave out, and it may not be so.
    """
    if may_be_empty and not root.is_dir():
        return iter(())
    entries = scan(root, others, rules=rules)
    first = next(entries, None)
    if first is not None:
        return chain([first], entries)
    if may_be_empty:
        return iter(())
    raise _nothing_left(root, others)


def no_images(root: Path, others: OtherFiles, *, dataset: str | None) -> UsageError:
    """What to say of a folder that holds none, and what to do if it is that of a stored dataset."""
    beside = f", but {others}" if others.total else ""
    return UsageError(
        f"{root} holds no images ({', '.join(sorted(SUFFIXES))}){beside}; if a disk is not mounted, mount it",
        path=root,
        hint=Hint(Action.REMOVE_DATASET, {Argument.DATASET: dataset}) if dataset is not None else None,
    )


def _nothing_left(root: Path, others: OtherFiles) -> UsageError:
    """What to say of a folder whose images are all left out by the rules, or behind links."""
    links = others.linked_folders
    left_out = [f"what is excluded ({others.excluded})"] if others.excluded else []
    left_out += [f"what is linked ({counted(links, 'folder')})"] if links else []
    is_linked = links and not others.excluded
    return UsageError(
        f"{root} holds no images but {' and '.join(left_out) or 'hidden ones'}",
        path=root,
        hint=Hint(Action.USE, {Argument.FOLLOW_LINKS: None}) if is_linked else Hint(Action.EXCLUDE_LESS),
    )
