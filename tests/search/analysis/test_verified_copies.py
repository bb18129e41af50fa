"""Proofs of near-duplicates: decoding, caching, and files that cannot be read."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import Nearest
from lookalike_search.analysis import verified_copies as proving
from lookalike_search.analysis.copy_candidates import Candidates
from lookalike_search.analysis.file_state import FileState, ImageFile
from lookalike_search.analysis.verified_copies import prove_copies
from made_collections import payload_of
from PIL import Image, ImageDraw, ImageFont

Write = Callable[[str, int], ImageFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file that shows a word, with a given width in pixels."""

    def one(word: str, width: int) -> ImageFile:
        image = Image.new("RGB", (400, 300), "seashell")
        pen = ImageDraw.Draw(image)
        pen.text((30, 60), word, fill="navy", font=ImageFont.load_default(120))
        file = tmp_path / f"{word} {width}.png"
        image.resize((width, width * 3 // 4)).save(file)
        return image_file(file, width, width * 3 // 4)

    return one


def image_file(file: Path, width: int, height: int) -> ImageFile:
    """Returns a file as it was ingested."""
    status, digest = file.stat(), hashlib.sha256(file.read_bytes()).hexdigest()
    shown = {"width": width, "height": height, "bytes": status.st_size}
    payload = payload_of(file.name, sha256=digest, mtime_ns=status.st_mtime_ns, **shown)
    return ImageFile(payload=payload, file=file, state=FileState.PRESENT, status=status)


def proven(files: Sequence[ImageFile], **limits: int) -> list[int]:
    """Returns the original of each file, where every earlier file is a candidate."""
    near = Candidates(len(files))
    for row in range(len(files)):
        later = np.arange(row + 1, len(files))
        near.add(Nearest(row=row, rows=later, scores=np.full(len(later), 0.99, dtype=np.float32)))
    done: list[int] = []
    copy_of = prove_copies(files, near, near.clusters(), on_done=done.append, **limits)
    assert sum(done) == len(files)
    return copy_of.tolist()


def test_near_duplicates_belong_to_their_first_original(write: Write) -> None:
    """They belong neither to another near-duplicate nor to a different image that is similar."""
    files = [write("one", 160), write("ore", 152), write("one", 120), write("ore", 100), write("one", 80)]
    assert proven(files) == [0, 1, 0, 1, 0]


def test_images_are_decoded_once_or_again_when_not_cached(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cache the original is decoded again for its near-duplicate."""
    files = [write("one", 160), write("ore", 152), write("one", 120)]
    decoded: Counter[int] = Counter()
    read = proving.read_whole

    def counted(image: ImageFile) -> object:
        decoded[image.payload.width] += 1
        return read(image)

    monkeypatch.setattr(proving, "read_whole", counted)
    assert proven(files) == [0, 1, 0]
    assert set(decoded.values()) == {1}
    decoded.clear()
    assert proven(files, cache_bytes=0) == [0, 1, 0]
    assert decoded[160] > 1
    assert decoded[120] == 1


def test_unreadable_and_changed_files_are_not_proven(write: Write) -> None:
    """They are neither originals nor near-duplicates; other files are proven all the same."""
    files = [write("one", width) for width in (200, 160, 120, 100, 80)]
    paths = [each.file for each in files if each.file is not None]
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b"x")
    paths[2].unlink()
    paths[3].write_bytes(b"no image")
    assert proven(files) == [0, 1, 2, 3, 1]


@pytest.mark.parametrize(("other", "expected"), [("1234", 0), ("9870", 1)])
def test_small_type_on_a_large_plan_is_compared_in_full(other: str, expected: int, tmp_path: Path) -> None:
    """The text is not legible at the size of the first comparison."""
    files = []
    for name, price in (("kept.png", "1234"), ("other.bmp", other)):
        image = Image.new("L", (4600, 3000), 255)
        pen = ImageDraw.Draw(image)
        for x in range(100, 4500, 300):
            pen.rectangle((x, x // 2, x + 250, x // 2 + 180), outline=0, width=3)
        pen.text((2200, 2600), f"PRICE {price}", fill=0, font=ImageFont.load_default(14))
        image.save(tmp_path / name)
        files.append(image_file(tmp_path / name, 4600, 3000))
    assert proven(files) == [0, expected]
