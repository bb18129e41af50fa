"""Removing images from an index: the meaning of paths and classes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lookalike_core import errors

import lookalike

Draw = Callable[..., list[Path]]

ONE = (
    "photo1.png",
    "photo[1].png",
    "photo?.png",
    "star*.png",
    "starfish.png",
    "cat/1.png",
    "cat/sub/2.png",
    "catalogue/1.png",
)
TWO = ("cat/1.png", "dog/2.png")


@pytest.fixture
def filled(tiny_model: lookalike.Model, draw: Draw, tmp_path: Path) -> Iterator[lookalike.Index]:
    """Yields an index of two datasets in folders beside each other."""
    draw(tmp_path / "one", *ONE)
    draw(tmp_path / "two", *TWO, seed=9)
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add_many([tmp_path / "one", tmp_path / "two"])
        yield index


def left(index: lookalike.Index) -> set[str]:
    """Returns dataset and path of the remaining images."""
    return {f"{point.dataset}/{point.path}" for point in index.points()}


ALL = {f"one/{path}" for path in ONE} | {f"two/{path}" for path in TWO}


@pytest.mark.parametrize(
    ("paths", "gone"),
    [
        (["photo[1].png"], {"one/photo[1].png"}),
        (["photo?.png"], {"one/photo?.png"}),
        (["photo*"], {"one/photo1.png", "one/photo[1].png", "one/photo?.png"}),
        (["star*.png"], {"one/star*.png"}),
        (["*fish*"], {"one/starfish.png"}),
        (["./cat//sub/"], {"one/cat/sub/2.png"}),
        (["cat/1.png", "dog"], {"one/cat/1.png", "two/cat/1.png", "two/dog/2.png"}),
    ],
)
def test_a_star_is_a_wildcard_unless_a_path_contains_it(
    filled: lookalike.Index, paths: Sequence[str], gone: set[str]
) -> None:
    """Other special characters of names are literal; a path may be written in any form."""
    assert filled.remove(paths=paths) == len(gone)
    assert left(filled) == ALL - gone


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("cat/1.png", {"one/cat/1.png", "two/cat/1.png"}),
        ("photo1.png", {"one/photo1.png"}),
        ("2.png", {"two/dog/2.png"}),
        ("../dog/2.png", {"two/dog/2.png"}),
        ("../../two//dog", {"two/dog/2.png"}),
        ("../../link/cat/1.png", {"two/cat/1.png"}),
        ("../../link", {"two/cat/1.png", "two/dog/2.png"}),
        ("../../link/d*", {"two/dog/2.png"}),
    ],
)
def test_a_file_path_is_used_where_no_image_has_the_path(
    filled: lookalike.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, gone: set[str]
) -> None:
    """It may have `..`, double slashes, and links."""
    (tmp_path / "link").symlink_to(tmp_path / "two", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "two" / "dog")
    assert filled.remove(paths=path) == len(gone)
    assert left(filled) == ALL - gone


def test_dot_dot_after_a_link_follows_the_link(
    filled: lookalike.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`link/../cat/1.png` is resolved as the shell does, not by its text."""
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two" / "dog", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert filled.remove(paths="one/link/../cat/1.png") == 1
    assert left(filled) == ALL - {"two/cat/1.png"}


@pytest.mark.parametrize("path", ["", ".", "./", "cat/..", Path()])
def test_a_path_without_images_is_refused(filled: lookalike.Index, path: Any) -> None:
    """An empty path could mean the working directory or all images."""
    with pytest.raises(errors.UsageError, match="names no image and no folder") as refused:
        filled.remove(paths=path)
    assert refused.value.argument == errors.Argument.PATH
    assert left(filled) == ALL


def test_paths_without_images_among_others_are_logged(filled: lookalike.Index, said: list[str]) -> None:
    """Each path and class is logged by itself."""
    assert filled.remove(paths=["cat", "none"], classes=["cat", "bird"]) == 3
    assert said[-2:] == [
        "warning: class 'bird' matches no image here",
        "warning: path 'none' matches no image here",
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([""], "an image without a class, of path 'cat'"),
        (["", "x"], "an image without a class or of class 'x'"),
    ],
)
def test_a_class_without_images_is_named(filled: lookalike.Index, classes: list[str], message: str) -> None:
    """The message has it in words, also for images without a class."""
    with pytest.raises(errors.UsageError, match=message):
        filled.remove(paths="cat", classes=classes)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda index: index.remove(paths=None), "paths must be a text or path, or several, not None"),
        (lambda index: index.remove(classes=[1]), "classes must be a text or path"),
        (lambda index: index.add_many("one"), "folders must be several texts or paths, not 'one'"),
        (lambda index: index.remove(paths=b"a"), "paths must be a text or path, or several"),
        (lambda index: index.add(".", class_level="2"), "class_level must be a whole number, not '2'"),
        (lambda index: index.add(".", exclude=[None]), "exclude must be a text or path"),
    ],
)
def test_arguments_of_another_type_are_named(
    filled: lookalike.Index, call: Callable[[Any], object], named: str
) -> None:
    """They are refused before anything is removed."""
    with pytest.raises(errors.UsageError, match=named):
        call(filled)
    assert left(filled) == ALL
