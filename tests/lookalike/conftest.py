"""A home and a folder of images for the library, and a small real model to index them with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lookalike

Draw = Callable[..., list[Path]]

PLACES = ("1.png", *(f"cat/{number}.png" for number in range(12)), *(f"dog/{n}.png" for n in range(12)))


@pytest.fixture(scope="module", autouse=True)
def library_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the module's own, named by the environment, as users name it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOOKALIKE_STORE", "QDRANT_URL", "QDRANT_API_KEY"):
            patch.delenv(name, raising=False)
        patch.setenv("LOOKALIKE_HOME", str(home))
        yield home


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """Drawn images of two classes, one without a class, and a second file of the same bytes."""
    root = tmp_path_factory.mktemp("images") / "photos"
    draw(root, *PLACES)
    (root / "cat" / "copy.png").write_bytes((root / "cat" / "0.png").read_bytes())
    return root


@pytest.fixture(scope="module")
def tiny_model(library_home: Path, tiny_weights: Path) -> lookalike.Model:
    """VGG16 up to its first layer."""
    return lookalike.Model("vgg16", weights=tiny_weights, layer="block1_conv1")


@pytest.fixture(scope="module")
def index(
    images: Path, tiny_model: lookalike.Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lookalike.Index]:
    """The images in an index, which tests leave as it is."""
    with lookalike.open(tmp_path_factory.mktemp("store") / "photos.index", model=tiny_model) as one:
        one.add(images)
        yield one
