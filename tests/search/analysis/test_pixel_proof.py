"""Near-duplicates that are proven on their pixels, and similar images that are not."""

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import decode_whole
from lookalike_core.images.whole_image import WholeImage
from lookalike_search.analysis.pixel_proof import EDGE, coarse, is_copy, most_alike
from PIL import Image, ImageDraw, ImageFont

Change = Callable[[Image.Image], Image.Image]


def page(amount: str = "1283.40", *, size: tuple[int, int] = (620, 877)) -> Image.Image:
    """Returns a page of text with an amount in it."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for row in range(24):
        text = f"{row}. paid to the account of the office: {amount if row == 11 else 'nothing'}"
        pen.text((40, 40 + 34 * row), text, fill="black", font=ImageFont.load_default(18))
    return image


def photo(seed: int = 0, moved: int = 0) -> Image.Image:
    """Returns clouds of colour with grain, and an object in front of them."""
    random = np.random.default_rng(seed)
    clouds = Image.fromarray(random.integers(0, 255, (9, 12, 3)).astype(np.uint8)).resize((600, 450))
    image = np.asarray(clouds).astype(int) + np.random.default_rng(seed + moved).integers(
        -6, 7, (450, 600, 3)
    )
    image = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(image).rectangle((200 + moved, 200, 240 + moved, 230), fill="black", outline="white")
    return image


def drawing(ink: str = "crimson") -> Image.Image:
    """Returns a thin line, a disc and a bar."""
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    pen.line([(20, 20), (120, 250), (220, 60), (380, 280)], fill=ink, width=2)
    pen.ellipse((250, 60, 330, 140), fill="gold")
    return image


def code(seed: int) -> Image.Image:
    """Returns black and white squares."""
    modules = np.random.default_rng(seed).integers(0, 2, (25, 25)).astype(np.uint8) * 255
    return Image.fromarray(np.pad(modules, 3, constant_values=255)).resize((310, 310), 0).convert("RGB")


def artwork(radius: int, ink: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Returns a disc on a transparent ground of the same colour."""
    image = Image.new("RGBA", (300, 300), (*ink, 0))
    ImageDraw.Draw(image).ellipse((150 - radius, 150 - radius, 150 + radius, 150 + radius), fill=(*ink, 255))
    return image


def mask(seed: int) -> Image.Image:
    """Returns a segmentation mask: class numbers, nearly black to the eye."""
    random, image = np.random.default_rng(seed), Image.new("L", (400, 300))
    pen = ImageDraw.Draw(image)
    for number in range(1, 4):
        x, y = random.integers((0, 0), (300, 200)).tolist()
        pen.ellipse((x, y, x + 80, y + 60), fill=number)
    return image


def note(words: str) -> Image.Image:
    """Returns pale letters."""
    image = Image.new("RGB", (600, 300), "white")
    ImageDraw.Draw(image).text((40, 80), words, fill=(240, 240, 240), font=ImageFont.load_default(24))
    return image


def swatch(red: int) -> Image.Image:
    """Returns an image of one colour."""
    return Image.new("RGB", (300, 300), (red, 40, 60))


