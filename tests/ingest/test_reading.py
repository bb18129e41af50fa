"""Reading ahead: in threads, in order, and never further than it may."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.reading import map_ahead, read_picture
from lookalike.errors import SkipReason
from lookalike.pictures.files import sha256_of
from lookalike.pictures.scan import FoundFile

AHEAD = 5


def found(file: Path) -> FoundFile:
    """The file as a walk over its folder would find it."""
    return FoundFile(path=file.name, root=file.parent, bytes=0, mtime_ns=0)


@pytest.fixture
def picture(tmp_path: Path, draw: Callable[..., list[Path]]) -> Path:
    """One picture of 64 x 48 pixels."""
    return draw(tmp_path, "1.png")[0]


def test_results_come_in_the_order_of_the_items() -> None:
    """Whichever thread is done first: here the first one waits for the second."""
    second_is_done = threading.Event()

    def second_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return item

    assert list(map_ahead(second_first, iter(range(4)), ahead=2)) == [0, 1, 2, 3]


def test_no_more_items_are_taken_than_may_be_ahead() -> None:
    """A decoded picture takes memory; a million must not wait for the network."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    ahead = [taken - (item + 1) for item in map_ahead(lambda item: item, items(), ahead=AHEAD)]
    assert ahead == [AHEAD] * (100 - AHEAD) + [AHEAD - 1, AHEAD - 2, AHEAD - 3, AHEAD - 4, AHEAD - 5]


def test_nothing_is_taken_before_the_first_result_is_wanted() -> None:
    """Making the generator starts no thread."""

    def items() -> Iterator[int]:
        pytest.fail("taken")
        yield 0

    map_ahead(lambda item: item, items(), ahead=AHEAD).close()


def test_no_items_give_no_results() -> None:
    """A folder in which nothing has to be read."""
    assert list(map_ahead(lambda item: item, iter([]), ahead=AHEAD)) == []


def test_an_error_in_a_thread_is_raised_where_its_result_was_due() -> None:
    """After those before it, so that what was read can still be written."""

    def fail_at_three(item: int) -> int:
        if item == 3:
            raise OSError("the disk is gone")
        return item

    results = map_ahead(fail_at_three, iter(range(100)), ahead=AHEAD)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_an_error_of_the_items_is_raised_too() -> None:
    """Once what they gave before was handed on: what went through the network is still written."""

    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = map_ahead(lambda item: item, items(), ahead=AHEAD)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_closing_early_leaves_no_thread_behind() -> None:
    """An interrupted ingest ends when the files in hand are read."""
    before = threading.active_count()
    results = map_ahead(lambda item: item, iter(range(1000)), ahead=AHEAD)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_closing_early_does_not_read_what_is_waiting() -> None:
    """Only what threads are at is finished; here they are held up until the rest was called off."""
    started: list[int] = []
    go_on = threading.Event()

    def slow(item: int) -> int:
        started.append(item)
        if item:
            go_on.wait(10)
        return item

    results = map_ahead(slow, iter(range(1000)), ahead=100)
    assert next(results) == 0
    release = threading.Timer(0.3, go_on.set)
    release.start()
    results.close()
    release.join()
    assert len(started) < 100


def test_a_picture_is_read_hashed_and_decoded(picture: Path) -> None:
    """In one go, since its bytes are at hand."""
    read = read_picture(found(picture), lambda _: False)
    assert read.sha256 == sha256_of(io.BytesIO(picture.read_bytes()))
    assert read.picture is not None
    assert (read.picture.width, read.picture.height) == (64, 48)
    assert read.problem is None


def test_a_picture_whose_bytes_are_known_is_not_decoded(picture: Path) -> None:
    """Decoding is what takes the time, and its vector is there."""
    asked: list[str] = []
    read = read_picture(found(picture), lambda sha256: not asked.append(sha256))
    assert asked == [sha256_of(io.BytesIO(picture.read_bytes()))]
    assert (read.picture, read.problem) == (None, None)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.jpg", None, SkipReason.VANISHED),
        ("empty.jpg", b"", SkipReason.EMPTY),
        ("text.jpg", b"hello", SkipReason.NOT_AN_IMAGE),
        ("half.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", SkipReason.TRUNCATED),
    ],
)
def test_a_file_that_is_no_picture_says_why(
    tmp_path: Path, name: str, content: bytes | None, problem: SkipReason
) -> None:
    """As a value and not an error: the others go on."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    read = read_picture(found(tmp_path / name), lambda _: False)
    assert (read.problem, read.picture) == (problem, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_file_that_has_become_a_pipe_is_not_waited_for(picture: Path) -> None:
    """It was a file when the folder was looked at."""
    entry = found(picture)
    picture.unlink()
    os.mkfifo(picture)
    assert read_picture(entry, lambda _: False).problem is SkipReason.UNREADABLE


def test_a_large_file_is_read_from_the_disk(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not held in memory; nothing else is different."""
    in_memory = read_picture(found(picture), lambda _: False)
    monkeypatch.setattr("lookalike.pictures.files.IN_MEMORY_BYTES", 0)
    from_disk = read_picture(found(picture), lambda _: False)
    assert from_disk.sha256 == in_memory.sha256
    assert from_disk.picture is not None
    assert in_memory.picture is not None
    assert (from_disk.picture.pixels == in_memory.picture.pixels).all()


def test_a_picture_that_needs_something_installed_says_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command counts them and says so once."""
    monkeypatch.setattr("lookalike.pictures.decoding._heif_is_read", lambda: False)
    (tmp_path / "1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    read = read_picture(found(tmp_path / "1.heic"), lambda _: False)
    assert (read.problem, read.needed) == (
        SkipReason.UNSUPPORTED_FORMAT,
        "this project's extra lookalike[heif]",
    )


def test_the_limit_of_pixels_is_passed_on(picture: Path) -> None:
    """As `--max-pixels` has it."""
    read = read_picture(found(picture), lambda _: False, max_pixels=64 * 48 - 1)
    assert read.problem is SkipReason.TOO_LARGE
    assert read_picture(found(picture), lambda _: False, max_pixels=64 * 48).problem is None
