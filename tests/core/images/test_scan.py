"""Scanning of a folder: what counts as an image, in which order, and what is excluded."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lookalike_core.errors import SkipReason, UsageError
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.images.scan import (
    FoundFile,
    OtherFiles,
    Skipped,
    count_images,
    has_images,
    look_up,
    scan,
)


def make(root: Path, *paths: str) -> None:
    """Creates files of a byte or two, which a scan does not read."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def found(root: Path, rules: FolderRules = DEFAULT_RULES) -> list[str]:
    """Returns the paths of the images, after checking that nothing was skipped."""
    entries = list(scan(root, rules=rules))
    assert [entry for entry in entries if isinstance(entry, Skipped)] == []
    return [entry.path for entry in entries]


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """Makes a folder inaccessible for the length of a block."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("whoever runs this may look into every folder")
    make(tmp_path, "closed/1.jpg")
    folder = tmp_path / "closed"
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def deep_folder(tmp_path: Path) -> Iterator[Path]:
    """Creates an image beside 3,000 nested folders, with an image in the 1,100th and the last.

    The path of the last is longer than the system supports.
    """
    root = tmp_path / "deep"
    make(root, "a.jpg", "z.jpg")
    here = os.open(root, os.O_RDONLY)
    for level in range(1, 3001):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
        if level in {1_100, 3_000}:
            os.close(os.open("b.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    yield root
    while (root / "d").exists():  # from above, since what removes trees follows them by recursion
        (root / "d" / "b.jpg").unlink(missing_ok=True)
        if (root / "d" / "d").exists():
            (root / "d" / "d").rename(root / "next")
        (root / "d").rmdir()
        if (root / "next").exists():
            (root / "next").rename(root / "d")


def test_images_are_found_in_the_order_of_their_names_depth_first(tmp_path: Path) -> None:
    """The order is the same on every machine."""
    make(tmp_path, "b/2.jpg", "b/10.jpg", "b/1.jpg", "a.jpg", "c.jpg", "a/x/1.jpg", "a/y.jpg", "B/1.jpg")
    expected = ["B/1.jpg", "a/x/1.jpg", "a/y.jpg", "a.jpg", "b/1.jpg", "b/10.jpg", "b/2.jpg", "c.jpg"]
    if (tmp_path / "b").samefile(tmp_path / "B"):
        pytest.skip("this file system takes b and B for the same name")
    assert found(tmp_path) == expected


def test_a_file_is_described_by_size_time_and_place(tmp_path: Path) -> None:
    """These identify a known file without reading it."""
    make(tmp_path, "cat/wild/1.jpg")
    status = (tmp_path / "cat/wild/1.jpg").stat()
    expected = FoundFile(
        path="cat/wild/1.jpg",
        root=tmp_path,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
    assert list(scan(tmp_path)) == [expected]


def test_the_class_is_the_first_folder(tmp_path: Path) -> None:
    """As in ImageFolder; files directly in the root have no class."""
    make(tmp_path, "cat/wild/1.jpg", "dog/2.jpg", "3.jpg")
    assert {entry.path: entry.folder_class for entry in scan(tmp_path)} == {
        "cat/wild/1.jpg": "cat",
        "dog/2.jpg": "dog",
        "3.jpg": None,
    }


@pytest.mark.parametrize(
    ("level", "classes"),
    [
        (1, ["train", "train", None]),
        (2, ["cat", None, None]),
        (3, ["wild", None, None]),
        (4, [None, None, None]),
        (-1, ["wild", "train", None]),
        (-2, ["cat", None, None]),
        (-4, [None, None, None]),
    ],
)
def test_the_class_level_selects_a_deeper_folder(
    tmp_path: Path, level: int, classes: list[str | None]
) -> None:
    """The level is counted from the root or from the image; without such a folder there is no class."""
    make(tmp_path, "train/cat/wild/1.jpg", "train/2.jpg", "x.jpg")
    rules = FolderRules(class_level=level)
    entries = [entry for entry in scan(tmp_path, rules=rules) if isinstance(entry, FoundFile)]
    assert [entry.path for entry in entries] == ["train/2.jpg", "train/cat/wild/1.jpg", "x.jpg"]
    assert [entries[place].folder_class for place in (1, 0, 2)] == classes


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_suffixes_match_in_any_case(tmp_path: Path, suffix: str) -> None:
    """Cameras write IMG_0001.JPG."""
    make(
        tmp_path, f"1{suffix}", f"2{suffix.upper()}", f"3{suffix.title()}", f"4{suffix}.txt", f"5{suffix[1:]}"
    )
    assert found(tmp_path) == [f"1{suffix}", f"2{suffix.upper()}", f"3{suffix.title()}"]


def test_files_without_an_image_suffix_are_ignored(tmp_path: Path) -> None:
    """A folder of images may contain notes and databases."""
    make(tmp_path, "notes.txt", "Thumbs.db", "jpg", "photo.raw", "archive.zip", "1.jpg")
    assert found(tmp_path) == ["1.jpg"]


def test_files_of_other_kinds_are_counted_by_suffix(tmp_path: Path) -> None:
    """Hidden files, and entries that are no files, are not counted."""
    make(tmp_path, "1.jpg", "a.MOV", "a/b.mov", "a/c.cr2", "a/Mr. Smith on holiday", "README", "x.", ".x.mov")
    make(tmp_path, ".git/config", "a/.thumbs/1.txt", "name.with.dots.tar.gz", "long." + "x" * 30)
    (tmp_path / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "linked.mov").symlink_to("a.MOV")
    others = OtherFiles()
    assert [entry.path for entry in scan(tmp_path, others)] == ["1.jpg"]
    assert others.by_suffix == {".mov": 3, ".cr2": 1, ".gz": 1, "": 4}
    assert str(others) == "9 other files: 4 without a suffix, 3 .mov, 1 .cr2, 1 .gz"


def test_the_number_of_suffixes_counted_apart_is_limited(tmp_path: Path) -> None:
    """Programs may number their files in the suffix; the total stays correct."""
    make(tmp_path, *(f"a.{number:03}" for number in range(15)), "b.003")
    others = OtherFiles(max_suffixes=12)
    assert list(scan(tmp_path, others)) == []
    assert (others.total, len(others.by_suffix)) == (16, 12)
    assert str(others).endswith("of other kinds")
    assert sum(map(int, re.findall(r"(\d+) (?:\.|of)", str(others)))) == 16


def test_one_other_file_is_counted_in_the_singular(tmp_path: Path) -> None:
    """The sentence uses the singular."""
    make(tmp_path, "a.mov")
    others = OtherFiles()
    assert [*scan(tmp_path, others), str(others)] == ["1 other file: 1 .mov"]


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    """Examples are thumbnails, the trash, and macOS' resource forks."""
    make(tmp_path, ".hidden.jpg", ".thumbnails/1.jpg", "a/.trash/2.jpg", "a/._1.jpg", ".jpg", "a/1.jpg")
    assert found(tmp_path) == ["a/1.jpg"]


