"""Colours: pixels are what a colour-managed viewer shows, whatever the colour space of the file."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
from lookalike_core.images.colour import MAX_PROFILE_BYTES, find_conversion
from lookalike_core.images.decoding import decode, decode_small, prepare_image
from lookalike_core.images.preparation import BandSizes
from lookalike_core.images.profiles import SRGB_CHROMATICITIES, Chromaticities, matrix_profile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

Array = NDArray[Any]

EXACT, LOSSY = 3, 14
"""Levels of 255: rounding in either direction, and the loss of JPEG at quality 95."""

LATE_MEAN = 0.5
"""Mean levels by which conversion after scaling differs from conversion before."""

ADOBE: Chromaticities = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
DISPLAY_P3: Chromaticities = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
PROPHOTO: Chromaticities = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
SWAPPED: Chromaticities = (0.3127, 0.3290, 0.30, 0.60, 0.64, 0.33, 0.15, 0.06)


def profile(exponent: float | None, chromaticities: Chromaticities = SRGB_CHROMATICITIES) -> bytes:
    """Returns an RGB profile."""
    made = matrix_profile(exponent, chromaticities)
    assert made is not None
    return made


def grey_profile(exponent: float) -> bytes:
    """Returns a grey profile: one curve, under D50."""
    fixed = lambda value: struct.pack(">i", round(value * 65536))  # noqa: E731
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + fixed(0.9642) + fixed(1) + fixed(0.8249)
    table = struct.pack(">I4sII4sII", 2, b"kTRC", 156, 14, b"wtpt", 172, 20)
    header = struct.pack(">I4xI12s12x4s28x", 192, 0x02400000, b"mntrGRAYXYZ ", b"acsp")
    return (header + white[8:]).ljust(128, b"\0") + table + curve + white


PROFILES = {
    "adobe": profile(563 / 256, ADOBE),
    "p3": profile(None, DISPLAY_P3),
    "prophoto": profile(1.8, PROPHOTO),
    "linear": profile(1.0),
    "swapped": profile(None, SWAPPED),
    "gamma 1.8": profile(1.8),
}


def colourful(height: int = 225, width: int = 300) -> Image.Image:
    """Returns an image with soft edges, dark and light, saturated and not."""
    random = np.random.default_rng(5)
    small = random.integers(20, 236, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the bytes of a file of this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(data: bytes, **options: Any) -> Array:
    """Returns the prepared pixels, uint8 `[224, 224, 3]`."""
    return decode(io.BytesIO(data), "image", **options).pixels


def converted(image: Image.Image, icc: bytes) -> Image.Image:
    """Returns the image converted by LittleCMS before anything else is done."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None
    return shown


def square(image: Image.Image) -> Array:
    """Returns the image as the network's input, without a profile."""
    return np.asarray(ImageOps.fit(image, (224, 224), Image.Resampling.BICUBIC).convert("RGB"))


def furthest(one: Array, other: Array) -> int:
    """Returns the largest difference of two arrays, in levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG with further chunks after its header."""
    more = (
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks
    )
    return png[:33] + b"".join(more) + png[33:]


@pytest.mark.parametrize("name", ["adobe", "p3", "linear"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 90}),
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("AVIF", {"quality": 90}),
        ("HEIF", {"quality": 90}),
    ],
    ids=["png", "tiff", "tiff-lzw", "webp-lossless", "webp", "jpeg", "jpeg-progressive", "avif", "heic"],
)
def test_an_embedded_profile_is_converted(name: str, kind: str, options: dict[str, Any]) -> None:
    """All containers that can embed a profile are tested."""
    pillow_heif.register_heif_opener()
    icc = PROFILES[name]
    data = encoded(colourful(), kind, icc_profile=icc, **options)
    with Image.open(io.BytesIO(data)) as stored:
        plain = stored.convert("RGB")
    pixels = pixels_of(data)
    assert furthest(pixels, square(converted(plain, icc))) <= EXACT
    assert furthest(pixels, square(plain)) > 2 * EXACT


@pytest.mark.parametrize("name", PROFILES)
def test_an_image_in_memory_is_converted_and_left_as_it_is(name: str) -> None:
    """The result equals that of its file, and the caller's image keeps its values."""
    data = encoded(colourful(), "PNG", icc_profile=PROFILES[name])
    image = Image.open(io.BytesIO(data))
    before = np.asarray(image).copy()
    assert (prepare_image(image, "image").pixels == pixels_of(data)).all()
    assert (np.asarray(image) == before).all()


@pytest.mark.parametrize("name", PROFILES)
def test_a_large_image_may_be_converted_after_scaling(name: str) -> None:
    """The difference is small, and the conversion takes a hundredth of the time."""
    image, icc = colourful(900, 1200), PROFILES[name]
    pixels, shown = pixels_of(encoded(image, "PNG", icc_profile=icc)), square(converted(image, icc))
    assert np.abs(pixels.astype(int) - shown).mean() <= LATE_MEAN
    if name in ("linear", "prophoto", "gamma 1.8"):
        assert furthest(pixels, shown) <= EXACT


@pytest.mark.parametrize("name", ["adobe", "prophoto"])
def test_a_jpeg_decoded_at_a_fraction_of_its_size_is_converted(name: str) -> None:
    """Large JPEGs are decoded at half their size or less."""
    image, icc = colourful(2000, 2600), PROFILES[name]
    pixels = pixels_of(encoded(image, "JPEG", icc_profile=icc, quality=95, subsampling=0))
    assert np.abs(pixels.astype(int) - square(converted(image, icc))).mean() <= 2 * LATE_MEAN
    assert np.abs(pixels.astype(int) - square(image)).mean() > 4 * LATE_MEAN


@pytest.mark.parametrize("name", ["adobe", "linear"])
@pytest.mark.parametrize("mode", ["RGBA", "P", "PA", "L", "LA", "YCbCr"])
def test_a_profile_is_applied_in_every_mode(name: str, mode: str) -> None:
    """A palette has RGB colours; greys of a file may have an RGB profile."""
    icc, image = PROFILES[name], colourful()
    stored = image.convert(
        "L" if mode == "LA" else "P" if mode == "PA" else "RGB" if mode == "RGBA" else mode
    )
    shown = converted(stored.convert("RGB"), icc)
    if mode.endswith("A"):
        alpha = Image.linear_gradient("L").resize(image.size)
        stored.putalpha(alpha)
        shown = Image.composite(shown, Image.new("RGB", image.size, "white"), alpha)
    kind = "TIFF" if mode in ("YCbCr", "PA") else "PNG"
    assert furthest(pixels_of(encoded(stored, kind, icc_profile=icc)), square(shown)) <= 2 * EXACT


def test_a_transparent_colour_is_matched_before_conversion() -> None:
    """It is matched before colours are converted."""
    image = Image.new("RGB", (224, 224), (60, 200, 60))
    image.paste((200, 30, 30), (0, 0, 112, 224))
    data = encoded(image, "PNG", icc_profile=PROFILES["linear"], transparency=(60, 200, 60))
    pixels = pixels_of(data)
    shown = np.asarray(converted(image, PROFILES["linear"]))
    assert furthest(pixels[:, 200], np.array([255, 255, 255])) == 0
    assert furthest(pixels[:, 20], shown[0, 0]) <= EXACT


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_grey_icc_profiles_are_applied(kind: str) -> None:
    """A grey profile is one curve."""
    grey, icc = colourful().convert("L"), grey_profile(1.0)
    options = {"quality": 98} if kind == "JPEG" else {}
    pixels = pixels_of(encoded(grey, kind, icc_profile=icc, **options))
    assert furthest(pixels, square(converted(grey, icc))) <= (4 * LOSSY if kind == "JPEG" else EXACT)
    assert furthest(pixels, square(grey)) > LOSSY


def test_16_bit_greys_are_scaled_to_8_bits_before_conversion() -> None:
    """Scanners write 16-bit greys with profiles."""
    grey, icc = colourful().convert("L"), grey_profile(1.0)
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        pixels = pixels_of(encoded(wide, kind, icc_profile=icc))
        assert furthest(pixels, square(converted(grey, icc))) <= EXACT


def ink_profile() -> bytes:
    """Returns a CMYK profile with a table of the 16 corners, whose inks are lighter than sRGB's colours."""
    grid = np.array(np.meshgrid(*([[0, 1]] * 4), indexing="ij")).reshape(4, -1).T
    light = np.array([1.0, 0.95, 0.9]) * (1 - 0.7 * grid[:, :3]) * (1 - 0.8 * grid[:, 3:])
    lab = ImageCms.profileToProfile(
        Image.fromarray((255 * light).round().astype(np.uint8)[np.newaxis]),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    values = np.stack([np.asarray(band)[0] for band in lab.split()], axis=-1)
    signed = np.stack([values[:, 0], values[:, 1] ^ 128, values[:, 2] ^ 128], axis=-1)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    table += bytes(range(256)) * 4 + signed.astype(np.uint8).tobytes() + bytes(range(256)) * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(">I4xI12s12x4s28x", 144 + len(table), 0x02400000, b"prtrCMYKLab ", b"acsp")
    white = struct.pack(">3i", 63190, 65536, 54061)
    return (header + white).ljust(128, b"\0") + tags + table


@pytest.mark.parametrize(("kind", "tolerance"), [("TIFF", EXACT), ("JPEG", LOSSY)])
def test_cmyk_profiles_are_applied(kind: str, tolerance: int) -> None:
    """JPEGs store inverted CMYK, like Adobe's."""
    image, icc = colourful().convert("CMYK"), ink_profile()
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    pixels = pixels_of(encoded(image, kind, icc_profile=icc, **options))
    assert furthest(pixels, square(converted(image, icc))) <= tolerance
    assert furthest(pixels, square(image.convert("RGB"))) > LOSSY


@pytest.mark.parametrize(
    "icc",
    [
        b"",
        b"no profile at all",
        PROFILES["adobe"][:200],
        PROFILES["adobe"][:128] + bytes(400),
        ink_profile(),
        grey_profile(1.0),
        PROFILES["linear"] + bytes(MAX_PROFILE_BYTES),
        PROFILES["linear"].replace(b"mntrRGB ", b"linkRGB "),
    ],
    ids=["empty", "text", "cut-off", "no-tags", "of-inks", "of-greys", "absurdly-large", "of-another-class"],
)
def test_an_invalid_icc_profile_is_ignored(icc: bytes) -> None:
    """The image is decoded without it."""
    image = colourful()
    np.testing.assert_array_equal(pixels_of(encoded(image, "TIFF", icc_profile=icc)), square(image))


def test_an_icc_profile_with_a_missing_segment_is_ignored() -> None:
    """A JPEG stores it in numbered segments, each with the total number."""
    image = colourful()
    data = encoded(image, "JPEG", icc_profile=PROFILES["linear"])
    broken = data.replace(b"ICC_PROFILE\0\x01\x01", b"ICC_PROFILE\0\x01\x02")
    np.testing.assert_array_equal(pixels_of(broken), pixels_of(encoded(image, "JPEG")))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_an_srgb_profile_changes_no_pixel(mode: str) -> None:
    """Pixels stay equal for profiles of several makers."""
    image = colourful().convert(mode)
    plain = pixels_of(encoded(image, "PNG"))
    for icc in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), profile(None)):
        np.testing.assert_array_equal(pixels_of(encoded(image, "PNG", icc_profile=icc)), plain)


def gama(value: int) -> tuple[bytes, bytes]:
    """Returns the content of a PNG's gAMA chunk."""
    return b"gAMA", value.to_bytes(4)


def chrm(chromaticities: Chromaticities) -> tuple[bytes, bytes]:
    """Returns the content of a PNG's cHRM chunk."""
    return b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in chromaticities))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16"])
