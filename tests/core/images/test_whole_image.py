"""A whole image besides its pixels: alpha, sample depth, further content."""

import io
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import decode_whole
from lookalike_core.images.resizing import Resampling, resize
from lookalike_core.images.whole_image import Besides, WholeImage
from PIL import Image


def whole(image: Image.Image, kind: str = "PNG", *, edge: int = 400, **options: Any) -> WholeImage:
    """Returns the image read from a file of that format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return decode_whole(file, "x", edge=edge)


def half_clear(mode: str = "RGBA") -> Image.Image:
    """Returns an image that is transparent in its left half, 40 x 20."""
    levels = np.full((20, 40, 4), 200, dtype=np.uint8)
    levels[..., 3] = 255
    levels[:, :20, 3] = 0
    return Image.fromarray(levels).convert(mode)


def palette() -> Image.Image:
    """Returns a palette image of two colours, the first of which is transparent."""
    image = Image.new("P", (40, 20), 1)
    image.putpalette([9, 9, 9, 200, 200, 200])
    image.paste(0, (0, 0, 20, 20))
    return image


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (half_clear(), "PNG", {}),
        (half_clear(), "WEBP", {"lossless": True}),
        (half_clear(), "TIFF", {}),
        (half_clear("LA"), "PNG", {}),
        (palette(), "PNG", {"transparency": 0}),
        (palette(), "GIF", {"transparency": 0}),
        (half_clear("LA").getchannel("A"), "PNG", {"transparency": 0}),
        (
            Image.fromarray(np.asarray(half_clear("LA").getchannel("A")).astype(np.uint16) * 257),
            "PNG",
            {"transparency": 0},
        ),
    ],
)
def test_alpha_is_read_in_every_mode(image: Image.Image, kind: str, options: Any) -> None:
    """It may be a channel, a palette's table, or a transparent colour."""
    found = whole(image, kind, **options)
    assert found.alpha is not None
    assert (found.alpha[:, :18] == 0).all()
    assert (found.alpha[:, 22:] == 255).all()


def test_an_opaque_image_has_no_alpha() -> None:
    """This holds with and without an alpha channel."""
    assert whole(Image.new("RGBA", (40, 20), "red")).alpha is None
    assert whole(Image.new("RGB", (40, 20), "red")).alpha is None


def test_alpha_is_transposed_and_scaled_like_the_pixels() -> None:
    """Width and height are the file's upright size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = whole(half_clear().resize((400, 200), 0), edge=100, exif=exif)
    assert (found.width, found.height) == (200, 400)
    assert found.pixels.shape == (100, 50, 3)
    assert found.alpha is not None
    assert found.alpha.shape == (100, 50)
    assert (found.alpha[:45] == 0).all()
    assert (found.alpha[55:] == 255).all()


def test_alpha_of_a_large_image_is_sampled() -> None:
    """No second full copy is made."""
    found = whole(half_clear().resize((4000, 2000), 0), "WEBP", lossless=True, method=0)
    assert found.alpha is not None
    assert found.alpha.shape == (200, 400)
    assert (found.alpha[:, :190] == 0).all()


@pytest.mark.parametrize(
    ("image", "kind", "is_deep"),
    [
        (Image.new("RGB", (8, 8)), "PNG", False),
        (Image.new("1", (8, 8)), "PNG", False),
        (Image.new("P", (8, 8)), "GIF", False),
        (Image.new("I;16", (8, 8)), "PNG", True),
        (Image.new("I;16", (8, 8)), "TIFF", True),
    ],
)
def test_samples_of_more_than_8_bits_are_deep(image: Image.Image, kind: str, is_deep: bool) -> None:
    """The file's depth counts, not Pillow's."""
    assert whole(image, kind).is_deep == is_deep


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_further_frames_pages_and_views_are_noticed(kind: str) -> None:
    """A file of the same format with one image has none."""
    several = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]}
    assert whole(Image.new("RGB", (8, 8)), kind).besides is Besides.NOTHING
    expected = Besides.VIEWS if kind == "MPO" else Besides.FRAMES
    assert whole(Image.new("RGB", (8, 8)), kind, **several).besides is expected


def test_pixels_are_resized() -> None:
    """The filter averages or picks; without a change of size the same array is returned."""
    pixels = np.array([[0, 100], [100, 200]], dtype=np.uint8)
    assert resize(pixels, 2, 2) is pixels
    assert resize(pixels, 1, 1, Resampling.BOX).tolist() == [[100]]
    assert resize(np.dstack([pixels] * 3), 1, 2, Resampling.BOX).tolist() == [[[50] * 3], [[150] * 3]]
