"""What is said of a path that is not there, and that it comes with a next step."""

from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument
from lookalike_core.missing_path import describe_missing, require_folder, require_there


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a folder, a file and a link that leads nowhere."""
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
    """And what is called almost like the first part that is missing."""
    assert describe_missing(root / name) == said.format(root=root)


def test_a_relative_path_is_looked_at_from_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that is there is named in full."""
    monkeypatch.chdir(root)
    assert describe_missing(Path("label.csv")) == "label.csv does not exist, but labels.csv does"
    assert describe_missing(Path("a/b")).endswith(f"the last of its folders that does is {root}")


def test_what_is_there_is_let_through(root: Path) -> None:
    """A folder as a folder, and a file."""
    require_folder(root / "photos")
    require_there(root / "labels.csv")


def test_what_is_something_else_is_refused(root: Path) -> None:
    """Without the advice for what is missing; what named it is said."""
    with pytest.raises(UsageError, match="is not a folder") as refused:
        require_folder(root / "labels.csv", Argument.IMAGES)
    assert (refused.value.argument, refused.value.hint) == (Argument.IMAGES, None)


def test_what_is_missing_is_refused_with_a_next_step(root: Path) -> None:
    """As data, with the path."""
    with pytest.raises(UsageError, match=r"^--images: ") as refused:
        require_folder(root / "none", "--images")
    assert refused.value.path == root / "none"
    assert refused.value.hint is not None
    assert refused.value.hint.action is Action.CHECK_PATH
