"""Decoding of a part of an image: of the upright image, in its full size, by the same colours."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images import decoding
from lookalike_core.images.decoding import decode, decode_small, prepare_image, prepare_pixels
from lookalike_core.images.preparation import BandSizes
from lookalike_core.images.region import Region
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

STORED_AS: dict[int, Callable[[Array], Array]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
"""EXIF's orientation -> how an upright image is stored with it."""

JPEG_LEVELS = 12
"""Levels of 255 by which the part of a JPEG, decoded at a fraction, differs from that of a lossless file."""

PART = Region.parse("31,17,64,50")


def encoded(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    """Returns a file of this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file


def noise(height: int = 120, width: int = 160) -> Array:
    """Returns uint8 `[H, W, 3]` of which each part is different."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Array:
    """Returns uint8 `[H, W, 3]` with smooth colours, which JPEG stores well."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 90) * 100, np.cos(columns / 70) * 100, np.sin((rows + columns) / 110) * 100]
    return np.asarray(np.stack(waves, axis=2) + 128, dtype=np.uint8)


def with_orientation(upright: Array, orientation: int) -> io.BytesIO:
    """Returns a PNG that is stored with this EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](upright))
    return encoded(Image.fromarray(stored), "PNG", exif=exif)


def test_a_part_has_the_pixels_of_pillows_own_crop() -> None:
    """Nothing beside the region is in the square."""
    image = Image.fromarray(noise())
    cropped = image.crop((31, 17, 95, 67))
    found = decode(encoded(image, "PNG"), "a.png", region=PART)
    assert (found.pixels == prepare_image(cropped, "cropped").pixels).all()
    assert (found.width, found.height, str(found.box)) == (160, 120, "31,17,64,50")
    assert not found.part.is_whole


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_region_is_one_of_the_upright_image(orientation: int) -> None:
    """Each orientation gives the part of the upright image, pixel by pixel."""
    upright = noise()
    expected = prepare_pixels(upright, "upright", region=PART)
    found = decode(with_orientation(upright, orientation), "turned", region=PART)
    assert (found.pixels == expected.pixels).all()
    assert found.box == expected.box
    small = decode_small(with_orientation(upright, orientation), "turned", edge=500, region=PART)
    assert (np.asarray(small) == upright[17:67, 31:95]).all()


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_large_part_is_scaled_without_a_copy(orientation: int, mode: str) -> None:
    """It differs from that of a small image by rounding, and by what shows at its edges."""
    upright = smooth(300, 400)
    region, bands = Region.parse("100,50,250,200"), BandSizes(whole_pixels=1_000, band_pixels=5_000)
    expected = prepare_pixels(upright, "upright", region=region)
    stream = with_orientation(upright, orientation)
    if mode == "RGBA":
        exif, image = Image.Exif(), Image.open(stream)
        exif[0x0112] = orientation
        stream = encoded(image.convert("RGBA"), "PNG", exif=exif)
    found = decode(stream, "large", region=region, bands=bands)
    assert np.abs(found.pixels.astype(int) - expected.pixels.astype(int)).max() <= 2


@pytest.mark.parametrize("text", ["800,400,1200,1000", "3000,2000,100,80", "10%,10%,80%,85%"])
def test_a_region_of_a_jpeg_is_in_pixels_of_its_full_size(text: str) -> None:
    """Large JPEGs are decoded at a fraction of their size, which the region must not notice."""
    pixels, region = smooth(2_400, 3_600), Region.parse(text)
    expected = prepare_pixels(pixels, "pixels", region=region)
    jpeg = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    found = decode(jpeg, "a.jpg", region=region)
    assert found.box == expected.box
    assert np.abs(found.pixels.astype(int) - expected.pixels.astype(int)).max() <= JPEG_LEVELS


def test_a_small_part_of_a_jpeg_is_decoded_in_full_and_a_large_one_reduced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The part has the resolution that a whole image of its size would have, within the same budget."""
    reserved: list[int] = []
    budget = decoding.DECODING
    monkeypatch.setattr(
        decoding,
        "DECODING",
        type("Recorder", (), {"reserve": lambda _, n: (reserved.append(n), budget.reserve(n))[1]})(),
    )
    jpeg = encoded(Image.fromarray(smooth(2_400, 3_600)), "JPEG", quality=80)
    for region in (None, Region.parse("0%,0%,100%,100%"), Region.parse("5,5,40,40")):
        decode(jpeg, "a.jpg", region=region)
    whole, all_of_it, part = reserved
    assert whole == all_of_it
    assert whole < part <= 4 * 2_400 * 3_600 + 4 * 4 * 4_000_000


def test_a_huge_image_is_refused_with_a_small_region_too() -> None:
    """It has to be decoded all the same."""
    with pytest.raises(ImageError, match="the limit") as refused:
        decode(encoded(Image.fromarray(noise()), "PNG"), "a.png", max_pixels=1_000, region=PART)
    assert refused.value.reason is SkipReason.TOO_LARGE


def test_transparency_and_depth_are_judged_by_the_whole_image() -> None:
    """A part looks as it does in the whole image, even where all of it is transparent."""
    image = Image.new("RGBA", (80, 80), (255, 255, 255, 0))
    image.paste((250, 250, 250, 255), (0, 0, 40, 80))
    whole = np.asarray(decode_small(encoded(image, "PNG"), "art", edge=80))
    part = np.asarray(decode_small(encoded(image, "PNG"), "art", edge=80, region=Region.parse("40,0,40,80")))
    assert (part == whole[:, 40:]).all()
    deep = Image.fromarray(np.linspace(0, 65_535, 6_400).reshape(80, 80).astype(np.uint16))
    whole = np.asarray(decode_small(encoded(deep, "PNG"), "deep", edge=80))
    part = np.asarray(decode_small(encoded(deep, "PNG"), "deep", edge=80, region=Region.parse("10,0,30,20")))
    assert (part == whole[:20, 10:40]).all()


def test_a_region_beyond_the_image_is_refused() -> None:
    """The size in the message is the upright one."""
    stream = with_orientation(noise(), 6)
    with pytest.raises(ImageError, match="turned has 160 x 120 pixels") as refused:
        decode(stream, "turned", region=Region.parse("130,0,40,10"))
    assert refused.value.reason is SkipReason.OUTSIDE
