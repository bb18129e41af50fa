"""Classes that are none: the parts that a dataset was split into, one folder above its classes."""

from collections.abc import Sequence

from lookalike_core.images.scan import FoundFile

from lookalike_ingest.labels import Label

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Of the folders that datasets are split into, in lower case."""


class SplitClasses:
    """Watches classes go by, as long as all of them are named like splits."""

    def __init__(self, class_level: int) -> None:
        self._class_level = class_level
        self._found: set[str] = set()
        self._may_be = class_level > 0
        """Counted from the image there is no folder below that could name the class instead."""
        self._has_folders_below = False

    def see(self, files: Sequence[FoundFile], labels: Sequence[Label]) -> None:
        """Notes files with their classes; once one is no split nothing more is looked at."""
        if not self._may_be:
            return
        self._found |= {label.class_name for label in labels if label.class_name is not None}
        self._may_be = all(name.lower() in SPLIT_NAMES for name in self._found)
        if self._found and not self._has_folders_below:
            self._has_folders_below = any(file.path.count("/") > self._class_level for file in files)

    @property
    def names(self) -> list[str]:
        """The classes, where all are splits and folders lie below them; else none."""
        return sorted(self._found) if self._may_be and self._has_folders_below else []
