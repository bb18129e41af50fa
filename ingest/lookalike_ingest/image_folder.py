"""Finds the images of the folder to ingest, or explains why there are none."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import FoundFile, OtherFiles, Skipped, has_images, scan
from lookalike_core.missing_path import require_folder
from lookalike_core.sources.source_path import SourcePath
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.protocol import Store
from lookalike_core.text import format_count

from lookalike_ingest.other_datasets import find_folder_names
from lookalike_ingest.request import Dataset


class NoImagesError(UsageError):
    """A folder holds no images that are ingested, or not now: its disk may not be mounted."""


def require_images(dataset: Dataset, store: Store, *, may_be_empty: bool = False) -> None:
    """Refuses a folder without images, whatever the rules, before a model is exported.

    Raises:
        UsageError: the folder does not exist, or holds no image and must not be empty.
    """
    if may_be_empty:
        return
    if not isinstance(dataset.root, SourcePath):
        require_folder(dataset.root)
    if not has_images(dataset.root):
        others = OtherFiles()
        if next(scan(dataset.root, others), None) is None:
            raise no_images_error(dataset.root, others, dataset=_find_stored_name(dataset, store))


def _find_stored_name(dataset: Dataset, store: Store) -> str | None:
    """Returns the name under which a store has the dataset or its folder; None if it has neither."""
    manifests = [manifest for _, manifest in readable_manifests(store)]
    if any(dataset.name in manifest.datasets for manifest in manifests):
        return dataset.name
    return next((name for each in manifests for name in find_folder_names(dataset, each)), None)


def find_images(
    root: Path,
    others: OtherFiles,
    *,
    rules: FolderRules,
    takes: Callable[[str], bool] | None = None,
    may_be_empty: bool = False,
) -> Iterator[FoundFile | Skipped]:
    """Yields what a scan finds of the paths that are wanted, and counts ignored files in `others`.

    Raises:
        UsageError: the rules leave no image in the folder, and it must not be empty.
    """
    if may_be_empty and not root.is_dir():
        return iter(())
    entries = scan(root, others, rules=rules, takes=takes)
    first = next(entries, None)
    if first is not None:
        return chain([first], entries)
    if may_be_empty or others.passed_over:
        return iter(())
    raise _all_excluded_error(root, others)


def no_images_error(root: Path, others: OtherFiles, *, dataset: str | None) -> NoImagesError:
    """Returns the error for a folder without images, with a hint if it belongs to a stored `dataset`."""
    beside = f", but {others}" if others.total else ""
    if isinstance(root, SourcePath):
        kinds, remedy = "", "check its name"
    else:
        kinds, remedy = f" ({', '.join(sorted(SUFFIXES))})", "if a disk is not mounted, mount it"
    return NoImagesError(
        f"{root} holds no images{kinds}{beside}; {remedy}",
        path=root,
        hint=Hint(Action.REMOVE_DATASET, {Argument.DATASET: dataset}) if dataset is not None else None,
    )


def _all_excluded_error(root: Path, others: OtherFiles) -> NoImagesError:
    """Returns the error for a folder whose images are all excluded or behind links."""
    links = others.linked_folders
    left_out = [f"what is excluded ({others.excluded})"] if others.excluded else []
    left_out += [f"what is linked ({format_count(links, 'folder')})"] if links else []
    is_linked = links and not others.excluded
    return NoImagesError(
        f"{root} holds no images but {' and '.join(left_out) or 'hidden ones'}",
        path=root,
        hint=Hint(Action.USE, {Argument.FOLLOW_LINKS: None}) if is_linked else Hint(Action.EXCLUDE_LESS),
    )
