"""Transparency in all modes and containers: visible content stays visible, hidden pixels have no effect."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import decode, decode_small
from lookalike_core.images.preparation import BandSizes
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[Any]

WHITE, BLACK, GREY = 255, 0, 128

LOSSY = 8
"""Levels of 255 by which a lossy format differs on a flat colour."""


def shape(
    kind: str, colour: tuple[int, int, int], *, hidden: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """Returns a figure on a transparent ground, RGBA 224 x 224.

    `hidden` is its transparent pixels' colour.
    """
    image = Image.new("RGBA", (224, 224), (*hidden, 0))
    draw = ImageDraw.Draw(image)
    if kind == "disc":
        draw.ellipse((40, 40, 184, 184), fill=colour)
    elif kind == "box":
        draw.rectangle((50, 50, 174, 174), fill=colour)
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the bytes of a file of this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(data: bytes, **options: Any) -> Array:
    """Returns the prepared pixels, uint8 `[224, 224, 3]`."""
    return decode(io.BytesIO(data), "image", **options).pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a PNG chunk."""
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def png(rows: Array, *, depth: int, colour: int, more: bytes = b"") -> bytes:
    """Returns a PNG of 224 x 224 pixels; `rows` are bytes `[224, N]`."""
    filtered = np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", 224, 224, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def table(seen: Array, colours: list[int]) -> Image.Image:
    """Returns palette rows: 0 for transparent pixels, 1 for visible ones."""
    image = Image.frombytes("P", (224, 224), seen.astype(np.uint8).tobytes())
    image.putpalette(colours)
    return image


def table_with_alpha(seen: Array) -> Image.Image:
    """Returns a palette of white with a different alpha for every entry."""
    indices, alpha = (Image.fromarray((seen * most).astype(np.uint8)) for most in (1, 255))
    image = Image.merge("PA", (indices, alpha))
    image.putpalette([255] * 6)
    return image


def wide(seen: Array, *, samples: int) -> Array:
    """Returns rows of 16-bit white with alpha; bytes `[224, N]`."""
    white = [np.full(seen.shape, 65_535)] * (samples - 1)
    return np.stack([*white, seen * 65_535], axis=-1).astype(">u2").view(np.uint8).reshape(224, -1)


def associated(seen: Array, mode: str) -> bytes:
    """Returns a TIFF of premultiplied colours, as its tag says."""
    grey = Image.fromarray((seen * 255).astype(np.uint8))
    image = grey.convert(mode)
    image.putalpha(grey)
    unassociated, tag = (struct.pack("<HHIHH", 338, 3, 1, kind, 0) for kind in (2, 1))
    data = encoded(image, "TIFF")
    assert unassociated in data
    return data.replace(unassociated, tag)


def keyed(seen: Array) -> Image.Image:
    """Returns rows that are white where visible, else dark grey."""
    return Image.fromarray(np.where(seen, 255, 77).astype(np.uint8))


WIDE_KEY = np.array([0x1234, 0xFFFF], dtype=">u2")

ARTWORK: dict[str, Callable[[Image.Image, Array], bytes]] = {
    "RGBA": lambda image, _: encoded(image, "PNG"),
    "LA": lambda image, _: encoded(image.convert("LA"), "PNG"),
    "P": lambda _, seen: encoded(table(seen, [0] * 3 + [255] * 3), "PNG", transparency=0),
    "P-alphas": lambda _, seen: encoded(table(seen, [255] * 6), "PNG", transparency=b"\0\xff"),
    "1": lambda _, seen: png(np.packbits(seen, axis=1), depth=1, colour=0, more=chunk(b"tRNS", b"\0\0")),
    "L-key": lambda _, seen: encoded(keyed(seen), "PNG", transparency=77),
    "RGB-key": lambda _, seen: encoded(keyed(seen).convert("RGB"), "PNG", transparency=(77, 77, 77)),
    "I;16-key": lambda _, seen: png(
        WIDE_KEY[seen.astype(int)].view(np.uint8), depth=16, colour=0, more=chunk(b"tRNS", b"\x12\x34")
    ),
    "LA;16": lambda _, seen: png(wide(seen, samples=2), depth=16, colour=4),
    "RGBA;16": lambda _, seen: png(wide(seen, samples=4), depth=16, colour=6),
    "TIFF-RGBa": lambda _, seen: associated(seen, "RGBA"),
    "TIFF-RGBA": lambda image, _: encoded(image, "TIFF"),
    "TIFF-La": lambda _, seen: associated(seen, "LA"),
    "TIFF-LA": lambda image, _: encoded(image.convert("LA"), "TIFF", compression="tiff_lzw"),
    "TIFF-PA": lambda _, seen: encoded(table_with_alpha(seen), "TIFF"),
    "GIF": lambda _, seen: encoded(table(seen, [9] * 3 + [255] * 3), "GIF", transparency=0),
    "WEBP": lambda image, _: encoded(image, "WEBP", quality=95),
    "AVIF": lambda image, _: encoded(image, "AVIF", quality=95),
}
"""A white figure on a transparent ground, in every mode with transparency."""


