"""Finds the root of a dataset: a folder, the URL of one in an object store, or a Parquet dataset."""

import os
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.scan import OtherFiles, scan
from lookalike_core.missing_path import require_folder
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.sources.file_systems import (
    check_url,
    is_any_url,
    read_status,
    require_pyarrow,
    source_errors,
)
from lookalike_core.sources.parquet_images import ALL_PARQUET, PARQUET, open_images
from lookalike_core.sources.source_path import SourcePath, parse_root


def find_root(text: str, *, may_be_missing: bool = False) -> Path:
    """Returns the absolute root that a user means by a text: a `SourcePath` if it is no local folder.

    A folder with Parquet files and no images is a Parquet dataset.

    Raises:
        UsageError: it does not exist and must, is a URL of another kind, or needs pyarrow, which is not
            installed.
        LookalikeError: an object store does not answer or refuses.
    """
    if is_any_url(text):
        return _find_remote(SourcePath(check_url(text)), may_be_missing=may_be_missing)
    try:
        root = parse_root(os.path.expanduser(text))  # noqa: PTH111 - leaves a name like ~x alone
        if isinstance(root, SourcePath):
            return _require(root.resolve(), may_be_missing=may_be_missing)
        root = root.resolve()
        if may_be_missing and not root.exists():
            return root
        if root.is_file():
            raise UsageError(f"{root} is not a folder; name the folder that it is in", path=root)
        require_folder(root)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{text[:200]} cannot be read ({error.__class__.__name__})") from error
    return _find_parquet(root)


def _find_remote(root: SourcePath, *, may_be_missing: bool) -> Path:
    require_pyarrow(str(root))
    if root.name == ALL_PARQUET:
        return _require(root, may_be_missing=may_be_missing)
    with source_errors(root):
        try:
            status = read_status(str(root))
        except FileNotFoundError:
            if may_be_missing:
                return root
            raise
    if root.suffix == PARQUET:
        return _require(root / ALL_PARQUET if status.is_folder else root, may_be_missing=may_be_missing)
    if not status.is_folder:
        raise UsageError(f"{root} is not a folder", path=root)
    return _find_parquet(root)


def _require(root: SourcePath, *, may_be_missing: bool) -> SourcePath:
    """Returns the root of a Parquet dataset that exists, or may be missing.

    Raises:
        UsageError: it does not exist and must, or an export of a collection wrote it.
        LookalikeError: it cannot be read.
    """
    with source_errors(root):
        local = root.parent if root.name == ALL_PARQUET else root
        if not (root.is_remote or may_be_missing or os.path.exists(local)):  # noqa: PTH110 - no SourcePath
            raise FileNotFoundError(root)
        require_pyarrow(str(root))
        try:
            root.stat()
        except FileNotFoundError:
            if may_be_missing:
                return root
            raise
        if any(METADATA_KEY.encode() in layout.metadata for layout in open_images(str(root)).layouts):
            raise UsageError(
                f"{root} is an exported collection: its images are thumbnails, and it has their vectors",
                path=root,
                hint=Hint(Action.IMPORT),
            )
    return root


def _find_parquet(root: Path) -> Path:
    """Returns the folder itself, or all Parquet files below it, if it has such and no images."""
    others = OtherFiles()
    if next(scan(root, others), None) is not None or not others.by_suffix[PARQUET]:
        return root
    return _require(SourcePath(root / ALL_PARQUET), may_be_missing=False)
