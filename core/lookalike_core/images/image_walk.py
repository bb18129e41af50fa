"""What every walk through a source of images has: its root, the rules, and what it counts."""

from collections.abc import Callable
from pathlib import Path

from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.found_files import OtherFiles


class ImageWalk:
    """The beginning of a walk, which is made for one pass; patterns that exclude something are noted."""

    def __init__(
        self,
        root: Path,
        others: OtherFiles,
        rules: FolderRules,
        *,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        self._root, self._others, self._takes = root, others, takes
        self._exclusion, self._class_level = rules.exclusion, rules.class_level
        self._exclusion.fitting = others.fitting_patterns