@pytest.mark.parametrize("value", [100_000, 55_556])
def test_the_gamma_of_a_png_is_applied(mode: str, value: int) -> None:
    """Linear light is the sample to the power of 1 / gamma."""
    image = colourful().convert("L" if mode in ("L", "LA", "I;16") else "RGB")
    samples = image.convert("P") if mode == "P" else image
    light = (np.asarray(samples.convert("RGB")) / 255) ** (100_000 / value)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    stored = (
        Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        if mode == "I;16"
        else samples.convert(mode)
    )
    pixels = pixels_of(with_chunks(encoded(stored, "PNG"), gama(value)))
    assert furthest(pixels, square(Image.fromarray((255 * shown).round().astype(np.uint8)))) <= EXACT


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(45_455)],
        [gama(45_000)],
        [gama(45_455), chrm(SRGB_CHROMATICITIES)],
        [chrm(SRGB_CHROMATICITIES)],
        [gama(100_000), (b"sRGB", b"\0")],
        [gama(0)],
        [gama(4_000_000_000)],
        [gama(100_000), chrm((0.3, 0.3, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0))],
        [gama(100_000), chrm((0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3))],
    ],
    ids=["usual", "rounded", "srgb", "primaries", "srgb-chunk", "none", "absurd", "no-light", "no-colours"],
)
def test_a_png_gamma_of_srgb_or_nonsense_is_ignored(chunks: list[tuple[bytes, bytes]]) -> None:
    """Ignored are the gamma of sRGB, implausible values, and a gamma beside an sRGB chunk."""
    image = colourful()
    plain = encoded(image, "PNG")
    np.testing.assert_array_equal(pixels_of(with_chunks(plain, *chunks)), pixels_of(plain))


def test_the_primaries_of_a_png_are_applied() -> None:
    """Primaries are applied with a gamma and alone."""
    image = colourful()
    plain = encoded(image, "PNG")
    for chunks, icc in (
        ((gama(45_455), chrm(DISPLAY_P3)), PROFILES["p3"]),
        ((chrm(DISPLAY_P3),), PROFILES["p3"]),
        ((gama(100_000), chrm(ADOBE)), profile(1.0, ADOBE)),
    ):
        assert furthest(pixels_of(with_chunks(plain, *chunks)), square(converted(image, icc))) <= EXACT


def test_the_profile_of_a_png_overrides_its_gamma() -> None:
    """Files have both, for readers that support only the older one."""
    image, icc = colourful(), PROFILES["p3"]
    plain = encoded(image, "PNG", icc_profile=icc)
    np.testing.assert_array_equal(pixels_of(with_chunks(plain, gama(100_000))), pixels_of(plain))


@pytest.mark.parametrize("name", ["adobe", "linear"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_thumbnails_are_converted_too(name: str, mode: str) -> None:
    """Thumbnails show what the network gets."""
    icc, image = PROFILES[name], colourful()
    stored = image.convert(mode)
    small = decode_small(io.BytesIO(encoded(stored, "PNG", icc_profile=icc)), "image", edge=100)
    shown = converted(stored.convert("RGB"), icc).resize((100, 75), Image.Resampling.BICUBIC)
    assert furthest(np.asarray(small), np.asarray(shown)) <= 2 * EXACT


@pytest.mark.parametrize("name", ["p3", "linear"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "L"])
def test_converting_in_bands_equals_converting_the_whole_image(name: str, mode: str) -> None:
    """Large images are converted to RGB band by band."""
    icc = ink_profile() if mode == "CMYK" else PROFILES[name]
    data = encoded(colourful(600, 700).convert(mode), "TIFF", icc_profile=icc)
    whole = pixels_of(data)
    assert furthest(pixels_of(data, bands=BandSizes(whole_pixels=0, band_pixels=1)), whole) <= 2


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_with_an_orientation_is_converted(orientation: int) -> None:
    """Photos of phones usually have both an orientation and a profile."""
    icc, image, exif = PROFILES["p3"], colourful(), Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "PNG", icc_profile=icc, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    assert furthest(pixels_of(data), square(converted(upright, icc))) <= EXACT


def test_converting_in_threads_equals_converting_in_one() -> None:
    """Threads share the cached transforms."""
    files = [
        encoded(colourful().convert(mode), "TIFF", icc_profile=icc)
        for icc in PROFILES.values()
        for mode in ("RGB", "RGBA", "L")
    ]
    alone = [pixels_of(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(pixels_of, files * 4))
    for number, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[number % len(files)])


def test_an_image_without_a_profile_makes_no_call_to_littlecms() -> None:
    """Nearly all images have none."""
    with Image.open(io.BytesIO(encoded(colourful(), "PNG"))) as image:
        assert find_conversion(image) is None