def white_artwork(mode: str, figure: str) -> bytes:
    """Yields the file's bytes."""
    image = shape(figure, (255, 255, 255))
    return ARTWORK[mode](image, np.asarray(image)[..., 3] > 0)


@pytest.mark.parametrize("mode", ARTWORK)
def test_white_artwork_is_laid_on_black(mode: str) -> None:
    """On white all such files would be the same blank image."""
    disc, box = (pixels_of(white_artwork(mode, figure)) for figure in ("disc", "box"))
    for pixels in (disc, box):
        assert np.abs(pixels[112, 112].astype(int) - WHITE).max() <= LOSSY
        assert np.abs(pixels[5, 5].astype(int) - BLACK).max() <= LOSSY
    assert (disc != box).any()


@pytest.mark.parametrize("mode", ARTWORK)
def test_a_thumbnail_has_the_same_ground(mode: str) -> None:
    """Thumbnails show what the network gets; duplicates are verified on it."""
    small = decode_small(io.BytesIO(white_artwork(mode, "disc")), "image", edge=56)
    assert np.abs(np.asarray(small)[28, 28].astype(int) - WHITE).max() <= LOSSY
    assert np.abs(np.asarray(small)[1, 1].astype(int) - BLACK).max() <= LOSSY


def ground_of(image: Image.Image) -> int:
    """Returns the level of the upper left pixel, which is transparent."""
    pixels = pixels_of(encoded(image, "PNG"))
    assert len(set(pixels[0, 0].tolist())) == 1
    return int(pixels[0, 0, 0])


@pytest.mark.parametrize(
    ("colour", "ground"),
    [
        ((0, 0, 0), WHITE),
        ((120, 120, 120), WHITE),
        ((220, 220, 220), WHITE),
        ((255, 255, 0), WHITE),
        ((255, 200, 200), WHITE),
        ((255, 255, 255), BLACK),
        ((240, 240, 240), BLACK),
        ((250, 245, 235), BLACK),
    ],
)
def test_the_ground_is_white_unless_the_image_is_white(colour: tuple[int, int, int], ground: int) -> None:
    """Usual artwork stays on white, as does nearly white artwork with visible parts."""
    assert ground_of(shape("disc", colour)) == ground


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (128, 128, 128)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255)])
def test_fully_transparent_pixels_do_not_affect_the_ground(
    hidden: tuple[int, int, int], colour: tuple[int, int, int]
) -> None:
    """Programs store any colour under alpha 0."""
    shown = pixels_of(encoded(shape("disc", colour), "PNG"))
    np.testing.assert_array_equal(pixels_of(encoded(shape("disc", colour, hidden=hidden), "PNG")), shown)


def test_white_with_a_dark_outline_stays_on_white() -> None:
    """Its outline is visible on white."""
    image = shape("disc", (255, 255, 255))
    ImageDraw.Draw(image).ellipse((38, 38, 186, 186), outline=(0, 0, 0, 255), width=4)
    assert ground_of(image) == WHITE


def test_white_and_black_without_an_outline_are_laid_on_grey() -> None:
    """White and black would each hide one of them."""
    image = shape("disc", (255, 255, 255))
    ImageDraw.Draw(image).rectangle((90, 90, 134, 134), fill=(0, 0, 0, 255))
    assert ground_of(image) == GREY
    pixels = pixels_of(encoded(image, "PNG"))
    assert (pixels[60, 112, 0], pixels[112, 112, 0]) == (WHITE, BLACK)


