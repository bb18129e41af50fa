"""Fixtures for the commands on drawn images: `shell` runs them, `ingested` has run an ingest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "stripes")
COLOURS = ("crimson", "seagreen", "royalblue", "goldenrod")


def draw_shape(path: Path, shape: str, colour: str) -> None:
    """Draws an image of one shape in one colour."""
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
    """Draws class folders with one image for each shape and colour."""
    for shape in SHAPES:
        for colour in colours:
            draw_shape(root / shape / f"{colour}.png", shape, colour)
    return root


@pytest.fixture(scope="session")
def ingested(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell beside `images/`, which two collections hold; tests only read it."""
    shell = make_shell(tmp_path_factory.mktemp("ingested"))
    draw_folder(shell.folder / "pictures")
    draw_shape(shell.folder / "query.png", "circle", "orangered")
    done = shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell
