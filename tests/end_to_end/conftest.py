"""The commands as processes, on a small real model: VGG16's first convolutions with seeded weights."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "stripes")
COLOURS = ("crimson", "seagreen", "royalblue", "goldenrod")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Runs the console commands in a folder and an environment of their own."""

    folder: Path
    weights: Path
    environment: dict[str, str]

    def __call__(self, *words: str | Path, data: bytes | None = None, **variables: str) -> Done:
        """Runs one command to its end."""
        program, *arguments = map(str, words)
        done = subprocess.run(
            [Path(sys.executable).parent / program, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            input=data,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Done(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    @property
    def model(self) -> list[str]:
        """The options that stand for the small model."""
        return ["--backbone", "vgg", "--layer", "block1_pool", "--weights", str(self.weights)]

    def ingest(self, *words: str | Path) -> Done:
        """`ingest run` with the small model."""
        return self("ingest", "run", *words, *self.model)


def draw(path: Path, shape: str, colour: str) -> None:
    """A picture of one shape in one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (96, 80), "white")
    pencil = ImageDraw.Draw(image)
    if shape == "circle":
        pencil.ellipse((20, 10, 76, 66), fill=colour)
    elif shape == "square":
        pencil.rectangle((24, 16, 72, 64), fill=colour)
    else:
        for x in range(0, 96, 12):
            pencil.rectangle((x, 0, x + 5, 80), fill=colour)
    image.save(path)


def draw_folder(root: Path, colours: Sequence[str] = COLOURS) -> Path:
    """Class folders of one picture for each shape and colour."""
    for shape in SHAPES:
        for colour in colours:
            draw(root / shape / f"{colour}.png", shape, colour)
    return root


@pytest.fixture(scope="session")
def make_shell(tiny_weights: Path) -> Callable[[Path], Shell]:
    """A shell in a folder, with a home of its own and nothing of the caller's settings."""

    def make(folder: Path) -> Shell:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LOOKALIKE_", "QDRANT_"))
        }
        own = {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_STORE": "embedded", "HOME": str(folder)}
        return Shell(folder=folder, weights=tiny_weights, environment=kept | own)

    return make


@pytest.fixture
def shell(make_shell: Callable[[Path], Shell], tmp_path: Path) -> Shell:
    """A shell in an empty folder."""
    return make_shell(tmp_path)


@pytest.fixture(scope="session")
def ingested(make_shell: Callable[[Path], Shell], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell beside `pictures/`, which is in two collections; only read by tests."""
    shell = make_shell(tmp_path_factory.mktemp("ingested"))
    draw_folder(shell.folder / "pictures")
    draw(shell.folder / "query.png", "circle", "orangered")
    done = shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell
