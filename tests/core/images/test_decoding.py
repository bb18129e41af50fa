"""Decoding of real files of every format, intact and damaged, into what a viewer shows."""

import io
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from lookalike_core.errors import ImageError, MissingDecoderError, SkipReason
from lookalike_core.images import decoders
from lookalike_core.images import decoding as images
from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.preparation import BandSizes
from lookalike_core.models.backbones import RESNET101V2, VGG16
from lookalike_core.models.preprocessing import preprocessing_id
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]

LOSSY_TOLERANCE = 6
"""Levels of 255 by which a rotated JPEG or AVIF of quality 95 differs from its original."""

COLOUR_TOLERANCE = 1
"""Levels of 255: blending with white may round in either direction."""

WHITE, RED, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 0)

# Pillow warns of broken metadata. Commands switch that off for their whole process, pytest switches it on.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

# EXIF says where row 0 and column 0 of the stored image belong; this stores an upright image so.
STORED_AS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the bytes of a file of this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes, name: str, **options: Any) -> DecodedImage:
    """Returns the decoded image."""
    return images.decode(io.BytesIO(data), name, **options)


def asymmetric() -> Array:
    """Returns uint8 `[48, 80, 3]` that every rotation and reflection changes."""
    image = np.zeros((48, 80, 3), np.uint8)
    image[:24, :40], image[:24, 40:] = (200, 30, 30), (30, 200, 30)
    image[24:, :40], image[24:, 40:] = (30, 30, 200), (120, 200, 220)
    return image


def noise(height: int = 120, width: int = 160) -> Image.Image:
    """Returns an image that no format compresses much."""
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def with_key(image: Image.Image, key: bytes) -> bytes:
    """Returns a PNG with one transparent colour."""
    return inserted(encoded(image, "PNG"), b"tRNS", key)


def inserted(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Returns a PNG with one more chunk after its header."""
    return png[:33] + chunk(kind, content) + png[33:]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a PNG chunk."""
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png_of(*, depth: int, colour: int, row: bytes) -> bytes:
    """Returns a PNG of 8 x 8 pixels with equal rows, in a depth that Pillow does not write."""
    header = (8).to_bytes(4) * 2 + bytes([depth, colour, 0, 0, 0])
    pixels = zlib.compress((b"\0" + row) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def turned(orientation: int, kind: str, **options: Any) -> bytes:
    """Returns the asymmetric image, stored rotated with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](asymmetric())))
    return encoded(stored, kind, exif=exif.tobytes(), **options)


def promising(width: int, height: int) -> bytes:
    """Returns the header of a black and white image of this size, without pixels."""
    data = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    data[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(data)


def reason_of(data: bytes, **options: Any) -> SkipReason:
    """Returns the reason that the bytes cannot be decoded; checks that the message names the file."""
    with pytest.raises(ImageError, match=r"photo\.jpg") as refused:
        decode(data, "photo.jpg", **options)
    return refused.value.reason


def largest_difference(one: Array, other: Array) -> int:
    """Returns the largest difference in levels of 255."""
    return int(np.abs(one.astype(int) - other).max())


def cosine(one: Array, other: Array) -> float:
    """Returns the cosine similarity of two images' pixels."""
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def assert_filled(data: bytes, colour: tuple[int, int, int], *, tolerance: int = 0) -> None:
    """Asserts that every pixel of the decoded image has this colour."""
    image = decode(data, "filled")
    assert image.pixels.shape == (224, 224, 3)
    assert image.pixels.dtype == np.uint8
    assert largest_difference(image.pixels, np.array(colour)) <= tolerance


def test_an_image_becomes_a_square_of_rgb_bytes_and_its_own_size_is_kept() -> None:
    """Pixels are the network's input; width and height go into the payload."""
    image = decode(encoded(Image.fromarray(asymmetric()), "PNG"), "a.png")
    assert (image.width, image.height) == (80, 48)
    assert image.pixels.shape == (224, 224, 3)
    assert image.pixels.dtype == np.uint8
    assert image.pixels[10, 10].tolist() == [200, 30, 30]
    assert image.pixels[-10, -10].tolist() == [120, 200, 220]


def test_an_image_is_centre_cropped_without_distortion() -> None:
    """The ADR on preprocessing gives the reasons; the preprocessing id names this preparation."""
    stripes = np.zeros((100, 1000, 3), np.uint8)
    stripes[:, :440], stripes[:, 500:550] = 200, 255
    pixels = decode(encoded(Image.fromarray(stripes), "PNG"), "wide.png").pixels
    assert (pixels[:, 4:108] < 5).all()
    assert (pixels[:, 116:220] > 250).all()


def test_each_backbone_names_its_own_preprocessing() -> None:
    """Image preparation and normalization are part of the identity."""
    names = [preprocessing_id(RESNET101V2), preprocessing_id(VGG16)]
    assert names == ["crop-bicubic-224-srgb+tf", "crop-bicubic-224-srgb+caffe"]


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, LOSSY_TOLERANCE),
        ("AVIF", {"quality": 95}, LOSSY_TOLERANCE),
    ],
    ids=["png", "webp", "tiff", "tiff-lzw", "jpeg", "avif"],
)
def test_every_exif_orientation_is_applied(
    orientation: int, kind: str, options: dict[str, Any], tolerance: int
) -> None:
    """All eight orientations give the upright image and its size."""
    upright = decode(encoded(Image.fromarray(asymmetric()), kind, **options), "upright")
    image = decode(turned(orientation, kind, **options), "turned")
    assert (image.width, image.height) == (80, 48)
    assert largest_difference(image.pixels, upright.pixels) <= tolerance


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_exif_orientation_is_ignored(orientation: int) -> None:
    """Some cameras write 0."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = Image.fromarray(asymmetric())
    turned_to_nowhere = decode(encoded(plain, "PNG", exif=exif), "a.png")
    assert (turned_to_nowhere.pixels == decode(encoded(plain, "PNG"), "a.png").pixels).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
        b"Exif\0\0rubbish that is no TIFF at all",
    ],
    ids=["empty", "cut-short", "endless-count", "orientation-is-text", "rubbish"],
)
def test_broken_exif_is_ignored(kind: str, exif: bytes) -> None:
    """The image is decoded all the same."""
    plain = Image.fromarray(asymmetric())
    with_exif = decode(encoded(plain, kind, exif=exif), "a.jpg")
    assert (with_exif.pixels == decode(encoded(plain, kind), "a.jpg").pixels).all()


def test_an_orientation_is_applied_although_other_metadata_is_broken() -> None:
    """Editors damage tags that they do not support; here a number is given in letters."""
    exif = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
        b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"  # orientation 6
        b"\x01\x29\0\x02\0\0\0\x04abc\0"  # a page number in letters
        b"\0\0\0\0"
    )
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[6](asymmetric())))
    image = decode(encoded(stored, "PNG", exif=exif), "a.png")
    assert (image.pixels == decode(encoded(Image.fromarray(asymmetric()), "PNG"), "a.png").pixels).all()


def test_broken_exif_causes_no_warning(tmp_path: Path) -> None:
    """Warnings for a folder of such images would flood stderr."""
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"))
    program = (
        "import sys, pathlib\n"
        "from lookalike_core.cli.console import run_program\n"
        "from lookalike_core.images.decoding import decode\n"
        "def work():\n"
        "    print(decode(pathlib.Path(sys.argv[1]).open('rb'), 'a.jpg').width)\n"
        "    return 0\n"
        "run_program(work)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("160", "")


@pytest.mark.parametrize(
    ("image", "kind", "options", "colour"),
    [
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG", {}, WHITE),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 255)), "PNG", {}, RED),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 128)), "PNG", {}, (255, 127, 127)),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 128)), "WEBP", {"lossless": True}, (255, 127, 127)),
        (Image.new("LA", (9, 9), (0, 0)), "PNG", {}, WHITE),
        (Image.new("LA", (9, 9), (0, 128)), "PNG", {}, (127, 127, 127)),
        (Image.new("RGB", (9, 9), (1, 2, 3)), "PNG", {"transparency": (1, 2, 3)}, WHITE),
        (Image.new("L", (9, 9), 7), "PNG", {"transparency": 7}, WHITE),
        (Image.new("1", (9, 9), 0), "PNG", {"transparency": 0}, WHITE),
    ],
    ids=[
        "clear",
        "opaque",
        "half",
        "half-webp",
        "grey-clear",
        "grey-half",
        "rgb-key",
        "grey-key",
        "1-bit-key",
    ],
)
def test_transparent_pixels_become_white(
    image: Image.Image, kind: str, options: dict[str, Any], colour: tuple[int, int, int]
) -> None:
    """As in a browser, whatever their colour is."""
    assert_filled(encoded(image, kind, **options), colour, tolerance=COLOUR_TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "options", "colour"),
    [
        ("PNG", {}, RED),
        ("PNG", {"transparency": 1}, WHITE),
        ("PNG", {"transparency": b"\xff\x80"}, (255, 127, 127)),
        ("GIF", {"transparency": 1}, WHITE),
    ],
    ids=["opaque", "clear", "half", "gif"],
)
def test_transparent_palette_colours_become_white(
    kind: str, options: dict[str, Any], colour: tuple[int, int, int]
) -> None:
    """One index, or a table of alpha values, is transparent."""
    image = Image.new("P", (9, 9), 1)
    image.putpalette([*BLACK, *RED, *([0] * 762)])
    assert_filled(encoded(image, kind, **options), colour, tolerance=COLOUR_TOLERANCE)


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [
        (Image.new("1", (9, 9), 1), "PNG", WHITE),
        (Image.new("1", (9, 9), 0), "TIFF", BLACK),
        (Image.new("L", (9, 9), 77), "PNG", (77, 77, 77)),
        (Image.new("I;16", (9, 9), 0x8000), "PNG", (128, 128, 128)),
        (Image.new("I;16", (9, 9), 0xFFFF), "TIFF", WHITE),
        (Image.new("I;16B", (9, 9), 0x8000), "TIFF", (128, 128, 128)),
        (Image.new("I", (9, 9), 0x4000), "TIFF", (64, 64, 64)),
        (Image.new("I", (9, 9), 1_000_000), "TIFF", (244, 244, 244)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "TIFF", RED),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", RED),
        (Image.new("YCbCr", (9, 9), (100, 128, 128)), "TIFF", (100, 100, 100)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_every_pixel_mode_becomes_rgb(image: Image.Image, kind: str, colour: tuple[int, int, int]) -> None:
    """Wide greys are scaled to bytes, not clipped; CMYK is converted to RGB."""
    assert_filled(encoded(image, kind), colour, tolerance=COLOUR_TOLERANCE)


def test_a_wide_grey_may_have_a_transparent_value() -> None:
    """Only that exact value is transparent, not others with the same upper byte."""
    wide = np.array([[0x1234, 0x1200], [0xFF00, 0x1234]], np.uint16).repeat(112, 0).repeat(112, 1)
    pixels = decode(with_key(Image.fromarray(wide), b"\x12\x34"), "key.png").pixels
    corners = [int(pixels[y, x, 0]) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
    assert corners == [255, 0x12, 0xFF, 255]


@pytest.mark.parametrize(("bits", "value", "level"), [(2, 1, 85), (4, 7, 119)])
def test_a_transparent_value_of_few_bits_is_scaled_as_the_pixels_are(
    bits: int, value: int, level: int
) -> None:
    """Pillow scales such pixels to 0 to 255, but not the transparent value."""
    packed = int(f"{value:0{bits}b}" * (8 // bits), 2)
    grey = png_of(depth=bits, colour=0, row=bytes([packed]) * (8 * bits // 8))
    assert_filled(grey, (level, level, level))
    assert_filled(inserted(grey, b"tRNS", value.to_bytes(2)), WHITE)


def test_a_transparent_colour_of_16_bits_is_compared_by_its_upper_bytes() -> None:
    """Pillow keeps only the upper bytes of the pixels."""
    rgb = png_of(depth=16, colour=2, row=b"\x12\x99\x34\x99\x56\x99" * 8)
    assert_filled(rgb, (0x12, 0x34, 0x56))
    assert_filled(inserted(rgb, b"tRNS", b"\x12\x99\x34\x99\x56\x99"), WHITE)


def test_16_bit_greys_keep_their_gradation() -> None:
    """Pillow's own conversion would make nearly all of them white."""
    ramp = np.linspace(0, 65_535, 224, dtype=np.uint16)[np.newaxis].repeat(224, axis=0)
    pixels = decode(encoded(Image.fromarray(ramp), "PNG"), "ramp.png").pixels
    assert largest_difference(pixels[0, :, 0], np.linspace(0, 255, 224)) <= COLOUR_TOLERANCE


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_or_page_is_decoded(kind: str) -> None:
    """Examples are animations, scanned documents, and stereo photos."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert_filled(data, RED, tolerance=COLOUR_TOLERANCE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_an_image_that_was_cut_off_is_truncated(kind: str, share: float) -> None:
    """Half an image, from an interrupted download, would be embedded as another image."""
    data = encoded(noise(), kind)
    assert reason_of(data[: int(share * len(data))]) is SkipReason.TRUNCATED


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}], ids=str)
def test_a_jpeg_that_lacks_its_last_bytes_is_truncated(options: dict[str, Any]) -> None:
    """A progressive one looks complete long before its end."""
    assert reason_of(encoded(noise(), "JPEG", **options)[:-20]) is SkipReason.TRUNCATED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", SkipReason.EMPTY),
        (b"this is a note that somebody called photo.jpg\n", SkipReason.NOT_AN_IMAGE),
        (b"<!DOCTYPE html><title>404</title>", SkipReason.NOT_AN_IMAGE),
        (b"\0" * 4096, SkipReason.NOT_AN_IMAGE),
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", SkipReason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, SkipReason.TRUNCATED),
        (b"\xff\x0a" + b"\0" * 64, SkipReason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x0cJXL \r\n\x87\n", SkipReason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", SkipReason.UNSUPPORTED_FORMAT),
        (b"%PDF-1.7\n", SkipReason.UNSUPPORTED_FORMAT),
        (b"8BPS\0\1", SkipReason.UNSUPPORTED_FORMAT),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", SkipReason.UNSUPPORTED_FORMAT),
    ],
    ids=["empty", "text", "html", "zeros", "wav", "heic", "jxl", "jxl-box", "jp2", "pdf", "psd", "svg"],
)
def test_files_of_other_formats_are_refused_by_their_format(data: bytes, reason: SkipReason) -> None:
    """The first bytes decide, not the name."""
    assert reason_of(data) is reason


def test_a_heic_image_is_read_where_the_extra_is_installed() -> None:
    """Phones write HEIC with an EXIF orientation, which the library applies itself."""
    pillow_heif.register_heif_opener()
    for orientation in STORED_AS:
        upright = decode(encoded(Image.fromarray(asymmetric()), "HEIF", quality=95), "upright")
        image = decode(turned(orientation, "HEIF", quality=95), "IMG_0001.HEIC")
        assert (image.width, image.height) == (80, 48)
        assert largest_difference(image.pixels, upright.pixels) <= 2 * LOSSY_TOLERANCE


def test_a_heic_image_names_the_extra_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing_decoders: None
) -> None:
    """The message names the package to install."""
    pillow_heif.register_heif_opener()
    data = encoded(Image.new("RGB", (64, 64)), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        MissingDecoderError, match=r"IMG\.HEIC is HEIC; install .*lookalike\[heif\]"
    ) as refused:
        decode(data, "IMG.HEIC")
    assert refused.value.reason is SkipReason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("brands", [b"avif\0\0\0\0mif1", b"mif1\0\0\0\0avif"])
def test_an_avif_image_names_the_decoder_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing_decoders: None, brands: bytes
) -> None:
    """Some builds of Pillow lack it; AVIF may be named as a compatible brand only."""
    monkeypatch.setattr("PIL.features.check", lambda _: False)
    with pytest.raises(MissingDecoderError, match=r"a\.avif is AVIF; install a Pillow") as refused:
        decode(b"\0\0\0\x14ftyp" + brands + b"\0" * 64, "a.avif")
    assert refused.value.reason is SkipReason.UNSUPPORTED_FORMAT


@pytest.fixture
def missing_decoders() -> Iterator[None]:
    """Clears the cache of installed decoders, before and after the test."""
    lookups = (decoders._can_read_heif, decoders._can_read_avif)  # noqa: SLF001 - they remember the first answer
    for lookup in lookups:
        lookup.cache_clear()
    yield
    for lookup in lookups:
        lookup.cache_clear()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(options: dict[str, Any]) -> None:
    """The result is close to full decoding and the real size is returned, odd sizes included."""
    large = noise(45, 60).resize((2405, 1803), Image.Resampling.BICUBIC)
    data = encoded(large, "JPEG", quality=92, **options)
    image = decode(data, "large.jpg")
    assert (image.width, image.height) == (2405, 1803)
    with Image.open(io.BytesIO(data)) as whole:
        plain = ImageOps.fit(whole, (224, 224), Image.Resampling.BICUBIC)
    assert cosine(image.pixels, np.asarray(plain)) > 0.9999
    assert largest_difference(image.pixels, np.asarray(plain)) <= LOSSY_TOLERANCE


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_large_jpeg_is_set_upright(orientation: int) -> None:
    """It is transposed after scaling."""
    upright = np.asarray(noise(8, 16).resize((2405, 1803), Image.Resampling.BICUBIC))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](upright)))
    image = decode(encoded(stored, "JPEG", exif=exif, quality=92), "large.jpg")
    plain = ImageOps.fit(Image.fromarray(upright), (224, 224), Image.Resampling.BICUBIC)
    assert (image.width, image.height) == (2405, 1803)
    assert cosine(image.pixels, np.asarray(plain)) > 0.9999


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "I;16", "1"])
@pytest.mark.parametrize("size", [(700, 500), (500, 700), (3000, 400), (225, 1001)])
def test_rendering_in_bands_gives_the_same_pixels(mode: str, size: tuple[int, int]) -> None:
    """Large images are converted to RGB band by band, which saves a second full copy.

    Pillow may scale a band in the other order of axes, and rounds in between.
    """
    data = encoded(in_mode(mode, noise(6, 8).resize(size, Image.Resampling.BICUBIC)), "TIFF")
    whole = decode(data, "whole").pixels
    bands = BandSizes(whole_pixels=0, band_pixels=1)
    assert cosine(decode(data, "bands", bands=bands).pixels, whole) > 0.9999


def in_mode(mode: str, image: Image.Image) -> Image.Image:
    """Returns the image in this mode; its brightness is its alpha."""
    grey = image.convert("L")
    if mode == "I;16":
        return Image.fromarray(np.asarray(grey).astype(np.uint16) << 8)
    if mode in {"LA", "RGBA"}:
        image = image.convert(mode[:-1])
        image.putalpha(grey)
    return image.convert(mode)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_large_image_is_transposed_after_scaling(orientation: int) -> None:
    """That may differ by one level, and saves a second full copy."""
    image = decode(turned(orientation, "PNG"), "turned", bands=BandSizes(whole_pixels=0))
    upright = decode(encoded(Image.fromarray(asymmetric()), "PNG"), "upright")
    assert (image.width, image.height) == (80, 48)
    assert largest_difference(image.pixels, upright.pixels) <= 1


def test_a_jpeg_of_absurdly_many_scans_is_refused() -> None:
    """Each scan takes few bytes, but a pass over the whole image."""
    data = encoded(noise(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + last * 80 + b"\xff\xd9", "many.jpg").width == 160
    assert reason_of(data[:-2] + last * 100 + b"\xff\xd9") is SkipReason.UNSUPPORTED_FORMAT


def test_floating_point_pixels_are_refused() -> None:
    """Their range is unknown."""
    assert reason_of(encoded(Image.new("F", (9, 9), 0.5), "TIFF")) is SkipReason.UNSUPPORTED_FORMAT


def test_too_many_pixels_are_not_decoded() -> None:
    """A small file may decode to more than memory; the limit is inclusive, and configurable."""
    data = encoded(Image.new("RGB", (100, 100)), "PNG")
    assert reason_of(data, max_pixels=9_999) is SkipReason.TOO_LARGE
    assert decode(data, "photo.jpg", max_pixels=10_000).width == 100


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "HEIF"])
def test_a_format_that_takes_more_memory_has_a_lower_limit(kind: str) -> None:
    """Their decoders take four times Pillow's memory; the message states the limit."""
    pillow_heif.register_heif_opener()
    data = encoded(Image.new("RGB", (100, 100)), kind)
    assert decode(data, "photo.jpg", max_pixels=40_000).width == 100
    with pytest.raises(ImageError, match=r"100 x 100 pixels; the limit for a file of its kind is 9,999"):
        decode(data, "photo.jpg", max_pixels=39_999)


