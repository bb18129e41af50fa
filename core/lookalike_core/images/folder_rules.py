"""The rules by which the folder of a dataset is walked; they are stored with the dataset."""

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
    """What is left out of a folder, and which of the folders in it name classes.

    `exclude` are patterns by gitignore's rules, which come after the default excludes, so that `!NAME` takes
    one of these back in. `class_level` says which folder names an image's class: 1 the first below the root,
    2 the one in it; -1 the folder that the image lies in, -2 the one above it.

    Raises:
        UsageError: the class level is 0, which is no folder.
    """

    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    class_level: int = 1

    def __post_init__(self) -> None:
        """Refuses a class level that names no folder."""
        if self.class_level == 0:
            raise UsageError(
                "0 is no folder: 1 is the first below the root, -1 the one that an image lies in",
                argument=Argument.CLASS_LEVEL,
            )

    @property
    def exclusion(self) -> Exclusion:
        """Returns what is left out.

        Raises:
            UsageError: a pattern is malformed.
        """
        return Exclusion(self.exclude, defaults=self.default_excludes)

    def __str__(self) -> str:
        """Says in what they are unlike those of a dataset that nobody has said anything about."""
        return self._told([f"without {', '.join(map(repr, self.exclude))}"] if self.exclude else [])

    @property
    def summary(self) -> str:
        """Says the same on a line of a table: patterns are counted and not named."""
        count = len(self.exclude)
        return self._told([format_count(count, "exclude pattern")] if count else [])

    def _told(self, told: list[str]) -> str:
        if not self.default_excludes:
            told.append("with hidden files and what systems make")
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