def test_images_are_counted_by_their_names(tmp_path: Path) -> None:
    """The count for the bar omits hidden and other files, and follows no loop of links."""
    make(tmp_path, "1.jpg", "a/2.PNG", "a/b/3.gif", "a/.4.jpg", ".c/5.jpg", "a/notes.txt")
    (tmp_path / "a" / "again.jpg").symlink_to(tmp_path, target_is_directory=True)
    assert count_images(tmp_path) == 4  # the link, too: what it leads to is not looked at
    assert count_images(tmp_path / "gone") == 0


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    """Folders without files give none either."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert found(tmp_path) == []


def test_a_folder_is_scanned_lazily(tmp_path: Path) -> None:
    """The first file is yielded before the others are listed."""
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    entries = scan(tmp_path)
    assert next(entries).path == "a/1.jpg"
    (tmp_path / "b/2.jpg").unlink()
    assert list(entries) == []


def test_a_tree_may_have_any_depth(deep_folder: Path) -> None:
    """A folder whose path is too long is skipped, and the scan continues after it."""
    first, inside, unreadable, last = scan(deep_folder)
    assert (first.path, last.path) == ("a.jpg", "z.jpg")
    assert inside.path == "d/" * 1_100 + "b.jpg"
    assert isinstance(unreadable, Skipped)
    assert (unreadable.reason, unreadable.is_folder) == (SkipReason.UNREADABLE, True)
    assert unreadable.path.startswith("d/" * 100)
    assert count_images(deep_folder) == 3


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """Size and time are those of the linked image."""
    make(tmp_path, "elsewhere/long-name.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").symlink_to(tmp_path / "elsewhere/long-name.jpg")
    [entry] = scan(tmp_path / "data")
    assert isinstance(entry, FoundFile)
    assert entry.bytes == len(b"elsewhere/long-name.jpg")


def test_links_to_folders_are_not_walked(tmp_path: Path) -> None:
    """So no loop of links is followed, and nothing is found twice."""
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert found(tmp_path) == ["a/1.jpg"]


def test_links_to_folders_that_are_not_walked_are_counted(tmp_path: Path) -> None:
    """Dangling links, loops, and hidden links are not counted."""
    make(tmp_path, "a/1.jpg")
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / ".hidden").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "round").symlink_to("round")
    others = OtherFiles()
    assert len(list(scan(tmp_path, others))) == 1
    assert (others.linked_folders, others.total) == (2, 0)


FOLLOWED = FolderRules(follow_links=True)


def test_links_to_folders_are_followed_on_request(tmp_path: Path) -> None:
    """They are walked after the folder itself, nested links included, in order."""
    make(tmp_path, "elsewhere/deep/1.jpg", "further/2.jpg", "data/z/3.jpg", "suffix/4.jpg")
    (tmp_path / "elsewhere" / "more").symlink_to(tmp_path / "further", target_is_directory=True)
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data" / "b.jpg").symlink_to(tmp_path / "suffix", target_is_directory=True)
    others = OtherFiles()
    entries = scan(tmp_path / "data", others, rules=FOLLOWED)
    assert [entry.path for entry in entries] == ["z/3.jpg", "a/deep/1.jpg", "b.jpg/4.jpg", "a/more/2.jpg"]
    assert others.linked_folders == 0
    assert count_images(tmp_path / "data", rules=FOLLOWED) == 4


def test_no_loop_of_links_is_followed_and_no_file_found_twice(tmp_path: Path) -> None:
    """Files below the root keep their own paths, whichever links lead to them."""
    make(tmp_path, "data/m/1.jpg", "beside/2.jpg")
    for name, target in [("a", "data/m"), ("up", "data"), ("above", "."), ("n", "beside"), ("o", "beside")]:
        (tmp_path / "data" / name).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "beside" / "back").symlink_to(tmp_path / "data" / "n", target_is_directory=True)
    assert found(tmp_path / "data", FOLLOWED) == ["m/1.jpg", "above/beside/2.jpg"]
    assert count_images(tmp_path / "data", rules=FOLLOWED) == 2


def test_an_excluded_folder_stays_excluded_behind_links(tmp_path: Path) -> None:
    """A folder below the root is tested by its own path, any other by the link's."""
    make(tmp_path, "data/keep/1.jpg", "data/rej/sub/2.jpg", "data/.hid/3.jpg", "rej/4.jpg", "elsewhere/5.jpg")
    for link, folder in [
        ("data/keep/torej", "data/rej"),
        ("data/keep/tosub", "data/rej/sub"),
        ("data/keep/tohid", "data/.hid"),
        ("data/other", "rej"),
        ("data/out", "elsewhere"),
        ("elsewhere/back", "data/rej"),
    ]:
        (tmp_path / link).symlink_to(tmp_path / folder, target_is_directory=True)
    (tmp_path / "link").symlink_to("data")
    rules = FolderRules(follow_links=True, exclude=("rej",))
    for root in (tmp_path / "data", tmp_path / "link"):
        assert found(root, rules) == ["keep/1.jpg", "other/4.jpg", "out/5.jpg"]
        assert count_images(root, rules=rules) == 3
    rules = FolderRules(follow_links=True, exclude=("/rej/", "!.hid"))
    assert found(tmp_path / "data", rules) == [".hid/3.jpg", "keep/1.jpg", "other/4.jpg", "out/5.jpg"]


