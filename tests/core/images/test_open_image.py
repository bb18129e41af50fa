"""Image files: opened without waiting, hashed, and read as often as need be."""

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
    """Why a file cannot be opened; the message has to name it."""
    with pytest.raises(ImageError, match=path.name) as caught, open_file(path, max_bytes=max_bytes):
        pytest.fail("it was opened")
    return caught.value


@pytest.mark.parametrize("in_memory", [0, 3, 4])
def test_a_file_is_hashed_and_read_again(tmp_path: Path, in_memory: int) -> None:
    """Held in memory or not: the hash over its bytes is the image's identity."""
    (tmp_path / "a.jpg").write_bytes(b"abc")
    with open_file(tmp_path / "a.jpg", in_memory_bytes=in_memory) as stream:
        assert isinstance(stream, io.BytesIO) == (in_memory >= 3)
        assert hash_stream(stream) == SHA256_OF_ABC
        assert stream.read() == b"abc"
        assert hash_stream(stream) == SHA256_OF_ABC


@pytest.mark.parametrize(
    ("name", "reason"), [("gone.jpg", SkipReason.VANISHED), ("folder.jpg", SkipReason.UNREADABLE)]
)
def test_a_file_that_cannot_be_read_says_which_and_why(tmp_path: Path, name: str, reason: SkipReason) -> None:
    """It may go away between being listed and being read."""
    (tmp_path / "folder.jpg").mkdir()
    assert refused(tmp_path / name).reason is reason


@needs_fifos
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever opens one the usual way waits for a writer, maybe for ever; a query hears of another way."""
    os.mkfifo(tmp_path / "pipe.jpg")
    error = refused(tmp_path / "pipe.jpg")
    assert error.reason is SkipReason.UNREADABLE
    assert (error.path, error.hint) == (tmp_path / "pipe.jpg", Hint(Action.PIPE))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no such devices here")
def test_a_device_is_not_read() -> None:
    """It may have no end."""
    assert refused(Path("/dev/zero")).reason is SkipReason.UNREADABLE


@needs_fifos
def test_what_is_refused_is_closed_again(tmp_path: Path) -> None:
    """A folder of a million FIFOs must not use up what a process may have open."""
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
    """Whoever decodes it knows bytes and a name; the error has the path all the same."""
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError) as caught, open_file(tmp_path / "a.jpg") as stream:
        decode(stream, "a")
    assert (caught.value.path, caught.value.reason) == (tmp_path / "a.jpg", SkipReason.NOT_AN_IMAGE)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    """It is one image that is left out, and not the end of an ingest."""
    (tmp_path / "fits.bin").write_bytes(bytes(100))
    (tmp_path / "large.bin").write_bytes(bytes(101))
    with open_file(tmp_path / "fits.bin", max_bytes=100) as stream:
        assert len(stream.read()) == 100
    assert refused(tmp_path / "large.bin", max_bytes=100).reason is SkipReason.TOO_LARGE


def test_a_large_file_that_changes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    """Its hash would be of other bytes than its pixels; the next run finds it changed and reads it."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"abc")

    def read_slowly() -> None:
        with open_file(file, in_memory_bytes=2) as stream:
            hash_stream(stream)
            file.write_bytes(b"abcd")

    with pytest.raises(ImageError, match=r"a\.jpg changed") as caught:
        read_slowly()
    assert caught.value.reason is SkipReason.UNREADABLE


def test_a_descriptor_is_not_handed_on(tmp_path: Path) -> None:
    """A library that maps a file into memory is killed when somebody cuts the file short."""
    (tmp_path / "a.tif").write_bytes(b"abc")
    with open_file(tmp_path / "a.tif", in_memory_bytes=2) as stream, pytest.raises(OSError, match="fileno"):
        stream.fileno()


def test_a_pipe_is_read_to_its_end_and_no_further_than_the_limit() -> None:
    """It has to be held in memory, for it cannot be read twice."""
    assert read_pipe(io.BytesIO(b"abc"), "-", max_bytes=3).read() == b"abc"
    with pytest.raises(ImageError, match="name a file instead") as caught:
        read_pipe(io.BytesIO(b"abcd"), "-", max_bytes=3)
    assert caught.value.reason is SkipReason.TOO_LARGE


def test_threads_open_files_of_their_own(tmp_path: Path) -> None:
    """Reading ahead does so."""
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