def test_half_transparent_white_is_laid_on_black() -> None:
    """It has no outline."""
    assert ground_of(Image.new("RGBA", (50, 50), (255, 255, 255, 100))) > 0
    veil = shape("disc", (255, 255, 255))
    veil.putalpha(veil.getchannel("A").point(lambda alpha: alpha // 3))
    pixels = pixels_of(encoded(veil, "PNG"))
    assert pixels[112, 112, 0] == WHITE // 3
    assert pixels[0, 0, 0] == BLACK


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (9, 99, 199)])
def test_an_image_of_which_nothing_is_visible_is_white(hidden: tuple[int, int, int]) -> None:
    """There is nothing to show."""
    assert (pixels_of(encoded(shape("nothing", (0, 0, 0), hidden=hidden), "PNG")) == WHITE).all()


def test_an_opaque_alpha_changes_nothing() -> None:
    """Screenshots have an opaque alpha; light ones stay as they are."""
    page = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(page).rectangle((20, 20, 30, 30), fill=(10, 20, 30))
    plain = pixels_of(encoded(page, "PNG"))
    np.testing.assert_array_equal(pixels_of(encoded(page.convert("RGBA"), "PNG")), plain)


def test_large_images_have_one_ground_for_all_bands() -> None:
    """It is chosen before rendering, on a sample of the pixels."""
    image = shape("disc", (255, 255, 255)).resize((1300, 1200))
    whole = pixels_of(encoded(image, "PNG"))
    bands = pixels_of(encoded(image, "PNG"), bands=BandSizes(whole_pixels=0, band_pixels=1))
    assert (bands[0, 0, 0], bands[112, 112, 0], bands[-1, -1, 0]) == (BLACK, WHITE, BLACK)
    assert np.abs(bands.astype(int) - whole).max() <= 1


def bmp(colours: Array, alpha: int, *, header: int, compression: int) -> bytes:
    """Returns a 32-bit BMP of uint8 `[H, W, 3]` with a constant fourth sample."""
    height, width = colours.shape[:2]
    fourth = np.full((height, width, 1), alpha, np.uint8)
    lines = np.concatenate([colours[::-1, :, ::-1], fourth], axis=-1).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, 32, compression, len(lines), 0, 0, 0, 0)
    info = (info + (masks if header > 40 else b"")).ljust(header, b"\0")
    size = 14 + len(info) + len(lines)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + len(info)) + info + lines


BITMAPS = [(40, 0), (56, 3), (108, 0), (108, 3), (124, 0), (124, 3)]
"""The header's size, and whether it has masks."""


@pytest.mark.parametrize(("header", "compression"), BITMAPS)
def test_a_bitmap_with_zero_alpha_everywhere_is_opaque(header: int, compression: int) -> None:
    """Windows' tools write 0 into the fourth byte."""
    ramp = np.linspace(0, 255, 224).astype(np.uint8)[np.newaxis].repeat(224, axis=0)
    colours = np.stack([ramp, ramp.T, 255 - ramp], axis=-1)
    pixels = pixels_of(bmp(colours, 0, header=header, compression=compression))
    np.testing.assert_array_equal(pixels, colours)


def test_a_bitmap_with_some_alpha_is_transparent() -> None:
    """One non-zero alpha value is enough."""
    red = np.full((224, 224, 3), (255, 0, 0), np.uint8)
    data = bytearray(bmp(red, 0, header=108, compression=3))
    data[-1] = 255
    pixels = pixels_of(bytes(data))
    assert pixels[0, -1].tolist() == [255, 0, 0]
    assert pixels[100, 100].tolist() == [255, 255, 255]


def test_an_undeclared_fourth_tiff_sample_of_zeros_is_ignored() -> None:
    """Pillow reads it as alpha; if it is 0 everywhere it is ignored."""
    image = Image.new("RGBA", (9, 9), (200, 100, 50, 0))
    data = bytearray(encoded(image, "TIFF"))
    entry = data.index(struct.pack("<HHI", 338, 3, 1))
    count = struct.unpack_from("<H", data, int.from_bytes(data[4:8], "little"))[0]
    start = int.from_bytes(data[4:8], "little")
    end = start + 2 + 12 * count
    data[entry : end - 12] = data[entry + 12 : end]
    data[end - 12 : end] = struct.pack("<HHII", 65_000, 4, 1, 0)
    assert pixels_of(bytes(data))[0, 0].tolist() == [200, 100, 50]
    assert pixels_of(encoded(image, "TIFF"))[0, 0].tolist() == [255, 255, 255]


def test_a_few_visible_pixels_of_a_large_image_determine_its_ground() -> None:
    """Only the area around them is sampled."""
    image = Image.new("RGBA", (1500, 1500))
    ImageDraw.Draw(image).rectangle((700, 700, 707, 707), fill="white")
    assert ground_of(image) == BLACK
