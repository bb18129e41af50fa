"""Opening of image files: without blocking, hashed, and readable repeatedly."""

import io
import os
import threading
from pathlib import Path

import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.hints import Action, Hint
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import MAX_BYTES, hash_stream, open_file, read_pipe

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

needs_fifos = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")


def refused(path: Path, *, max_bytes: int = MAX_BYTES) -> ImageError:
    """Returns the error for a file; checks that the message names it."""
    with pytest.raises(ImageError, match=path.name) as caught, open_file(path, max_bytes=max_bytes):
        pytest.fail("it was opened")
    return caught.value


@pytest.mark.parametrize("in_memory", [0, 3, 4])
def test_a_file_is_hashed_and_read_again(tmp_path: Path, in_memory: int) -> None:
    """The hash is of the same bytes, whether they are buffered or read again."""
    (tmp_path / "a.jpg").write_bytes(b"abc")
    with open_file(tmp_path / "a.jpg", in_memory_bytes=in_memory) as stream:
        assert isinstance(stream, io.BytesIO) == (in_memory >= 3)
        assert hash_stream(stream) == SHA256_OF_ABC
        assert stream.read() == b"abc"
        assert hash_stream(stream) == SHA256_OF_ABC


@pytest.mark.parametrize(
    ("name", "reason"), [("gone.jpg", SkipReason.VANISHED), ("folder.jpg", SkipReason.UNREADABLE)]
)
def test_the_error_of_an_unreadable_file_has_path_and_reason(
    tmp_path: Path, name: str, reason: SkipReason
) -> None:
    """It may be deleted between listing and reading."""
    (tmp_path / "folder.jpg").mkdir()
    assert refused(tmp_path / name).reason is reason


@needs_fifos
def test_opening_a_fifo_does_not_block(tmp_path: Path) -> None:
    """Opening a FIFO normally blocks until there is a writer; the hint for a query is standard input."""
    os.mkfifo(tmp_path / "pipe.jpg")
    error = refused(tmp_path / "pipe.jpg")
    assert error.reason is SkipReason.UNREADABLE
    assert (error.path, error.hint) == (tmp_path / "pipe.jpg", Hint(Action.PIPE))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no such devices here")
def test_a_device_is_not_read() -> None:
    """A device may never end."""
    assert refused(Path("/dev/zero")).reason is SkipReason.UNREADABLE


@needs_fifos
def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    """A folder of a million FIFOs must not exhaust the file descriptors."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = os.open(tmp_path, os.O_RDONLY)
    os.close(before)
    for name in ("folder", "pipe"):
        refused(tmp_path / name)
    after = os.open(tmp_path, os.O_RDONLY)
    os.close(after)
    assert after == before


def test_errors_while_an_image_is_open_carry_its_path(tmp_path: Path) -> None:
    """The decoder knows only bytes and a name."""
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError) as caught, open_file(tmp_path / "a.jpg") as stream:
        decode(stream, "a")
    assert (caught.value.path, caught.value.reason) == (tmp_path / "a.jpg", SkipReason.NOT_AN_IMAGE)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """The image is skipped, and an ingest continues."""
    (tmp_path / "fits.bin").write_bytes(bytes(100))
    (tmp_path / "large.bin").write_bytes(bytes(101))
    with open_file(tmp_path / "fits.bin", max_bytes=100) as stream:
        assert len(stream.read()) == 100
    assert refused(tmp_path / "large.bin", max_bytes=100).reason is SkipReason.TOO_LARGE


def test_a_large_file_that_changes_while_it_is_read_is_skipped(tmp_path: Path) -> None:
    """Its hash and pixels would be of different bytes; the next run reads it again."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"abc")

    def read_slowly() -> None:
        with open_file(file, in_memory_bytes=2) as stream:
            hash_stream(stream)
            file.write_bytes(b"abcd")

    with pytest.raises(ImageError, match=r"a\.jpg changed") as caught:
        read_slowly()
    assert caught.value.reason is SkipReason.UNREADABLE


def test_a_file_hides_its_descriptor(tmp_path: Path) -> None:
    """A library that maps a file into memory would crash if the file were truncated."""
    (tmp_path / "a.tif").write_bytes(b"abc")
    with open_file(tmp_path / "a.tif", in_memory_bytes=2) as stream, pytest.raises(OSError, match="fileno"):
        stream.fileno()


def test_a_pipe_is_read_up_to_the_limit() -> None:
    """It cannot be read twice, so it is buffered in memory."""
    assert read_pipe(io.BytesIO(b"abc"), "-", max_bytes=3).read() == b"abc"
    with pytest.raises(ImageError, match="name a file instead") as caught:
        read_pipe(io.BytesIO(b"abcd"), "-", max_bytes=3)
    assert caught.value.reason is SkipReason.TOO_LARGE


def test_several_threads_can_open_files(tmp_path: Path) -> None:
    """Prefetching does so."""
    (tmp_path / "a.jpg").write_bytes(b"abc")
    hashes: list[str] = []

    def read() -> None:
        with open_file(tmp_path / "a.jpg") as stream:
            hashes.append(hash_stream(stream))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hashes == [SHA256_OF_ABC] * 8
