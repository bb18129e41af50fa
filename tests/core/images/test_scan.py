"""The walk over a folder: what counts as an image, in which order, and what is left out."""

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
    """Files with a byte or two; whether they are images is not the walk's affair."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def found(root: Path, rules: FolderRules = DEFAULT_RULES) -> list[str]:
    """The paths of the images, where nothing is left out."""
    entries = list(scan(root, rules=rules))
    assert [entry for entry in entries if isinstance(entry, Skipped)] == []
    return [entry.path for entry in entries]


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be looked into, and can again afterwards."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("whoever runs this may look into every folder")
    make(tmp_path, "closed/1.jpg")
    folder = tmp_path / "closed"
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def deep_folder(tmp_path: Path) -> Iterator[Path]:
    """An image, and beside it 3,000 folders one in the other with an image in the 1,100th and the last.

    The path of the last is longer than systems take.
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
    """One order on every machine, so that two runs meet the files in the same one."""
    make(tmp_path, "b/2.jpg", "b/10.jpg", "b/1.jpg", "a.jpg", "c.jpg", "a/x/1.jpg", "a/y.jpg", "B/1.jpg")
    expected = ["B/1.jpg", "a/x/1.jpg", "a/y.jpg", "a.jpg", "b/1.jpg", "b/10.jpg", "b/2.jpg", "c.jpg"]
    if (tmp_path / "b").samefile(tmp_path / "B"):
        pytest.skip("this file system takes b and B for the same name")
    assert found(tmp_path) == expected


def test_a_file_is_described_by_size_time_and_place(tmp_path: Path) -> None:
    """All that is needed to know it again without reading it."""
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
    """As ImageFolder has it; what lies directly in the root has none."""
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
def test_the_class_may_be_a_deeper_folder(tmp_path: Path, level: int, classes: list[str | None]) -> None:
    """Counted from the root, or from the image; where there is no such folder there is no class."""
    make(tmp_path, "train/cat/wild/1.jpg", "train/2.jpg", "x.jpg")
    rules = FolderRules(class_level=level)
    entries = [entry for entry in scan(tmp_path, rules=rules) if isinstance(entry, FoundFile)]
    assert [entry.path for entry in entries] == ["train/2.jpg", "train/cat/wild/1.jpg", "x.jpg"]
    assert [entries[place].folder_class for place in (1, 0, 2)] == classes


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_suffixes_count_in_any_case(tmp_path: Path, suffix: str) -> None:
    """Cameras write IMG_0001.JPG."""
    make(
        tmp_path, f"1{suffix}", f"2{suffix.upper()}", f"3{suffix.title()}", f"4{suffix}.txt", f"5{suffix[1:]}"
    )
    assert found(tmp_path) == [f"1{suffix}", f"2{suffix.upper()}", f"3{suffix.title()}"]


def test_files_without_an_image_suffix_are_ignored(tmp_path: Path) -> None:
    """Without a word: a folder of images holds notes and databases, too."""
    make(tmp_path, "notes.txt", "Thumbs.db", "jpg", "photo.raw", "archive.zip", "1.jpg")
    assert found(tmp_path) == ["1.jpg"]


def test_files_of_other_kinds_are_counted_by_suffix(tmp_path: Path) -> None:
    """People want to know what was left; what is hidden, and what is no file, stays uncounted."""
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
    """Some programs number their files behind the dot; the total stays right."""
    make(tmp_path, *(f"a.{number:03}" for number in range(15)), "b.003")
    others = OtherFiles(max_suffixes=12)
    assert list(scan(tmp_path, others)) == []
    assert (others.total, len(others.by_suffix)) == (16, 12)
    assert str(others).endswith("of other kinds")
    assert sum(map(int, re.findall(r"(\d+) (?:\.|of)", str(others)))) == 16


def test_one_other_file_is_counted_in_the_singular(tmp_path: Path) -> None:
    """In a sentence, too."""
    make(tmp_path, "a.mov")
    others = OtherFiles()
    assert [*scan(tmp_path, others), str(others)] == ["1 other file: 1 .mov"]


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    """Thumbnails, the trash, the second halves of files that macOS writes."""
    make(tmp_path, ".hidden.jpg", ".thumbnails/1.jpg", "a/.trash/2.jpg", "a/._1.jpg", ".jpg", "a/1.jpg")
    assert found(tmp_path) == ["a/1.jpg"]


