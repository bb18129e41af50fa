"""Reading image files: hashing, decoding where needed, and problems."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lookalike_core.errors import SkipReason
from lookalike_core.images.open_image import IN_MEMORY_BYTES, hash_stream
from lookalike_core.images.scan import FoundFile
from lookalike_ingest.image_reader import read_image


def found(file: Path) -> FoundFile:
    """Returns a file as a scan finds it."""
    return FoundFile(path=file.name, root=file.parent, bytes=0, mtime_ns=0, ctime_ns=0)


@pytest.fixture
def image(tmp_path: Path, draw: Callable[..., list[Path]]) -> Path:
    """Draws an image of 64 x 48 pixels."""
    return draw(tmp_path, "1.png")[0]


def test_an_image_is_hashed_and_decoded(image: Path) -> None:
    """The hash is that of the bytes that were decoded."""
    read = read_image(found(image), lambda _: False)
    assert read.sha256 == hash_stream(io.BytesIO(image.read_bytes()))
    assert read.image is not None
    assert (read.image.width, read.image.height) == (64, 48)
    assert read.problem is None


def test_an_image_with_known_bytes_is_not_decoded(image: Path) -> None:
    """Its vector is stored already."""
    asked: list[str] = []
    read = read_image(found(image), lambda sha256: not asked.append(sha256))
    assert asked == [hash_stream(io.BytesIO(image.read_bytes()))]
    assert (read.image, read.problem) == (None, None)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.jpg", None, SkipReason.VANISHED),
        ("empty.jpg", b"", SkipReason.EMPTY),
        ("text.jpg", b"hello", SkipReason.NOT_AN_IMAGE),
        ("half.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", SkipReason.TRUNCATED),
    ],
)
def test_a_file_that_is_not_an_image_is_returned_with_its_problem(
    tmp_path: Path, name: str, content: bytes | None, problem: SkipReason
) -> None:
    """No error is raised, so that other files are still read."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    read = read_image(found(tmp_path / name), lambda _: False)
    assert (read.problem, read.image) == (problem, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_file_that_has_become_a_pipe_is_not_waited_for(image: Path) -> None:
    """It was a file when the folder was scanned."""
    entry = found(image)
    image.unlink()
    os.mkfifo(image)
    assert read_image(entry, lambda _: False).problem is SkipReason.UNREADABLE


def test_a_large_file_is_not_held_in_memory(image: Path) -> None:
    """The hash and the pixels are the same."""
    in_memory = read_image(found(image), lambda _: False)
    content = image.read_bytes() + bytes(IN_MEMORY_BYTES)  # what follows an image is not looked at
    image.write_bytes(content)
    from_disk = read_image(found(image), lambda _: False)
    assert from_disk.sha256 == hashlib.sha256(content).hexdigest()
    assert from_disk.image is not None
    assert in_memory.image is not None
    assert (from_disk.image.pixels == in_memory.image.pixels).all()


def test_an_image_that_needs_another_decoder_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command counts these images and prints one line."""
    monkeypatch.setattr("lookalike_core.images.decoders._can_read_heif", lambda: False)
    (tmp_path / "1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    read = read_image(found(tmp_path / "1.heic"), lambda _: False)
    assert (read.problem, read.needed) == (
        SkipReason.UNSUPPORTED_FORMAT,
        "this project's extra lookalike[heif]",
    )


def test_larger_images_than_max_pixels_are_refused(image: Path) -> None:
    """The limit is that of `--max-pixels`."""
    read = read_image(found(image), lambda _: False, max_pixels=64 * 48 - 1)
    assert read.problem is SkipReason.TOO_LARGE
    assert read_image(found(image), lambda _: False, max_pixels=64 * 48).problem is None
