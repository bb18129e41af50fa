"""The programs under `examples/`, run as they are."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

Run = Callable[..., str]


@pytest.fixture
def run(tiny_weights: Path, tmp_path: Path) -> Run:
    """Runs a program in a folder of its own, with the small model, and gives what it prints."""

    def example(name: str, *words: object) -> str:
        model = ["--backbone", "vgg16", "--layer", "block1_conv1", "--weights", str(tiny_weights)]
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, *map(str, words), *model],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return example


def test_every_example_has_a_test() -> None:
    """A new program in `examples/` needs a test in this module."""
    tested = Path(__file__).read_text(encoding="utf-8")
    programs = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert programs
    assert [name for name in programs if f'run("{name}"' not in tested] == []


def test_ten_neighbours_are_shown(run: Run, images: Path) -> None:
    """A second run embeds nothing."""
    first = run("ten_neighbours.py", images, images / "cat/1.png").splitlines()
    assert first[0] == "26 images, 26 of them new, 0 skipped"
    assert len(first) == 11
    again = run("ten_neighbours.py", images, images / "cat/1.png").splitlines()
    assert again == ["26 images, 0 of them new, 0 skipped", *first[1:]]


def test_near_duplicates_are_written(run: Run, images: Path, tmp_path: Path) -> None:
    """The two files with the same bytes are a group, and one of them is redundant."""
    printed = run("near_duplicates.py", images, "duplicates.csv")
    with (tmp_path / "duplicates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    proven = [row for row in rows if row["could_go"] == "True"]
    assert len(proven) == int(re.search(r"(\d+) files could go", printed)[1]) >= 1
    assert {row["match"] for row in proven} <= {"identical", "near-duplicate"}
    kept = {row["group"]: row["file"] for row in rows if row["match"] == "kept"}
    copies = {str(images / "cat/0.png"), str(images / "cat/copy.png")}
    assert any({kept[row["group"]], row["file"]} == copies for row in proven)


def test_a_classifier_agrees_with_scikit_learn(run: Run, images: Path) -> None:
    """Both classify the same vectors alike."""
    printed = run("nearest_neighbour_classifier.py", images, "--train", 8, "-k", 3)
    assert "17 images indexed, 9 held out, 3 neighbours vote" in printed
    right = dict(re.findall(r"^(\S+): +(\S+) right$", printed, flags=re.MULTILINE))
    assert right["lookalike"] == right["scikit-learn"]
    assert "they agree on 1.0000" in printed