def test_images_are_counted_by_their_names(tmp_path: Path) -> None:
    """For the bar: what is hidden or no image is left out, and no loop of links is walked."""
    make(tmp_path, "1.jpg", "a/2.PNG", "a/b/3.gif", "a/.4.jpg", ".c/5.jpg", "a/notes.txt")
    (tmp_path / "a" / "again.jpg").symlink_to(tmp_path, target_is_directory=True)
    assert count_images(tmp_path) == 4  # the link, too: what it leads to is not looked at
    assert count_images(tmp_path / "gone") == 0


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    """Nor do folders of nothing but folders."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert found(tmp_path) == []


def test_files_are_looked_at_one_by_one_as_the_walk_goes(tmp_path: Path) -> None:
    """A million files need not be listed before the first is read."""
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    entries = scan(tmp_path)
    assert next(entries).path == "a/1.jpg"
    (tmp_path / "b/2.jpg").unlink()
    assert list(entries) == []


def test_a_tree_may_have_any_depth(deep_folder: Path) -> None:
    """What the system cannot name is left out as a folder, and what comes after it is found."""
    first, inside, unreadable, last = scan(deep_folder)
    assert (first.path, last.path) == ("a.jpg", "z.jpg")
    assert inside.path == "d/" * 1_100 + "b.jpg"
    assert isinstance(unreadable, Skipped)
    assert (unreadable.reason, unreadable.is_folder) == (SkipReason.UNREADABLE, True)
    assert unreadable.path.startswith("d/" * 100)
    assert count_images(deep_folder) == 3


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """Data sets are put together of links; size and time are those of the image."""
    make(tmp_path, "elsewhere/long-name.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").symlink_to(tmp_path / "elsewhere/long-name.jpg")
    [entry] = scan(tmp_path / "data")
    assert isinstance(entry, FoundFile)
    assert entry.bytes == len(b"elsewhere/long-name.jpg")


def test_links_to_folders_are_not_walked(tmp_path: Path) -> None:
    """No loop of links can be walked, and nothing is found twice."""
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert found(tmp_path) == ["a/1.jpg"]


def test_links_to_folders_that_are_not_walked_are_counted(tmp_path: Path) -> None:
    """Links that lead nowhere or round, and hidden ones, are not."""
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


def test_links_to_folders_are_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    """Behind all that lies in the folder itself; links in what was linked, too, and in their order."""
    make(tmp_path, "elsewhere/deep/1.jpg", "further/2.jpg", "data/z/3.jpg", "suffix/4.jpg")
    (tmp_path / "elsewhere" / "more").symlink_to(tmp_path / "further", target_is_directory=True)
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data" / "b.jpg").symlink_to(tmp_path / "suffix", target_is_directory=True)
    others = OtherFiles()
    entries = scan(tmp_path / "data", others, rules=FOLLOWED)
    assert [entry.path for entry in entries] == ["z/3.jpg", "a/deep/1.jpg", "b.jpg/4.jpg", "a/more/2.jpg"]
    assert others.linked_folders == 0
    assert count_images(tmp_path / "data", rules=FOLLOWED) == 4


def test_no_loop_of_links_is_walked_and_no_file_found_twice(tmp_path: Path) -> None:
    """The root, what is above it and what is in it stay what they are; the path of a file is its own."""
    make(tmp_path, "data/m/1.jpg", "beside/2.jpg")
    for name, target in [("a", "data/m"), ("up", "data"), ("above", "."), ("n", "beside"), ("o", "beside")]:
        (tmp_path / "data" / name).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "beside" / "back").symlink_to(tmp_path / "data" / "n", target_is_directory=True)
    assert found(tmp_path / "data", FOLLOWED) == ["m/1.jpg", "above/beside/2.jpg"]
    assert count_images(tmp_path / "data", rules=FOLLOWED) == 2


def test_what_is_excluded_stays_out_whatever_link_leads_there(tmp_path: Path) -> None:
    """A folder below the root is asked about by its own path, one elsewhere by that of the link."""
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


def test_links_in_a_circle_are_no_folders(tmp_path: Path) -> None:
    """The system refuses to follow them; what lies beside them is found."""
    make(tmp_path, "1.jpg")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert found(tmp_path, FOLLOWED) == ["1.jpg"]


def test_what_systems_make_is_left_out_and_counted(tmp_path: Path) -> None:
    """Thumbnails of a NAS, bins, resource forks; with a word to the contrary it is taken."""
    make(tmp_path, "a/1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/2.jpg", "$RECYCLE.BIN/3.jpg")
    make(tmp_path, "__MACOSX/a/4.jpg", "x/Previews.lrdata/5.jpg", "Thumbs.db", ".Trash-1000/6.jpg")
    others = OtherFiles()
    assert [entry.path for entry in scan(tmp_path, others)] == ["a/1.jpg"]
    assert (others.excluded_folders, others.excluded_images, others.total) == (5, 0, 0)
    assert count_images(tmp_path) == 1
    assert len(found(tmp_path, FolderRules(default_excludes=False))) == 7


def test_patterns_leave_out_files_and_folders(tmp_path: Path) -> None:
    """What is in a folder that is left out is not counted one by one; links are asked by their names."""
    make(tmp_path, "good/1.jpg", "good/1_thumb.jpg", "rejected/2.jpg", "rejected/3.jpg", "good/notes.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "good", target_is_directory=True)
    rules = FolderRules(exclude=("rejected", "*_thumb.*", "*.txt", "linked"))
    others = OtherFiles()
    assert [entry.path for entry in scan(tmp_path, others, rules=rules)] == ["good/1.jpg"]
    assert (others.excluded_folders, others.excluded_images) == (2, 1)
    assert (others.linked_folders, others.total) == (0, 0)
    assert count_images(tmp_path, rules=rules) == 1


def test_a_pattern_takes_back_what_is_hidden(tmp_path: Path) -> None:
    """Patterns come after the default excludes."""
    make(tmp_path, ".photos/1.jpg", ".photos/._1.jpg", ".git/2.jpg", "3.jpg")
    assert found(tmp_path, FolderRules(exclude=("!.photos",))) == [".photos/1.jpg", "3.jpg"]


def test_a_folder_has_images_or_not_whatever_is_left_out(tmp_path: Path) -> None:
    """Told by one name, before anything is done."""
    make(tmp_path, "notes.txt", "a/b/c.txt")
    assert not has_images(tmp_path)
    assert has_images(tmp_path / "gone")
    make(tmp_path, "a/.b/@eaDir/1.jpg")
    assert has_images(tmp_path)


def test_a_class_level_of_no_folder_is_refused() -> None:
    """Neither from the root nor from the image."""
    with pytest.raises(UsageError, match="0 is no folder"):
        FolderRules(class_level=0)


def test_a_link_that_leads_nowhere_has_vanished(tmp_path: Path) -> None:
    """It is listed and cannot be read; a loop of links cannot either."""
    (tmp_path / "1.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "2.jpg").symlink_to(tmp_path / "2.jpg")
    assert list(scan(tmp_path)) == [
        Skipped(path="1.jpg", reason=SkipReason.VANISHED),
        Skipped(path="2.jpg", reason=SkipReason.UNREADABLE),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    """Reading a FIFO would wait for ever."""
    os.mkfifo(tmp_path / "1.jpg")
    assert list(scan(tmp_path)) == [Skipped(path="1.jpg", reason=SkipReason.UNREADABLE)]


def test_a_folder_that_cannot_be_read_is_said_to_be_one(tmp_path: Path, closed_folder: Path) -> None:
    """The walk goes on beside it; what lies in it has not vanished."""
    make(tmp_path, "open/1.jpg")
    closed, opened = scan(tmp_path)
    assert closed == Skipped(path=closed_folder.name, reason=SkipReason.UNREADABLE, is_folder=True)
    assert opened.path == "open/1.jpg"


def test_a_root_that_cannot_be_read_is_a_folder_like_any_other(closed_folder: Path) -> None:
    """It is shown as a dot."""
    assert list(scan(closed_folder)) == [Skipped(path=".", reason=SkipReason.UNREADABLE, is_folder=True)]


def test_a_name_that_is_no_unicode_is_shown_and_left_out(tmp_path: Path) -> None:
    """A store keeps text; such names stem from archives of other systems."""
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


def test_paths_are_looked_up_in_their_order(tmp_path: Path) -> None:
    """Whatever a walk leaves out, and through links; where nothing is nothing is said."""
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
