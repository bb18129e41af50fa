"""Messages about paths that do not exist, with a remedy."""

from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument
from lookalike_core.missing_path import describe_missing, require_folder, require_there


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Returns a folder with a folder, a file and a dangling link."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "things.index").mkdir()
    (tmp_path / "labels.csv").write_text("path,class\n", encoding="utf-8")
    (tmp_path / "moved").symlink_to("elsewhere")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fotos", "{root}/fotos does not exist, but {root}/photos does"),
        ("PHOTOS", "{root}/PHOTOS does not exist, but {root}/photos does"),
        ("fotos/2020/1.jpg", "{root}/fotos/2020/1.jpg does not exist, but {root}/photos does"),
        ("photo.jpg", "{root}/photo.jpg does not exist"),
        ("thinks.index", "{root}/thinks.index does not exist, but {root}/things.index does"),
        ("photo.jpg/1.jpg", "{root}/photo.jpg/1.jpg does not exist, but {root}/photos does"),
        ("other", "{root}/other does not exist"),
        ("photos2", "{root}/photos2 does not exist"),
        ("a/b/c", "{root}/a/b/c does not exist; the last of its folders that does is {root}"),
        ("labels.csv/cat", "{root}/labels.csv/cat does not exist: {root}/labels.csv is not a folder"),
        ("moved", "{root}/moved is a link to elsewhere, which does not exist"),
    ],
)
def test_a_missing_path_is_described_by_its_nearest_existing_folder(root: Path, name: str, said: str) -> None:
    """The message also suggests a similar name for the first missing part."""
    assert describe_missing(root / name) == said.format(root=root)


def test_a_relative_path_starts_in_the_current_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The existing folder is named in full."""
    monkeypatch.chdir(root)
    assert describe_missing(Path("label.csv")) == "label.csv does not exist, but labels.csv does"
    assert describe_missing(Path("a/b")).endswith(f"the last of its folders that does is {root}")


def test_an_existing_path_is_accepted(root: Path) -> None:
    """A folder passes as a folder and as a path, a file as a path."""
    require_folder(root / "photos")
    require_there(root / "labels.csv")


def test_a_file_in_place_of_a_folder_is_refused(root: Path) -> None:
    """The message names its source, and has no remedy for missing paths."""
    with pytest.raises(UsageError, match="is not a folder") as refused:
        require_folder(root / "labels.csv", Argument.IMAGES)
    assert (refused.value.argument, refused.value.hint) == (Argument.IMAGES, None)


def test_a_missing_path_is_refused_with_a_hint(root: Path) -> None:
    """The hint and the path are data."""
    with pytest.raises(UsageError, match=r"^--images: ") as refused:
        require_folder(root / "none", "--images")
    assert refused.value.path == root / "none"
    assert refused.value.hint is not None
    assert refused.value.hint.action is Action.CHECK_PATH
