"""Thumbnails: uncropped, upright and small, of any file."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import decode_small
from lookalike_core.images.thumbnails import (
    Encoding,
    Thumbnail,
    encode,
    make_thumbnail,
    make_thumbnails,
    pixels_within,
)
from PIL import Image

Draw = Callable[..., list[Path]]

LOSSY_TOLERANCE = 12
"""Levels of 255 by which a flat colour differs in a JPEG or WebP of quality 60."""

RED, BLUE, WHITE = (220, 20, 20), (20, 20, 220), (255, 255, 255)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def shown(made: Thumbnail | SkipReason) -> Image.Image:
    """Returns the decoded thumbnail."""
    assert isinstance(made, Thumbnail)
    image = Image.open(io.BytesIO(made.data))
    assert image.size == (made.width, made.height)
    assert image.get_format_mimetype() == made.media_type
    return image.convert("RGB")


def near(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    """Returns whether a pixel has a colour, up to the loss of coding."""
    pixel = np.array(image.getpixel(at), dtype=int)
    return bool((abs(pixel - colour) <= LOSSY_TOLERANCE).all())


def halves(width: int, height: int) -> Image.Image:
    """Returns an image that is red on the left and blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("size", "expected"), [((600, 300), (96, 48)), ((300, 600), (48, 96)), ((5000, 2), (96, 1))]
)
def test_a_thumbnail_shows_the_whole_image_undistorted(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int], encoding: Encoding
) -> None:
    """It is neither cropped nor stretched, unlike the network's input."""
    halves(*size).save(tmp_path / "a.png")
    image = shown(make_thumbnail(tmp_path / "a.png", 96, encoding=encoding))
    assert image.size == expected
    if min(expected) > 1:
        assert near(image, (3, 3), RED)
        assert near(image, (expected[0] - 4, expected[1] - 4), BLUE)


def test_a_small_image_is_not_enlarged(tmp_path: Path) -> None:
    """Enlarging would add bytes but no detail."""
    halves(20, 10).save(tmp_path / "a.png")
    assert shown(make_thumbnail(tmp_path / "a.png", 96)).size == (20, 10)


@pytest.mark.parametrize("width", [80, 2000])  # the large one is decoded at a part of its size
def test_a_thumbnail_is_upright(tmp_path: Path, width: int) -> None:
    """An image with EXIF orientation 6 is stored rotated; its left edge belongs at the top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves(width, width // 2).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = shown(make_thumbnail(tmp_path / "a.jpg", 64))
    assert image.size == (32, 64)
    assert near(image, (16, 4), RED)
    assert near(image, (16, 60), BLUE)


def test_transparent_pixels_of_a_thumbnail_are_white(tmp_path: Path) -> None:
    """The network's input is the same."""
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert near(shown(make_thumbnail(tmp_path / "a.png", 20)), (10, 10), WHITE)


def test_a_large_image_of_few_colours_takes_the_memory_of_a_small_one() -> None:
    """Palette images are scaled before conversion to RGB; transparency is kept."""

    def small(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return decode_small(stream, "large", edge=40, whole_pixels=1_000)

    found = small(halves(400, 200).quantize(4))
    assert found.size == (40, 20)
    assert near(found, (4, 10), RED)
    assert near(found, (35, 10), BLUE)
    assert near(small(Image.new("LA", (400, 200), (0, 0))), (20, 10), WHITE)


def test_a_missing_thumbnail_has_a_reason(tmp_path: Path, draw: Draw) -> None:
    """Missing, invalid, truncated and too large files return a reason, not an exception."""
    [whole] = draw(tmp_path, "a.png")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:100])
    reasons = [make_thumbnail(tmp_path / name, 32) for name in ("gone.png", "text.png", "cut.png")]
    assert reasons == [SkipReason.VANISHED, SkipReason.NOT_AN_IMAGE, SkipReason.TRUNCATED]
    assert make_thumbnail(whole, 32, max_pixels=100) is SkipReason.TOO_LARGE


def test_thumbnails_come_in_order_with_bounded_look_ahead(tmp_path: Path, draw: Draw) -> None:
    """Threads make at most a few before they are consumed."""
    names = [f"{number}.png" for number in range(30)]
    files = draw(tmp_path, *names)
    taken: list[Path] = []

    def listed() -> Iterator[Path]:
        for file in files:
            taken.append(file)
            yield file

    made = make_thumbnails(listed(), 32, ahead=4)
    first = next(made)
    assert len(taken) <= 6
    assert [first, *made] == [make_thumbnail(file, 32) for file in files]


def test_closing_the_generator_ends_the_threads(tmp_path: Path, draw: Draw) -> None:
    """Thumbnails that were not started are not made."""
    made = make_thumbnails(iter(draw(tmp_path, *(f"{number}.png" for number in range(8)))), 32, ahead=2)
    next(made)
    made.close()
    assert list(made) == []


def test_pixels_are_scaled_to_fit_a_box(tmp_path: Path) -> None:
    """The aspect ratio is kept for wide and high images."""
    halves(300, 200).save(tmp_path / "wide.png")
    halves(200, 300).save(tmp_path / "high.png")
    wide, high = (pixels_within(tmp_path / name, 12, 8) for name in ("wide.png", "high.png"))
    assert isinstance(wide, np.ndarray)
    assert isinstance(high, np.ndarray)
    assert wide.shape == (8, 12, 3)
    assert high.shape == (8, 5, 3)
    assert pixels_within(tmp_path / "gone.png", 12, 8) is SkipReason.VANISHED


def test_pixels_become_a_data_uri() -> None:
    """Explanations draw their own pixels for a page."""
    pixels = np.full((10, 20, 3), 200, np.uint8)
    made = encode(pixels, encoding=Encoding.WEBP)
    assert (made.width, made.height) == (20, 10)
    assert made.uri.startswith("data:image/webp;base64,")
    assert near(shown(made), (5, 5), (200, 200, 200))
