"""Detects classes that are really the parts of a split (train, val ...), one folder above the classes."""

from collections.abc import Sequence

from lookalike_core.images.scan import FoundFile

from lookalike_ingest.labels import Label

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Lower-case names of the folders of a split."""


class SplitClasses:
    """Collects the classes of a folder, as long as all of them are named like parts of a split."""

    def __init__(self, class_level: int) -> None:
        self._class_level = class_level
        self._found: set[str] = set()
        self._may_be = class_level > 0
        """False for a negative level: then no deeper folder could name the class instead."""
        self._has_folders_below = False

    def see(self, files: Sequence[FoundFile], labels: Sequence[Label]) -> None:
        """Records files with their classes; does nothing once a class is not a part of a split."""
        if not self._may_be:
            return
        self._found |= {label.class_name for label in labels if label.class_name is not None}
        self._may_be = all(name.lower() in SPLIT_NAMES for name in self._found)
        if self._found and not self._has_folders_below:
            self._has_folders_below = any(file.path.count("/") > self._class_level for file in files)

    @property
    def names(self) -> list[str]:
        """The classes, if all are parts of a split and have subfolders; else empty."""
        return sorted(self._found) if self._may_be and self._has_folders_below else []
