"""Tests names in both Unicode normal forms: composed, as typed, and decomposed, as on disks from a Mac."""

from pathlib import Path
from typing import Any

import pytest

import lookalike

COMPOSED, DECOMPOSED = "Schildkr\u00f6te", "Schildkro\u0308te"


@pytest.fixture
def images(shell: Any, draw: Any) -> Path:
    """Draws a dataset and a class of it whose names are decomposed, beside another class."""
    root: Path = shell.folder / DECOMPOSED
    draw(root, *(f"{DECOMPOSED}/{DECOMPOSED}{number}.png" for number in (1, 2, 3)), "cat/1.png")
    assert shell.ingest(root).code == 0
    return root


def hit_paths(done: Any) -> list[str]:
    """Returns the paths of the hits of the only query."""
    assert done.code == 0, done.err
    return sorted(hit["path"] for hit in done.json[0]["hits"])


@pytest.mark.parametrize("form", [COMPOSED, DECOMPOSED])
@pytest.mark.usefixtures("images")
def test_names_match_in_either_form(shell: Any, form: str) -> None:
    """A class, a dataset and the path of an indexed image; paths are shown as on the disk."""
    paths = [f"{DECOMPOSED}/{DECOMPOSED}{number}.png" for number in (1, 2, 3)]
    done = shell("search", "query", "cat/1.png", "--class", form, "--dataset", form, "--json")
    assert hit_paths(done) == paths
    done = shell("search", "query", f"{form}/{form}1.png", "--class", form, "--json")
    assert hit_paths(done) == paths[1:]
    for command in (["neighbours", "--class", form], ["duplicates"], ["map", "--html", "map.html"]):
        assert shell("search", *command, "--dataset", form).code == 0
    assert shell("search", "evaluate", "--dataset", form).code == 0


@pytest.mark.parametrize("form", [COMPOSED, DECOMPOSED])
def test_the_library_matches_names_in_either_form(shell: Any, images: Path, form: str) -> None:
    """Every method that takes `where` does."""
    with lookalike.open(shell.folder / "home/qdrant") as index:
        where = lookalike.Where(class_name=form, dataset=form)
        assert len(index.points(where)) == 3
        assert len(index.vectors(where)[0]) == 3
        assert len(index.search(images / "cat/1.png", where=where).hits) == 3
        assert index.classes == {COMPOSED: 3, "cat": 1}
        assert index.datasets == {COMPOSED: 4}
        assert index.remove(form) == 4


@pytest.mark.usefixtures("images")
def test_a_dataset_is_removed_in_either_form(shell: Any) -> None:
    """The option may have the other form than the dataset's name."""
    done = shell("ingest", "remove", "--dataset", DECOMPOSED, "--yes")
    assert (done.code, "removed 4 points" in done.out) == (0, True)
