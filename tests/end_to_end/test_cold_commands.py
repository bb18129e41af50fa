"""Tests that every subcommand, in a process of its own, imports all that it needs.

Most other tests run commands in the tests' process, where libraries are imported already.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

IMAGE = "pictures/cat/1.png"
WORDS = [
    ("exporter", "list"),
    ("exporter", "run", "MODEL"),
    ("ingest", "run", "pictures", "MODEL"),
    ("ingest", "status"),
    ("ingest", "sample", "drawn"),
    ("ingest", "rebuild", "COLLECTION"),
    ("search", "query", IMAGE, "--html", "query.html"),
    ("search", "neighbours"),
    ("search", "duplicates", "--html", "duplicates.html"),
    ("search", "evaluate", "--html", "evaluate.html", "--plot", "evaluate.png"),
    ("search", "calibrate"),
    ("search", "query", IMAGE, "--confidence", "80%"),
    ("search", "explain", IMAGE, "pictures/cat/2.png", "--html", "explain.html"),
    ("search", "map", "--html", "map.html"),
    ("ingest", "remove", "--dataset", "pictures", "--yes"),
]
"""Subcommands with their arguments; the last one removes what the others need."""


@pytest.fixture(scope="module")
def place(
    make_shell: Callable[[Path], Any], draw: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Returns a shell beside twenty images of two classes, which one collection holds."""
    shell = make_shell(tmp_path_factory.mktemp("cold"))
    draw(
        shell.folder / "pictures",
        *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)),
    )
    assert shell.ingest("pictures").code == 0
    return shell


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_command_runs_in_a_new_process(words: tuple[str, ...], place: Any) -> None:
    """It succeeds and prints its result."""
    (collection,) = (path.name for path in place.folder.glob("home/qdrant/vgg16-*") if path.is_dir())
    stands_for = {"MODEL": place.model, "COLLECTION": [collection]}
    done = place.process(*(each for word in words for each in stands_for.get(word, [word])))
    assert (done.code, bool(done.out)) == (0, True), done.err
