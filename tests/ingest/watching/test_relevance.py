"""Which events in a folder can matter to a collection."""

import pytest
from lookalike_core.images.exclusion import Exclusion
from lookalike_ingest.watching.relevance import Event, EventKind, is_relevant

ADDED, MODIFIED, DELETED = EventKind.ADDED, EventKind.MODIFIED, EventKind.DELETED


@pytest.mark.parametrize(
    ("kind", "path", "is_folder", "matters"),
    [
        (ADDED, "/data/cat/1.jpg", False, True),
        (MODIFIED, "/data/cat/1.JPG", False, True),
        (DELETED, "/data/cat/1.jpg", False, True),
        (ADDED, "/data/new folder", True, True),
        (DELETED, "/data/2023.05 Paris", False, True),
        (DELETED, "/data", False, True),
        (ADDED, "/elsewhere/behind-a-link/1.jpg", False, True),
        (MODIFIED, "/data/cat", True, False),
        (ADDED, "/data/cat/1.xmp", False, False),
        (MODIFIED, "/data/log.txt", False, False),
        (ADDED, "/data/.1.jpg.part", False, False),
        (ADDED, "/data/.hidden.jpg", False, False),
        (DELETED, "/data/.1.jpg.swp", False, False),
        (ADDED, "/data/@eaDir/1.jpg", False, False),
        (ADDED, "/data/.thumbnails", True, False),
        (ADDED, "/data/raw/1.jpg", False, False),
        (ADDED, "/data/rawer/1.jpg", False, True),
        (ADDED, "/database/.hidden.jpg", False, True),
    ],
)
def test_only_events_of_images_and_folders_matter(
    kind: EventKind, path: str, is_folder: bool, matters: bool
) -> None:
    """Editors' temporary files, sidecars, and what is excluded start no run."""
    event = Event(kind=kind, path=path, is_folder=is_folder)
    assert is_relevant(event, "/data", Exclusion(["raw"])) is matters


def test_hidden_files_matter_where_they_are_not_excluded() -> None:
    """By the rules of the dataset."""
    event = Event(kind=ADDED, path="/data/.hidden.jpg", is_folder=False)
    assert is_relevant(event, "/data", Exclusion(defaults=False))