def test_a_header_of_a_gigantic_image_is_too_large() -> None:
    """Pillow's own guard against decompression bombs is bypassed, ours is active."""
    assert reason_of(promising(60_000, 60_000)) is SkipReason.TOO_LARGE
    assert reason_of(promising(60_000, 60_000), max_pixels=3_599_999_999) is SkipReason.TOO_LARGE


def test_a_raised_limit_admits_a_gigantic_image() -> None:
    """Pillow's own warning and error do not apply."""
    assert reason_of(promising(60_000, 60_000), max_pixels=3_600_000_000) is SkipReason.TRUNCATED


def test_an_image_below_our_limit_is_decoded_above_pillows_limit() -> None:
    """A header of 201 megapixels, as of some phones, can be opened."""
    assert reason_of(promising(16_384, 12_288)) is SkipReason.TRUNCATED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "AVIF"])
def test_the_hosts_own_limit_of_pixels_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit belongs to the host application; ours decides about an image."""
    data = encoded(noise(900, 700), kind)
    before = decode(data, "a").pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert (decode(data, "a").pixels == before).all()
    assert reason_of(data, max_pixels=629_999) is SkipReason.TOO_LARGE


def test_the_pillow_limit_applies_if_a_decoder_checks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """WebP's decoder checks it on opening; the message names the limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match=r"PIL\.Image\.MAX_IMAGE_PIXELS") as refused:
        decode(encoded(noise(), "WEBP"), "a.webp")
    assert refused.value.reason is SkipReason.TOO_LARGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_the_format_is_decided_by_content_and_not_by_name(kind: str) -> None:
    """A PNG that is named photo.jpg is decoded as PNG."""
    assert decode(encoded(Image.new("RGB", (9, 9), RED), kind), "photo.jpg").width == 9


