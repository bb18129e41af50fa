"""What a walk leaves out by name or path: files of systems and programs, and patterns.

Patterns follow gitignore's rules (https://git-scm.com/docs/gitignore), which pathspec knows. A folder that is
left out is not looked into, so that nothing in it can be taken back in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.ignore_patterns import pattern_regex
from lookalike_core.text import nfc

DEFAULT_EXCLUDES = (
    ".*",  # hidden: .thumbnails, .cache, .git, .Trash-1000, .snapshot, .@__thumb, .AppleDouble, ._x.jpg
    "@eaDir",  # Synology: thumbnails of each image
    "@tmp",
    "@Recycle",  # QNAP: the bin
    "@Recently-Snapshot",
    "#recycle",  # Synology: the bin
    "#snapshot",
    "$RECYCLE.BIN",  # Windows: the bin, by its names of three ages
    "$Recycle.Bin",
    "RECYCLER",
    "System Volume Information",
    "found.[0-9][0-9][0-9]",  # Windows: what is left of damaged files
    "FOUND.[0-9][0-9][0-9]",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "lost+found",  # ext4: what is left of damaged files
    "__MACOSX",  # macOS: the second halves of files in archives
    "Network Trash Folder",
    "Temporary Items",
    "*.lrdata",  # Lightroom: previews
)
"""Names of files and folders that are left out wherever they lie, unless that is switched off.

None of them is the name of an image that is not hidden.
"""

_BY_DEFAULT = re.compile("|".join(translate(name) for name in DEFAULT_EXCLUDES))


def is_made_by_systems(name: str) -> bool:
    """Whether a name, of a file or folder, is one of the default excludes; that of what is hidden is."""
    return _BY_DEFAULT.match(name) is not None


class Exclusion:
    """Tells what is left out: by default excludes, and by patterns of which the last that fits decides.

    Raises:
        UsageError: a pattern is malformed.
    """

    def __init__(self, patterns: Sequence[str] = (), *, defaults: bool = True) -> None:
        self._defaults = defaults
        self._last_first = [_compile(pattern) for pattern in reversed(patterns)]
        self.has_patterns = bool(self._last_first)
        """Whether images have to be asked about one by one; by default folders and hidden files alone are."""
        self.hides_dotted = defaults and not any(rule.takes_back for rule in self._last_first)
        """Whether whatever begins with a dot is left out."""
        self.fitting: set[str] = set()
        """The patterns that have decided about something so far."""

    def excludes(self, prefix: str, name: str, *, is_folder: bool) -> bool:
        """Whether a file is left out, or a folder with all that is in it, whatever happens to what is above.

        `prefix` is the path of the folder that it lies in, with a slash.
        """
        for rule in self._last_first:
            if rule.fits(prefix, name, is_folder):
                self.fitting.add(rule.pattern)
                return not rule.takes_back
        return self._defaults and is_made_by_systems(name)

    def covers(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a file or folder is left out, or a folder that it lies in; the path is root-relative."""
        *folders, name = path.split("/")
        prefix = ""
        for folder in folders:
            if self.excludes(prefix, folder, is_folder=True):
                return True
            prefix += f"{folder}/"
        return self.excludes(prefix, name, is_folder=is_folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One pattern. What is in a folder that fits, fits the `regex`, too; here each folder is asked itself.

    A pattern of a name alone `fits_anywhere`, one that ends in `/**` fits `what_is_inside` of a folder.
    """

    pattern: str
    regex: re.Pattern[str]
    takes_back: bool
    fits_anywhere: bool
    what_is_inside: bool

    def fits(self, prefix: str, name: str, is_folder: bool) -> bool:
        slash = "/" if is_folder else ""
        if self.fits_anywhere:
            return self._matches(name + slash)
        if self.what_is_inside:
            return self._matches(prefix + name)
        return self._matches(prefix + name + slash) and not (prefix and self._matches(prefix))

    def _matches(self, path: str) -> bool:
        return self.regex.search(nfc(path)) is not None


def _compile(pattern: str) -> _Rule:
    """Refuses, too, what gitignore skips without a word: a blank line, a comment, an open bracket."""
    takes_back = pattern.startswith("!")
    plain = nfc(pattern.removeprefix("!"))
    if takes_back and plain.startswith(("#", "!")):  # behind the first ! it is what it is
        plain = f"\\{plain}"
    name = plain.rstrip().removeprefix("**/").removesuffix("/")
    try:
        regex = pattern_regex(plain)
    except ValueError as error:
        raise UsageError(
            f"{pattern!r} is not a valid gitignore pattern ({error})", argument=Argument.EXCLUDE
        ) from error
    if regex is None:
        is_comment = pattern.startswith("#")
        why = f"a name like that is written \\{pattern}" if is_comment else "it names nothing"
        raise UsageError(
            f"{pattern!r} matches nothing by gitignore's rules; {why}",
            argument=Argument.EXCLUDE,
        )
    return _Rule(
        pattern=pattern,
        regex=regex,
        takes_back=takes_back,
        fits_anywhere="/" not in name,
        what_is_inside=name.endswith("/**"),
    )
