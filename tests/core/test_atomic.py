"""Atomic writes: a file that exists under its name is complete."""

import errno
import json
import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest
from lookalike_core.atomic import (
    atomic_files,
    atomic_path,
    parse_json,
    parse_path,
    remove,
    sweep_partials,
    sync_folder,
    sync_tree,
    write_json,
)
from lookalike_core.errors import UsageError


def break_off(target: Path, error: type[BaseException]) -> None:
    """Writes the first half, then raises."""
    with atomic_path(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error


def test_an_atomic_write_replaces_the_file(tmp_path: Path) -> None:
    """Until the block ends the old content is there; afterwards the folder has no other file."""
    target = tmp_path / "model.onnx"
    target.write_text("old", encoding="utf-8")
    with atomic_path(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert target.read_text(encoding="utf-8") == "old"
    assert target.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    """Examples are an interrupted download, a failed check, and Ctrl-C."""
    target = tmp_path / "model.onnx"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(error):
        break_off(target, error)
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_creates_no_file(tmp_path: Path) -> None:
    """No partial file is left."""
    with pytest.raises(ValueError, match="broken"), atomic_path(tmp_path / "new" / "model.onnx"):
        raise ValueError("broken")
    assert list((tmp_path / "new").iterdir()) == []


def write_together(folder: Path, *names: str, error: type[BaseException] | None = None) -> None:
    """Writes new content to files of these names at once, or raises before the end."""
    with atomic_files(*(folder / name for name in ("model.weights", "model.onnx"))) as temporary:
        for name in names:
            (temporary / name).write_text("new", encoding="utf-8")
        if error is not None:
            raise error


def test_files_are_replaced_together(tmp_path: Path) -> None:
    """One that is not written stays as it is; one that is no target is dropped."""
    (tmp_path / "model.weights").write_text("old", encoding="utf-8")
    write_together(tmp_path, "model.onnx", "other")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "model.weights": "old",
        "model.onnx": "new",
    }
    write_together(tmp_path, "model.weights", "model.onnx")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "model.weights": "new",
        "model.onnx": "new",
    }


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_all_old_files_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    """None of them is replaced, nor is the temporary folder left."""
    (tmp_path / "model.onnx").write_text("old", encoding="utf-8")
    with pytest.raises(error):
        write_together(tmp_path, "model.weights", "model.onnx", error=error)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    """Files and folders, from a minimum age on if one is given."""
    names = (".a.1.partial", ".b.2.partial")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.weights").touch()
        (tmp_path / f"{name}.partial").touch()
    for each in tmp_path.glob(".a*"):
        os.utime(each, (0, 0))
    sweep_partials(tmp_path, older_than_s=3600)
    assert {each.name[:2] for each in tmp_path.iterdir()} == {".b"}
    assert len(list(tmp_path.iterdir())) == 2
    sweep_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """On the first run the home is empty."""
    write_json(tmp_path / "home" / "models" / "card.json", {"a": 1})
    assert json.loads((tmp_path / "home" / "models" / "card.json").read_text(encoding="utf-8")) == {"a": 1}


def test_the_temporary_file_is_hidden_and_beside_its_target(tmp_path: Path) -> None:
    """It is on the same disk, as renaming needs, and no listing of models includes it."""
    with atomic_path(tmp_path / "model.onnx") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".model.onnx.")


def test_concurrent_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """Two processes may export the same model at once; the last one to end wins."""
    target = tmp_path / "model.onnx"
    with atomic_path(target) as one:
        one.write_text("one", encoding="utf-8")
        with atomic_path(target) as other:
            other.write_text("other", encoding="utf-8")
        assert target.read_text(encoding="utf-8") == "other"
    assert target.read_text(encoding="utf-8") == "one"
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Returns the paths that `os.fsync` is called for, in order."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("a descriptor's name is asked of /proc")
    paths: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda number: paths.append(Path(f"/proc/self/fd/{number}").readlink()))
    return paths


def test_content_is_synced_before_its_name_and_the_name_before_returning(
    tmp_path: Path, synced: list[Path]
) -> None:
    """After a power cut either the old or the new file exists, complete."""
    write_json(tmp_path / "card.json", {})
    written, folder = synced
    assert written.name.startswith(".card.json.")
    assert folder == tmp_path


def test_a_tree_is_synced_from_its_leaves_up(tmp_path: Path, synced: list[Path]) -> None:
    """Every file and folder is synced once, the content of a folder before the folder."""
    for name in ("a/1", "a/b/2", "3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sync_tree(tmp_path)
    there = [tmp_path, *tmp_path.rglob("*")]
    assert sorted(synced) == sorted(there)
    assert all(synced.index(path) < synced.index(path.parent) for path in there if path != tmp_path)


@pytest.mark.parametrize(
    ("number", "is_raised"), [(errno.EINVAL, False), (errno.ENOSPC, True), (errno.EIO, True)]
)
def test_only_unsupported_folder_syncs_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_raised: bool
) -> None:
    """A full or failing disk is an error."""

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)) if is_raised else nullcontext():
        sync_folder(tmp_path)


def test_remove_deletes_files_links_and_folders(tmp_path: Path) -> None:
    """Files, folders with content, links but not their targets, and missing paths are tested."""
    for name in ("folder/deep/file", "kept/file"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "link", "missing"):
        remove(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    """Models in a shared folder must be readable by others."""
    plain = tmp_path / "plain"
    plain.touch()
    write_json(tmp_path / "card.json", {})
    assert stat.S_IMODE((tmp_path / "card.json").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_json_is_the_same_for_the_same_data(tmp_path: Path) -> None:
    """Keys are sorted and lines indented, for people to read and compare."""
    write_json(tmp_path / "a.json", {"b": "ü", "a": 1})
    write_json(tmp_path / "b.json", {"a": 1, "b": "ü"})
    text = (tmp_path / "a.json").read_bytes()
    assert text == (tmp_path / "b.json").read_bytes()
    assert json.loads(text) == {"a": 1, "b": "ü"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "\ud800"])
def test_invalid_json_raises_value_error(text: str) -> None:
    """Too deep nesting raises it too, so that callers handle one exception."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_path_argument_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths and `~` are expanded, whether or not the path exists."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    assert parse_path("a/b.h5", "--weights") == tmp_path / "a" / "b.h5"
    assert parse_path("~/b.h5", "--weights") == tmp_path / "user" / "b.h5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "~nobody-of-this-name/x",
            "--weights: ~nobody-of-this-name/x is in the home folder of an unknown user",
        ),
        ("x" * 5_000, "--weights: x{200}\\.\\.\\. is longer than file names may be; shorten it"),
        ("/".join(["x"] * 5_000), "is longer than file names may be; shorten it"),
    ],
    ids=["nobody", "long-name", "long-path"],
)
def test_an_impossible_path_is_a_usage_error(text: str, said: str) -> None:
    """The message names the option, and shortens a long name."""
    with pytest.raises(UsageError, match=said):
        parse_path(text, "--weights")
