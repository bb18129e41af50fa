"""Which files decode to the same pixels as in former versions."""

import io
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import decodes_as_before
from lookalike_core.images.profiles import SRGB_CHROMATICITIES, matrix_profile
from PIL import Image, ImageCms, ImageDraw

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR = matrix_profile(1.0, SRGB_CHROMATICITIES)


def photo(mode: str = "RGB") -> Image.Image:
    """Returns an image that no other resembles."""
    random = np.random.default_rng(3)
    return Image.fromarray(random.integers(0, 200, (40, 50, 3), dtype=np.uint8)).convert(mode)


def artwork(colour: str, mode: str = "RGBA") -> Image.Image:
    """Returns a disc on a transparent ground."""
    image = Image.new("RGBA", (50, 40))
    ImageDraw.Draw(image).ellipse((5, 5, 30, 30), fill=colour)
    return image.convert(mode)


def wide() -> Image.Image:
    """Returns a 16-bit grey image."""
    return Image.fromarray(np.asarray(photo("L")).astype(np.uint16) << 8)


def encoded(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    """Returns the bytes of a file of this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file


@pytest.mark.parametrize(
    "file",
    [
        encoded(photo(), "JPEG"),
        encoded(photo(), "JPEG", icc_profile=SRGB),
        encoded(photo("L"), "JPEG", icc_profile=b"broken"),
        encoded(photo(), "MPO", save_all=True, append_images=[photo()]),
        encoded(photo("P"), "PNG"),
        encoded(photo("CMYK"), "TIFF"),
        encoded(photo("RGBA"), "PNG"),
        encoded(artwork("black"), "PNG"),
        encoded(artwork("red", "LA"), "PNG"),
        encoded(photo("P"), "GIF", transparency=3),
        encoded(wide(), "PNG"),
        encoded(wide(), "TIFF"),
        encoded(photo("RGB"), "BMP"),
        encoded(artwork("blue"), "WEBP"),
    ],
    ids=lambda file: f"{Image.open(file).format}-{Image.open(file).mode}",
)
def test_ordinary_files_decode_as_under_the_former_preparation(file: io.BytesIO) -> None:
    """Nearly all files are such, so their vectors need not be computed again."""
    assert decodes_as_before(file, "image")


@pytest.mark.parametrize(
    "file",
    [
        encoded(photo(), "JPEG", icc_profile=LINEAR),
        encoded(photo("P"), "PNG", icc_profile=LINEAR),
        encoded(artwork("white"), "PNG"),
        encoded(artwork("white", "LA"), "PNG"),
        encoded(wide(), "TIFF", tiffinfo={262: 0}),
        encoded(photo("I"), "TIFF"),
        encoded(photo(), "GIF", save_all=True, append_images=[photo("L").convert("RGB")]),
        encoded(photo(), "TIFF", save_all=True, append_images=[photo()]),
        encoded(photo(), "TIFF", tiffinfo={254: 1}),
        encoded(photo(), "PNG", save_all=True, append_images=[photo("L").convert("RGB")]),
        io.BytesIO(b"no image"),
    ],
    ids=[
        *("profile", "profile-of-a-palette", "white-artwork", "white-grey-artwork", "negative", "32-bits"),
        *("animation", "pages", "reduced-copy", "animated-png", "no-image"),
    ],
)
def test_files_that_may_decode_differently_count_as_changed(file: io.BytesIO) -> None:
    """If it is uncertain, they count as changed."""
    assert not decodes_as_before(file, "image")