def test_circular_links_are_no_folders(tmp_path: Path) -> None:
    """The system refuses to follow them; files beside them are found."""
    make(tmp_path, "1.jpg")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert found(tmp_path, FOLLOWED) == ["1.jpg"]


def test_system_files_are_excluded_and_counted(tmp_path: Path) -> None:
    """Examples are thumbnails of a NAS, bins, and resource forks; all can be included on request."""
    make(tmp_path, "a/1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/2.jpg", "$RECYCLE.BIN/3.jpg")
    make(tmp_path, "__MACOSX/a/4.jpg", "x/Previews.lrdata/5.jpg", "Thumbs.db", ".Trash-1000/6.jpg")
    others = OtherFiles()
    assert [entry.path for entry in scan(tmp_path, others)] == ["a/1.jpg"]
    assert (others.excluded_folders, others.excluded_images, others.total) == (5, 0, 0)
    assert count_images(tmp_path) == 1
    assert len(found(tmp_path, FolderRules(default_excludes=False))) == 7


def test_patterns_exclude_files_and_folders(tmp_path: Path) -> None:
    """The content of an excluded folder is not counted; links are tested by their names."""
    make(tmp_path, "good/1.jpg", "good/1_thumb.jpg", "rejected/2.jpg", "rejected/3.jpg", "good/notes.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "good", target_is_directory=True)
    rules = FolderRules(exclude=("rejected", "*_thumb.*", "*.txt", "linked"))
    others = OtherFiles()
    assert [entry.path for entry in scan(tmp_path, others, rules=rules)] == ["good/1.jpg"]
    assert (others.excluded_folders, others.excluded_images) == (2, 1)
    assert (others.linked_folders, others.total) == (0, 0)
    assert count_images(tmp_path, rules=rules) == 1


def test_a_pattern_can_include_hidden_files(tmp_path: Path) -> None:
    """Patterns apply after the default excludes."""
    make(tmp_path, ".photos/1.jpg", ".photos/._1.jpg", ".git/2.jpg", "3.jpg")
    assert found(tmp_path, FolderRules(exclude=("!.photos",))) == [".photos/1.jpg", "3.jpg"]


def test_has_images_ignores_exclusions(tmp_path: Path) -> None:
    """A single name decides, before any work."""
    make(tmp_path, "notes.txt", "a/b/c.txt")
    assert not has_images(tmp_path)
    assert has_images(tmp_path / "gone")
    make(tmp_path, "a/.b/@eaDir/1.jpg")
    assert has_images(tmp_path)


def test_a_class_level_of_0_is_refused() -> None:
    """Level 0 counts neither from the root nor from the image."""
    with pytest.raises(UsageError, match="0 is no folder"):
        FolderRules(class_level=0)


def test_a_dangling_link_is_skipped_as_vanished(tmp_path: Path) -> None:
    """It is listed but cannot be read, nor can a loop of links."""
    (tmp_path / "1.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "2.jpg").symlink_to(tmp_path / "2.jpg")
    assert list(scan(tmp_path)) == [
        Skipped(path="1.jpg", reason=SkipReason.VANISHED),
        Skipped(path="2.jpg", reason=SkipReason.UNREADABLE),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Reading a FIFO would block for ever."""
    os.mkfifo(tmp_path / "1.jpg")
    assert list(scan(tmp_path)) == [Skipped(path="1.jpg", reason=SkipReason.UNREADABLE)]


def test_an_unreadable_folder_is_reported_as_a_folder(tmp_path: Path, closed_folder: Path) -> None:
    """The scan continues, and the folder's images are not reported as vanished."""
    make(tmp_path, "open/1.jpg")
    closed, opened = scan(tmp_path)
    assert closed == Skipped(path=closed_folder.name, reason=SkipReason.UNREADABLE, is_folder=True)
    assert opened.path == "open/1.jpg"


def test_an_unreadable_root_is_reported_as_a_folder(closed_folder: Path) -> None:
    """It is named as a dot."""
    assert list(scan(closed_folder)) == [Skipped(path=".", reason=SkipReason.UNREADABLE, is_folder=True)]


def test_a_name_that_is_not_unicode_is_reported_and_skipped(tmp_path: Path) -> None:
    """A store needs valid text; such names come from archives of other systems."""
    make(tmp_path, "fine.jpg", "ümlaut/日本.jpg")
    try:
        with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):  # noqa: PTH123 - pathlib takes no bytes
            pass
        os.mkdir(os.fsencode(tmp_path) + b"/na\xefve")  # noqa: PTH102
        with open(os.fsencode(tmp_path) + b"/na\xefve/1.jpg", "wb"):  # noqa: PTH123
            pass
    except OSError:
        pytest.skip("this file system keeps no such name")
    assert [(entry.path, getattr(entry, "reason", None)) for entry in scan(tmp_path)] == [
        ("caf\ufffd.jpg", SkipReason.BAD_NAME),
        ("fine.jpg", None),
        ("na\ufffdve/1.jpg", SkipReason.BAD_NAME),
        ("ümlaut/日本.jpg", None),
    ]


def test_look_up_keeps_the_order_of_paths(tmp_path: Path) -> None:
    """Exclusions do not apply, links are followed, and missing paths are skipped."""
    (tmp_path / "album/.hidden").mkdir(parents=True)
    for path in ("album/2.jpg", "album/.hidden/1.jpg", "album/3.png"):
        (tmp_path / path).touch()
    (tmp_path / "link").symlink_to("album")
    (tmp_path / "nowhere.jpg").symlink_to("gone.jpg")
    missing = ["gone.jpg", "album/2.jpg/4.jpg"]
    paths = ["link/3.png", "album/.hidden/1.jpg", *missing, "album/2.jpg", "nowhere.jpg"]
    *found, skipped = look_up(tmp_path, paths, rules=FolderRules(class_level=-1))
    assert [entry.path for entry in found] == ["link/3.png", "album/.hidden/1.jpg", "album/2.jpg"]
    classes = [entry.folder_class for entry in found if isinstance(entry, FoundFile)]
    assert classes == ["link", ".hidden", "album"]
    assert skipped == Skipped(path="nowhere.jpg", reason=SkipReason.VANISHED)
