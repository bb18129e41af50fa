"""Animations: the first frame with visible content is embedded, after a bounded search."""

import io
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import DecodedImage, decode, decode_small
from lookalike_core.images.frames import find_frame
from lookalike_core.images.profiles import matrix_profile
from PIL import Image, ImageDraw

CODING_TOLERANCE = 24
"""Levels of 255 by which a lossy or palette copy differs from a smooth image."""

KINDS = {
    "GIF": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 90},
}
"""Formats that Pillow writes animations in, with options for little loss."""


def shown() -> Image.Image:
    """Returns an image with a bright and a dark half."""
    image = Image.new("RGB", (96, 64), (30, 60, 200))
    ImageDraw.Draw(image).rectangle((0, 0, 47, 63), fill=(250, 220, 30))
    return image


def plain(colour: str | tuple[int, ...], mode: str = "RGB") -> Image.Image:
    """Returns a frame of one colour."""
    return Image.new(mode, (96, 64), colour)


def animation(kind: str, images: Sequence[Image.Image], **options: Any) -> bytes:
    """Returns the bytes of an animation of these frames."""
    file = io.BytesIO()
    options = KINDS[kind] | {"save_all": True, "append_images": images[1:], "duration": 50} | options
    images[0].save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> DecodedImage:
    """Returns the decoded image of a file."""
    return decode(io.BytesIO(data), "moving")


def still(image: Image.Image) -> DecodedImage:
    """Returns the decoded image of a file with this image only."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return decoded(file.getvalue())


def difference(one: DecodedImage, other: DecodedImage) -> int:
    """Returns the 95th percentile of differences in levels of 255; coding blurs edges."""
    return int(np.percentile(np.abs(one.pixels.astype(int) - other.pixels), 95))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", ["black", "white", (118, 20, 60)])
def test_leading_frames_of_one_colour_are_skipped(kind: str, colour: Any) -> None:
    """Animations fade in; all of them would have the same embedding."""
    data = animation(kind, [plain(colour), plain("black"), shown(), plain("red")])
    assert difference(decoded(data), still(shown())) <= CODING_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_frame_with_visible_content_is_used(kind: str) -> None:
    """A line of text on black is enough."""
    first = plain("black")
    ImageDraw.Draw(first).text((10, 20), "once upon a time", fill="white")
    data = animation(kind, [first, shown(), shown().rotate(180)])
    assert difference(decoded(data), still(first)) <= CODING_TOLERANCE


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_wholly_transparent_frames_are_skipped(kind: str) -> None:
    """Their colours do not matter."""
    clear = shown().convert("RGBA")
    clear.putalpha(0)
    data = animation(kind, [clear, shown().convert("RGBA")])
    assert difference(decoded(data), still(shown())) <= CODING_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_nearly_one_colour_are_skipped(kind: str) -> None:
    """Examples are the first steps out of black, and noise of coding and sensors."""
    dark = Image.blend(plain("black"), shown(), 0.02)
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 6, (64, 96, 3), dtype=np.uint8))
    data = animation(kind, [plain("black"), noisy, dark, shown()])
    assert difference(decoded(data), still(shown())) <= CODING_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_frame_is_used_if_all_are_of_one_colour(kind: str) -> None:
    """An image of one colour is valid."""
    data = animation(kind, [plain("lime"), plain("red"), plain("blue")])
    assert difference(decoded(data), still(plain("lime"))) <= CODING_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_a_thumbnail_shows_the_frame_that_is_embedded(kind: str) -> None:
    """Its first frame is black."""
    data = animation(kind, [plain("black"), shown()])
    small = decode_small(io.BytesIO(data), "moving", edge=48)
    assert small.size == (48, 32)
    assert np.ptp(np.asarray(small)) > 100


def chosen(data: bytes, **limits: int) -> int | None:
    """Returns the number of the chosen frame, within limits of the test."""
    with Image.open(io.BytesIO(data)) as image:
        return find_frame(image, sound=lambda: image.n_frames, **limits)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_examined_frames_is_limited(kind: str) -> None:
    """The search ends at the limit even in a long film in black."""
    blank = [plain((level, 0, 0)) for level in (0, 9, 18)]
    assert chosen(animation(kind, [*blank[:2], shown()]), max_frames=3) == 2
    assert chosen(animation(kind, [*blank, shown()]), max_frames=3) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_examined_pixels_is_limited(kind: str) -> None:
    """Fewer large frames are examined."""
    late = animation(kind, [plain("black"), plain((9, 0, 0)), shown()])
    assert chosen(late, max_pixels=3 * 96 * 64) == 2
    assert chosen(late, max_pixels=3 * 96 * 64 - 1) == 0


def test_large_composed_frames_are_not_examined() -> None:
    """Pillow holds several copies to compose them, which may exceed memory."""
    data = animation("GIF", [plain("black"), shown()])
    assert chosen(data, max_frame_pixels=96 * 64) == 1
    assert chosen(data, max_frame_pixels=96 * 64 - 1) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_later_frame_ends_the_search(kind: str) -> None:
    """The first frame is decoded all the same."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    data = animation(kind, [plain("black"), noise, noise.rotate(180)])
    kept = len(data) // 3
    data = data[:kept] + bytes(len(data) - kept)  # a WebP's length is checked before anything is decoded
    assert decoded(data).pixels.shape == (224, 224, 3)


