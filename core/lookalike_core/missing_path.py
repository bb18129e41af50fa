"""Messages about a path that does not exist: the nearest existing folder, and similar names."""

import os
from difflib import get_close_matches
from itertools import islice, pairwise
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint

CHECK_PATH = Hint(Action.CHECK_PATH)

NAMES_COMPARED = 1_000
"""How many names of a folder are compared with a missing name."""


def require_folder(folder: Path, origin: Argument | str | None = None) -> None:
    """Checks that a folder exists; `origin` is the source of the path, as in `UsageError.of`.

    Raises:
        UsageError: it is missing, or no folder.
        OSError: it cannot be accessed.
    """
    require_there(folder, origin)
    if not folder.is_dir():
        raise _usage_error(f"{folder} is not a folder", folder, origin)


def require_there(path: Path, origin: Argument | str | None = None) -> None:
    """Checks that a path exists; `origin` is its source, as in `UsageError.of`.

    Raises:
        UsageError: it is missing.
        OSError: it cannot be accessed.
    """
    if not path.exists():
        raise _usage_error(describe_missing(path), path, origin, CHECK_PATH)


def describe_missing(path: Path) -> str:
    """Returns the message that a path does not exist, with a similar path or the nearest existing folder.

    As in: /home/you/fotos/2020 does not exist, but /home/you/photos does.
    """
    said = f"{path} does not exist"
    try:
        if path.is_symlink():
            return f"{path} is a link to {path.readlink()}, which does not exist"
        missing, nearest = next(pair for pair in pairwise([path, *path.parents]) if pair[1].exists())
        if not nearest.is_dir():
            return f"{said}: {nearest} is not a folder"
        if close := _find_similar(missing.name, nearest, is_last=missing == path):
            return f"{said}, but {close} does"
    except (OSError, ValueError, StopIteration):  # it cannot be looked at, or be a path
        return said
    return said if missing == path else f"{said}; the last of its folders that does is {nearest.absolute()}"


def _find_similar(name: str, folder: Path, *, is_last: bool) -> Path | None:
    """Returns an existing path with a similar name in a folder; names with different numbers are not similar.

    A path whose last name has a file's suffix is not compared with folders that lack that suffix.
    """
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in islice(entries, NAMES_COMPARED)
            if _digits(entry.name) == _digits(name)
            and not (is_last and entry.is_dir() and Path(entry.name).suffix != Path(name).suffix)
        ]
    stems = {Path(each).stem.casefold(): each for each in names if each != name}
    close = get_close_matches(Path(name).stem.casefold(), stems, n=1, cutoff=_LEAST_SIMILARITY)
    return folder / stems[close[0]] if close else None


_LEAST_SIMILARITY = 0.7


def _digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))


def _usage_error(
    message: str, path: Path, origin: Argument | str | None, hint: Hint | None = None
) -> UsageError:
    if origin is None:
        return UsageError(message, path=path, hint=hint)
    return UsageError.of(origin, message, path=path, hint=hint)