def line_plot(ink: str) -> Image.Image:
    """Returns a line of 2 pixels with axes."""
    image = Image.new("RGB", (640, 480), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((80, 60, 600, 420), outline="black")
    ups = np.random.default_rng(1).normal(0, 12, 53).cumsum()
    pen.line([(80 + 10 * x, 240 + up) for x, up in enumerate(ups)], fill=ink, width=2)
    return image


def whole(image: Image.Image, kind: str = "PNG", **options: Any) -> WholeImage:
    """Returns the image as it is read from a file of that format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return decode_whole(file, "x", edge=EDGE)


def smaller(image: Image.Image, part: float, way: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """Returns the image reduced by a factor."""
    return image.resize((round(part * image.width), round(part * image.height)), way)


IMAGES = {"page": page(), "photo": photo(), "drawing": drawing(), "code": code(1)}


@functools.cache
def original(name: str) -> WholeImage:
    """Returns one of `IMAGES` as it is read, read once."""
    return whole(IMAGES[name])


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 60}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("WEBP", {"quality": 60}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PNG", {}),
    ],
)
def test_recompressed_and_converted_images_are_near_duplicates(name: str, kind: str, options: Any) -> None:
    """This holds for text and line drawings as for photos."""
    assert is_copy(original(name), whole(IMAGES[name], kind, **options))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("way", [way for way in Image.Resampling if way.name != "HAMMING"])
@pytest.mark.parametrize("part", [0.5, 0.75])
def test_reduced_images_are_near_duplicates(name: str, way: Image.Resampling, part: float) -> None:
    """This holds for every way of resampling."""
    assert is_copy(original(name), whole(smaller(IMAGES[name], part, way)))


@pytest.mark.parametrize("part", [0.5, 0.2])
def test_a_large_image_is_compared_with_a_small_one(part: float) -> None:
    """The large one exceeds the size that images are decoded to for the comparison."""
    large = photo().resize((2400, 1800), Image.Resampling.BICUBIC)
    assert is_copy(whole(large), whole(smaller(large, part), "JPEG", quality=80))


def test_a_palette_image_is_a_near_duplicate() -> None:
    """A GIF of an image with few colours loses nothing."""
    assert is_copy(whole(drawing()), whole(drawing(), "GIF"))


def test_an_image_rotated_by_exif_is_a_near_duplicate() -> None:
    """Images are compared as they are displayed; pixels rotated without metadata are no near-duplicate."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = page().transpose(Image.Transpose.ROTATE_90)
    assert is_copy(whole(page()), whole(turned, "JPEG", quality=90, exif=exif))
    assert not is_copy(whole(page()), whole(turned, "JPEG", quality=90))


DIFFERENT = {
    "one digit": (page("1283.40"), page("1288.40")),
    "other digits": (page("1283.40"), page("0.99")),
    "another code": (code(1), code(2)),
    "another ink": (drawing("crimson"), drawing("seagreen")),
    "an ink of the same lightness": (drawing("royalblue"), drawing("teal")),
    "something moved": (photo(), photo(moved=12)),
    "another scene": (photo(), photo(5)),
    "mirrored": (photo(), photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "upside down": (photo(), photo().transpose(Image.Transpose.ROTATE_180)),
    "cropped": (photo(), photo().crop((12, 9, 600, 450))),
    "cropped and enlarged": (photo(), photo().crop((12, 9, 588, 441)).resize((600, 450))),
    "drawn wider": (photo(), photo().resize((600, 500))),
    "darker": (photo(), photo().point(lambda value: value * 0.85)),
    "slightly lighter": (photo(), photo().point(lambda value: min(255, value + 9))),
    "another mask": (mask(1), mask(2)),
    "another scene in the dark": tuple(photo(seed).point(lambda value: value // 18) for seed in (0, 5)),
    "pale text": (note("code 602 711"), note("code 847 395")),
    "another plain colour": (swatch(150), swatch(158)),
    "things in a colour that is near": (artwork(100, (93, 77, 84)), artwork(100, (84, 93, 77))),
    "green and blue of one lightness": (line_plot("seagreen"), line_plot("teal")),
    "grey": (photo(), photo().convert("L").convert("RGB")),
    "white artwork": (artwork(100), artwork(90)),
    "black artwork": (artwork(100, (0, 0, 0)), artwork(90, (0, 0, 0))),
    "on no ground any more": (artwork(100), Image.new("RGB", (300, 300), "white")),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_images_are_no_near_duplicates(name: str) -> None:
    """Neither is a near-duplicate of the other, in the same or in a reduced size."""
    one, other = DIFFERENT[name]
    first, second = whole(one), whole(other)
    assert not is_copy(first, second)
    assert not is_copy(second, first)
    assert not is_copy(first, whole(smaller(other, 0.5)))
    assert not is_copy(second, whole(smaller(one, 0.5)))


def test_transparency_has_to_agree() -> None:
    """White on a transparent ground cannot be told from a white image without the alpha channel."""
    assert is_copy(whole(artwork(100)), whole(artwork(100), "WEBP", quality=60))
    assert is_copy(whole(artwork(100)), whole(smaller(artwork(100), 0.5)))
    opaque = page().convert("RGBA")
    assert is_copy(whole(page()), whole(opaque))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_files_with_several_frames_or_pages_are_never_redundant(kind: str) -> None:
    """The first frame or page proves nothing about the others."""
    frames = {"save_all": True, "append_images": [drawing("seagreen")]}
    several = whole(drawing(), kind, **frames)
    assert not is_copy(several, whole(drawing()))
    assert not is_copy(whole(drawing()), several)
    assert not is_copy(several, whole(drawing(), kind, **frames))


def test_a_photo_with_further_views_makes_a_plain_one_redundant() -> None:
    """Phones store a second view in the same JPEG, which would be lost the other way round."""
    views = whole(photo(), "MPO", save_all=True, append_images=[photo(3)], quality=90)
    assert is_copy(views, whole(photo(), "JPEG", quality=60))
    assert not is_copy(whole(photo()), views)


def test_deeper_and_larger_images_are_not_redundant() -> None:
    """16 bits a sample and more pixels would be lost; the plainer, smaller image may be redundant."""
    shades = np.tile(np.linspace(0, 65_535, 200), (150, 1)).astype(np.uint16)
    deep, flat = Image.fromarray(shades), Image.fromarray((shades >> 8).astype(np.uint8))
    assert is_copy(whole(deep), whole(flat))
    assert not is_copy(whole(flat), whole(deep))
    assert not is_copy(whole(smaller(photo(), 0.5)), whole(photo()))


def test_low_contrast_images_match_themselves() -> None:
    """Lossless conversion is proven; a mask that lacks one number is another image."""
    for image in (mask(1), photo().point(lambda value: value // 18), swatch(150), note("code 602 711")):
        assert is_copy(whole(image), whole(image, "BMP"))
    changed = mask(1).point(lambda value: 0 if value == 3 else value)
    assert not is_copy(whole(mask(1)), whole(changed))


def test_content_in_the_lower_bits_is_not_proven() -> None:
    """Of 12-bit content stored in 16 bits, the comparison of the upper eight sees next to nothing."""
    levels = np.asarray(photo().convert("L")).astype(np.uint16) * 16
    scan = Image.fromarray(levels)
    assert not is_copy(whole(scan), whole(scan, "TIFF"))
    assert is_copy(whole(Image.fromarray(levels * 16)), whole(Image.fromarray(levels * 16), "TIFF"))


def test_a_thumbnail_that_lost_small_type_is_no_near_duplicate() -> None:
    """It is more than five times smaller than the original."""
    assert not is_copy(whole(page()), whole(smaller(page(), 0.15)))


def test_candidates_are_ranked_by_likeness_and_different_ones_dropped() -> None:
    """A few pixels of each image decide; small images are all kept."""
    images = [whole(each) for each in (photo(5), photo(), smaller(photo(), 0.5))]
    others = np.stack([coarse(each) for each in images])
    assert most_alike(images[1], coarse(images[1]), others).tolist() == [1, 2]
    symbol = whole(smaller(photo(), 0.1))
    assert sorted(most_alike(symbol, coarse(symbol), others).tolist()) == [0, 1, 2]
