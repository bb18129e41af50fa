"""Datasets that have to do with each other: renamed folders, and folders in folders."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

PATHS = ("1.png", "cat/1.png", "cat/2.png")


@pytest.fixture
def renamed(shell: Any, draw: Any) -> Path:
    """A folder that was ingested as `my photos` and is called `album` now."""
    draw(shell.folder / "my photos", *PATHS)
    assert shell.ingest("my photos").code == 0
    return Path((shell.folder / "my photos").rename(shell.folder / "album"))


def datasets(shell: Any) -> dict[str, int]:
    """How many points each has."""
    (status,) = shell("ingest", "status", "--json").json
    found: dict[str, int] = status["collections"][0]["datasets"]
    return found


def advice(said: str, command: str) -> list[str]:
    """The words of a command as a message gives it, at its line's end."""
    match = re.search(rf"{command} .*$", said, re.MULTILINE)
    assert match, said
    return shlex.split(match.group(0))


def test_a_renamed_folder_is_told_of_and_the_command_that_is_said_ends_it(shell: Any, renamed: Path) -> None:
    """Its images take their vectors from the old name's points, which are dead from then on."""
    for added, unchanged in ((3, 0), (0, 3)):
        done = shell.ingest("album", "--json")
        (report,) = done.json
        (collection,) = report["collections"]
        assert (collection["added"], collection["unchanged"]) == (added, unchanged)
        old = str(shell.folder / "my photos")
        assert f"dataset my photos ({old}) is gone, and all 3 images of it are in album" in done.err
        assert report["gone_datasets"] == [{"dataset": "my photos", "root": old, "points": 3, "shared": 3}]
    assert shell(*advice(done.err, "ingest remove"), "--yes").code == 0
    assert datasets(shell) == {"album": 3}
    assert "is gone" not in shell.ingest("album").err
    assert renamed.is_dir()


@pytest.mark.usefixtures("renamed")
def test_a_dry_run_says_how_to_keep_the_name(shell: Any) -> None:
    """Nothing is stored under the new one yet."""
    done = shell.ingest("album", "--dry-run")
    words = ["album" if word == "DIR" else word for word in advice(done.err, "ingest run")]
    assert shell(*words, *shell.model).code == 0
    assert datasets(shell) == {"my photos": 3}


def test_a_folder_that_is_gone_and_shares_nothing_is_not_spoken_of(shell: Any, draw: Any) -> None:
    """Its disk may not be mounted."""
    draw(shell.folder / "one", "1.png")
    draw(shell.folder / "two", "2.png", "3.png")
    shell.ingest("one")
    (shell.folder / "one").rename(shell.folder / "away")
    assert "is gone" not in shell.ingest("two").err


@pytest.mark.usefixtures("renamed")
def test_duplicates_say_what_to_do_about_a_folder_that_is_gone(shell: Any) -> None:
    """The command that is said leaves none."""
    shell.ingest("album")
    done = shell("search", "duplicates")
    assert "--prune" not in done.err
    assert shell(*advice(done.err, "ingest remove"), "--yes").code == 0
    assert shell("search", "duplicates", "--json").json == []


def test_duplicates_say_what_to_do_about_files_that_are_gone(shell: Any, draw: Any) -> None:
    """With the folder's own path, and the name that it was given."""
    (first, second) = draw(shell.folder / "my photos", "1.png", "2.png")
    second.write_bytes(first.read_bytes())
    shell.ingest("my photos", "--dataset", "pets")
    second.unlink()
    done = shell("search", "duplicates")
    command = advice(done.err.replace(", and the options that it was made with", ""), "ingest run")
    assert shell(*command, *shell.model).code == 0
    assert datasets(shell) == {"pets": 1}


@pytest.mark.parametrize("order", [("all", "all/cat"), ("all/cat", "all"), ("all", "link"), ("link", "all")])
def test_a_folder_in_the_folder_of_another_dataset_is_warned_of(
    shell: Any, draw: Any, order: tuple[str, str]
) -> None:
    """In either order, behind links too; the inner one is what may go."""
    draw(shell.folder / "all", *PATHS)
    (shell.folder / "link").symlink_to(shell.folder / "all/cat")
    first, second = (shell.ingest(folder, "--dataset", Path(folder).name, "--json") for folder in order)
    inner = Path(next(folder for folder in order if folder != "all")).name
    assert "lies in dataset" not in first.err
    assert f"dataset {inner} ({shell.folder}/all/cat) lies in dataset all ({shell.folder}/all)" in second.err
    assert [each["dataset"] for each in second.json[0]["overlapping_datasets"]] == [Path(order[0]).name]
    assert shell(*advice(second.err, "ingest remove"), "--yes").code == 0
    assert datasets(shell) == {"all": 3}


def test_one_folder_under_two_names_is_warned_of(shell: Any, draw: Any) -> None:
    """As the same images twice."""
    draw(shell.folder / "all", *PATHS)
    shell.ingest("all")
    assert "lies in dataset" in shell.ingest("all", "--dataset", "again").err
    draw(shell.folder / "all2", "1.png")
    assert "lies in dataset" not in shell.ingest("all2").err
