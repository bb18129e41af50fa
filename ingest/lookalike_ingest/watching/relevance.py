"""Decides which events in a watched folder can matter to its collections."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.exclusion import Exclusion


class EventKind(StrEnum):
    """What happened to a file or folder."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A file or folder at an absolute path was added, modified or deleted.

    `is_folder` is true for folders and links to them; false where it is gone.
    """

    kind: EventKind
    path: str
    is_folder: bool


def is_relevant(event: Event, root: str, exclusion: Exclusion) -> bool:
    """Returns whether a run may find anything new because of an event.

    Events of excluded files do not matter, nor those of files that are not named like images. Something that
    is gone may have been a folder of images, whatever its name. Paths outside the root, to which links lead,
    have no exclusion.
    """
    is_image = PurePath(event.path).suffix.lower() in SUFFIXES
    if not is_image and event.kind is not EventKind.DELETED and not event.is_folder:
        return False
    if event.is_folder and event.kind is EventKind.MODIFIED:
        return False  # its entries have events of their own
    below = event.path.removeprefix(f"{root.rstrip('/')}/")
    if below == event.path:
        return True
    return not exclusion.covers(below, is_folder=event.is_folder)