def test_a_damaged_image_is_unreadable_rather_than_a_crash() -> None:
    """Any exception of Pillow becomes one of our reasons."""
    data = bytearray(encoded(noise(), "PNG"))
    data[60:200] = b"\xff" * 140
    assert reason_of(bytes(data)) in (SkipReason.UNREADABLE, SkipReason.TRUNCATED)


def test_decoding_in_threads_equals_decoding_in_one() -> None:
    """Prefetching decodes in several threads."""
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
    files = [encoded(noise(60 + i, 80), kind) for i in range(4) for kind in kinds]
    alone = [decode(data, "alone").pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(data, "together").pixels, files))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_an_image_in_memory_is_prepared_as_its_file(mode: str) -> None:
    """Images of all modes are prepared equally, and the caller's image is not changed."""
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = encoded(noise().convert(mode), kind)
    image = Image.open(io.BytesIO(data))
    prepared = images.prepare_image(image, "image")
    assert (prepared.pixels == decode(data, "file").pixels).all()
    assert (prepared.width, prepared.height) == (160, 120)
    assert (np.asarray(image) == np.asarray(Image.open(io.BytesIO(data)))).all()
    assert image.info == Image.open(io.BytesIO(data)).info


def test_the_orientation_of_an_image_in_memory_is_applied() -> None:
    """Its EXIF orientation is applied, as in a file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(STORED_AS[6](asymmetric())), "PNG", exif=exif)
    prepared = images.prepare_image(Image.open(io.BytesIO(data)), "image")
    assert (prepared.width, prepared.height) == (80, 48)
    assert (prepared.pixels == decode(data, "file").pixels).all()


def test_pixels_in_memory_are_prepared_as_a_file_of_them() -> None:
    """Uint8 `[H, W, 3]` and a PNG without a profile give the same result."""
    image = noise(300, 500)
    prepared = images.prepare_pixels(np.asarray(image), "array")
    assert (prepared.pixels == decode(encoded(image, "PNG"), "file").pixels).all()


def test_pixels_of_the_networks_size_are_unchanged() -> None:
    """They are not scaled."""
    pixels = np.asarray(noise(224, 224))
    assert (images.prepare_pixels(pixels, "array").pixels == pixels).all()


def test_an_image_in_memory_may_be_too_large_or_empty() -> None:
    """The limit is that of files."""
    with pytest.raises(ImageError) as large:
        images.prepare_image(noise(), "image", max_pixels=100)
    assert large.value.reason is SkipReason.TOO_LARGE
    with pytest.raises(ImageError) as empty:
        images.prepare_pixels(np.zeros((0, 4, 3), np.uint8), "array")
    assert empty.value.reason is SkipReason.EMPTY
