"""Messages about a file or folder that was named and does not exist: how far its path leads."""

import os
from difflib import get_close_matches
from itertools import islice, pairwise
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint

CHECK_PATH = Hint(Action.CHECK_PATH)

NAMES_COMPARED = 1_000
"""How many names of a folder are compared with a missing one."""


def require_folder(folder: Path, origin: Argument | str | None = None) -> None:
    """Does nothing where a folder is there; `origin` is what named it, as in `UsageError.of`.

    Raises:
        UsageError: it is missing, or no folder.
        OSError: it cannot be looked at.
    """
    require_there(folder, origin)
    if not folder.is_dir():
        raise _usage_error(f"{folder} is not a folder", folder, origin)


def require_there(path: Path, origin: Argument | str | None = None) -> None:
    """Does nothing where something is there; `origin` is what named it, as in `UsageError.of`.

    Raises:
        UsageError: it is missing.
        OSError: it cannot be looked at.
    """
    if not path.exists():
        raise _usage_error(describe_missing(path), path, origin, CHECK_PATH)


def describe_missing(path: Path) -> str:
    """Returns that a path does not exist, and what is called almost like it, or how far it leads.

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
    """Returns what lies in a folder under almost that name; another number is another name.

    The last name of a path with a file's suffix is not taken for a folder's without that suffix.
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