def test_a_frame_that_reaches_far_beyond_a_gif_ends_the_search() -> None:
    """Pillow would allocate memory for it."""
    data = bytearray(animation("GIF", [plain("black"), shown()]))
    second = data.index(b",", data.index(b",") + 9 + 1)
    while data[second + 5 : second + 9] != b"\x60\0\x40\0":
        second = data.index(b",", second + 1)
    data[second + 5 : second + 9] = b"\xff\xff\xff\xff"
    assert difference(decoded(bytes(data)), still(plain("black"))) <= CODING_TOLERANCE


def test_a_partial_gif_frame_is_composed_with_the_one_before() -> None:
    """A GIF's second frame may contain only what has changed."""
    data = animation("GIF", [plain("black"), shown()])
    assert difference(decoded(data), still(shown())) <= CODING_TOLERANCE
    base = Image.new("P", (96, 64), 0)
    base.putpalette([0, 0, 0, 250, 220, 30])
    patch = Image.new("P", (96, 64), 0)
    patch.putpalette([0, 0, 0, 250, 220, 30])
    patch.paste(1, (48, 0, 96, 64))
    file = io.BytesIO()
    base.save(file, "GIF", save_all=True, append_images=[patch], disposal=1)
    expected = plain("black")
    expected.paste((250, 220, 30), (48, 0, 96, 64))
    assert difference(decoded(file.getvalue()), still(expected)) <= CODING_TOLERANCE


# --- animated PNG ---


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a PNG chunk."""
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def apng_beside(default: Image.Image, first: Image.Image, *, numbers: tuple[int, int] = (0, 1)) -> bytes:
    """Returns an animated PNG of one frame, whose default image is not part of the animation."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", default.width.to_bytes(4) + default.height.to_bytes(4) + b"\x08\x02\0\0\0"
    )
    control, data = (number.to_bytes(4) for number in numbers)
    place = first.width.to_bytes(4) + first.height.to_bytes(4) + bytes(8) + b"\0\x05\0\x64\0\0"
    return b"".join(
        [
            head,
            chunk(b"acTL", b"\0\0\0\x01\0\0\0\0"),
            chunk(b"IDAT", packed(default)),
            chunk(b"fcTL", control + place),
            chunk(b"fdAT", data + packed(first)),
            chunk(b"IEND", b""),
        ]
    )


def packed(image: Image.Image) -> bytes:
    """Returns the compressed pixels of an RGB image as in a PNG."""
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(image)))


def test_the_default_image_of_an_apng_outside_its_animation_is_skipped() -> None:
    """Viewers that support animations never show the default image."""
    data = apng_beside(plain("red"), shown())
    assert difference(decoded(data), still(shown())) == 0


def test_the_default_image_of_an_apng_is_used_if_the_animation_is_damaged() -> None:
    """Browsers do the same."""
    data = apng_beside(shown(), plain("red"), numbers=(7, 3))
    assert difference(decoded(data), still(shown())) == 0


SWAPPED = matrix_profile(None, (0.3127, 0.329, 0.30, 0.60, 0.64, 0.33, 0.15, 0.06))
"""A profile that swaps red and green."""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_a_later_frame_has_the_profile_and_orientation_of_its_file(kind: str) -> None:
    """The file is opened again for it, and its metadata must not be lost."""
    exif = Image.Exif()
    exif[0x0112] = 6
    said: dict[str, Any] = {"icc_profile": SWAPPED}
    if kind != "AVIF":  # Pillow does not survive writing that
        said["exif"] = exif.tobytes()
    later = decoded(animation(kind, [plain("black"), shown(), plain("red")], **said))
    first = decoded(animation(kind, [shown(), plain("red")], **said))
    assert (later.width, later.height) == (first.width, first.height)
    assert difference(later, first) <= CODING_TOLERANCE
    assert difference(later, decoded(animation(kind, [shown(), plain("red")]))) > CODING_TOLERANCE


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Returns a PNG with chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    "said",
    [(b"gAMA", (100_000).to_bytes(4)), (b"tRNS", b"\0\x1e\0\x3c\0\xc8")],
    ids=["gamma", "a transparent colour"],
)
def test_a_later_frame_of_a_png_has_the_files_gamma_and_transparency(said: tuple[bytes, bytes]) -> None:
    """The gamma and the transparent colour apply to it."""
    extra = chunk(*said)
    later = decoded(with_chunks(animation("PNG", [plain("black"), shown(), plain("red")]), extra))
    first = decoded(with_chunks(animation("PNG", [shown(), plain("red")]), extra))
    assert difference(later, first) <= CODING_TOLERANCE
    assert difference(later, still(shown())) > CODING_TOLERANCE
