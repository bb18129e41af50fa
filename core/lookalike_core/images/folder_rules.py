"""The rules by which a dataset's folder is walked; they are stored with the dataset."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.exclusion import Exclusion
from lookalike_core.json_records import read_record
from lookalike_core.text import format_count


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRules:
    """What is excluded from a folder, and which of its folders name classes.

    `exclude` are gitignore patterns that follow the default excludes, so that `!NAME` includes one of these
    again. `class_level` says which folder names an image's class: 1 the first below the root, 2 the one in
    it; -1 the folder that contains the image, -2 the one above it.

    Raises:
        UsageError: the class level is 0, which means no folder.
    """

    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    class_level: int = 1

    def __post_init__(self) -> None:
        """Refuses a class level that names no folder."""
        if self.class_level == 0:
            raise UsageError(
                "0 is no folder; use 1 for the first below the root, -1 for the one that contains the image",
                argument=Argument.CLASS_LEVEL,
            )

    @property
    def exclusion(self) -> Exclusion:
        """Returns the compiled exclude rules.

        Raises:
            UsageError: a pattern is malformed.
        """
        return Exclusion(self.exclude, defaults=self.default_excludes)

    def __str__(self) -> str:
        """Returns how the rules differ from the default rules, as a sentence."""
        return self._told([f"without {', '.join(map(repr, self.exclude))}"] if self.exclude else [])

    @property
    def summary(self) -> str:
        """Returns the same as `str`, short enough for a table: patterns are counted, not listed."""
        count = len(self.exclude)
        return self._told([format_count(count, "exclude pattern")] if count else [])

    def _told(self, told: list[str]) -> str:
        if not self.default_excludes:
            told.append("with hidden files and system files")
        if self.follow_links:
            told.append("links to folders followed")
        if self.class_level != 1:
            told.append(f"classes by folder {self.class_level}")
        return ", ".join(told) or "the default ones"

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object, which `from_json` reads back."""
        return asdict(self) | {"exclude": list(self.exclude)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            ValueError, UsageError: a field is missing or malformed.
        """
        return read_record(cls, data, is_complete=True)


DEFAULT_RULES = FolderRules()
"""The rules of a dataset for which none were given."""
