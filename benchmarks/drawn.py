"""Draws images that look alike and differ, of eleven kinds, each from its own seed, for `duplicates.py`.

All images of a kind differ in content that must not be lost: a word, a digit, a square of a code, a line of
a plot, an object that moved.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Random = np.random.Generator
Draw = Callable[[int], Image.Image]

_TEXT = (
    "river invoice total contract garden payment window market number letter report account customer summer "
    "the of and to in is was for on with as by at from which paper street office delivery order item price"
)
WORDS = _TEXT.split()
INKS = ("crimson", "seagreen", "royalblue", "goldenrod", "purple", "black", "teal", "chocolate")


def page_of_text(number: int) -> Image.Image:
    """Returns a scanned page: the layout is the same for all, the words differ."""
    random = np.random.default_rng((1, number))
    page = Image.new("RGB", (827, 1170), "white")
    pen = ImageDraw.Draw(page)
    for top in range(80, 1080, 26):
        pen.text((80, top), _sentence(random, 10), fill="black", font=_font(17))
    return page


def filled_form(number: int) -> Image.Image:
    """Returns a printed form: few fields differ, by a single digit between neighbouring numbers."""
    random = np.random.default_rng((2, number // 4))
    form = Image.new("RGB", (827, 1170), "white")
    pen = ImageDraw.Draw(form)
    pen.text((60, 40), "Application for reimbursement", fill="black", font=_font(30))
    amount = int(random.integers(10_000, 99_990)) // 10 * 10 + number % 4
    fields = [_sentence(random, 2) for _ in range(10)] + [f"{amount / 100:.2f}"]
    for row, text in enumerate(fields):
        top = 140 + 80 * row
        pen.text((60, top), f"Field {row + 1}", fill=(70, 70, 70), font=_font(18))
        pen.rectangle((220, top - 8, 760, top + 40), outline="black", width=2)
        pen.text((235, top + 2), text, fill=(20, 20, 120), font=_font(22))
    return form


def code(number: int) -> Image.Image:
    """Returns a square code or a bar code with its label; the payload is random."""
    random = np.random.default_rng((3, number))
    return _square_code(random) if number % 2 else _bar_code(random)


def _square_code(random: Random) -> Image.Image:
    modules = random.integers(0, 2, (29, 29)).astype(bool)
    for top, left in ((0, 0), (0, 22), (22, 0)):
        modules[top : top + 7, left : left + 7] = True
        modules[top + 1 : top + 6, left + 1 : left + 6] = False
        modules[top + 2 : top + 5, left + 2 : left + 5] = True
    pixels = np.where(np.pad(modules, 4), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).convert("RGB")


def _bar_code(random: Random) -> Image.Image:
    image = Image.new("RGB", (420, 200), "white")
    pen = ImageDraw.Draw(image)
    left = 20
    for width, gap in (random.integers(1, 4, (46, 2)) * 2).tolist():
        pen.rectangle((left, 15, left + width - 1, 150), fill="black")
        left += width + gap
    pen.text((110, 160), "".join(map(str, random.integers(0, 10, 13))), fill="black", font=_font(24))
    return image


def line_plot(number: int) -> Image.Image:
    """Returns axes, a grid and a random curve; odd numbers repeat the last curve in another colour."""
    random = np.random.default_rng((4, number // 2))
    plot = Image.new("RGB", (640, 480), "white")
    pen = ImageDraw.Draw(plot)
    for step in range(7):
        pen.line((80, 60 + 60 * step, 600, 60 + 60 * step), fill=(225, 225, 225))
        pen.text((40, 52 + 60 * step), str(60 - 10 * step), fill="black", font=_font(14))
        pen.text((72 + 80 * step, 430), str(step * 5), fill="black", font=_font(14))
    pen.rectangle((80, 60, 600, 420), outline="black")
    heights = np.cumsum(random.normal(0, 12, 66))
    heights = 240 + np.clip(heights - heights.mean(), -170, 170)
    colours = random.permutation(len(INKS))
    pen.line(
        list(zip(range(80, 601, 8), heights.tolist(), strict=False)), fill=INKS[colours[number % 2]], width=2
    )
    return plot


def chat(number: int) -> Image.Image:
    """Returns a screenshot of a chat: the same bubbles with other words."""
    random = np.random.default_rng((5, number))
    screen = Image.new("RGB", (540, 960), (236, 229, 221))
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, 540, 80), fill=(7, 94, 84))
    pen.text((30, 24), "Anna", fill="white", font=_font(28))
    for row in range(10):
        top, left = 100 + 84 * row, 20 if row % 2 else 150
        pen.rounded_rectangle(
            (left, top, left + 370, top + 66), 14, fill="white" if row % 2 else (220, 248, 198)
        )
        pen.text((left + 16, top + 10), _sentence(random, 4), fill="black", font=_font(20))
        pen.text((left + 310, top + 42), f"12:{10 + row}", fill=(120, 120, 120), font=_font(13))
    return screen


def burst(number: int) -> Image.Image:
    """Returns one of four frames a second of a scene: new grain in each, and a small object has moved."""
    scene = _scene(np.random.default_rng((6, number // 4)), (800, 600)).copy()
    pen = ImageDraw.Draw(scene)
    random = np.random.default_rng((6, number // 4, 1))
    left, top = int(random.integers(100, 500)), int(random.integers(200, 450))
    left += 22 * (number % 4)
    pen.ellipse((left, top, left + 46, top + 40), fill=(200, 160, 120), outline=(60, 40, 30), width=3)
    return _with_grain(scene, np.random.default_rng((6, number, 2)))


def crop(number: int) -> Image.Image:
    """Returns a crop of a scene, all of one size, each slightly shifted or zoomed against the last."""
    scene = _scene(np.random.default_rng((7, number // 5)), (900, 700))
    left, top, closer = [(0, 0, 0), (24, 0, 0), (0, 24, 0), (12, 12, 24), (40, 30, 60)][number % 5]
    part = scene.crop((left, top, left + 800 - closer, top + 600 - closer * 3 // 4))
    return part.resize((800, 600), Image.Resampling.LANCZOS)


def same_centre(number: int) -> Image.Image:
    """Returns a wide or tall image, which shares its middle third with the others and nothing else."""
    centre = _scene(np.random.default_rng((8, number // 20)), (400, 400))
    sides = [_scene(np.random.default_rng((8, number, side)), (400, 400)) for side in (1, 2)]
    is_wide = number % 2 == 0
    image = Image.new("RGB", (1200, 400) if is_wide else (400, 1200))
    for place, part in zip((0, 400, 800), (sides[0], centre, sides[1]), strict=True):
        image.paste(part, (place, 0) if is_wide else (0, place))
    return image


def clear_artwork(number: int) -> Image.Image:
    """Returns white or black shapes on a transparent ground, whose hidden colour is that of the shapes."""
    random = np.random.default_rng((9, number))
    ink = (255, 255, 255) if number % 2 else (0, 0, 0)
    image = Image.new("RGBA", (300, 300), (*ink, 0))
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, radius = (int(each) for each in random.integers((60, 60, 20), (240, 240, 70)))
        sides = int(random.integers(3, 8))
        pen.regular_polygon((x, y, radius), sides, int(random.integers(0, 90)), fill=(*ink, 255))
    return image


def small_chart(number: int) -> Image.Image:
    """Returns a small image: a table of digits, bars, or an icon."""
    random = np.random.default_rng((10, number))
    return (_table, _bars, _symbol)[number % 3](random)


def _table(random: Random) -> Image.Image:
    image = Image.new("RGB", (220, 140), "white")
    pen = ImageDraw.Draw(image)
    for row in range(5):
        for column in range(4):
            box = (6 + 52 * column, 5 + 26 * row, 58 + 52 * column, 31 + 26 * row)
            pen.rectangle(box, outline=(150, 150, 150))
            pen.text((box[0] + 8, box[1] + 5), str(random.integers(100, 1000)), fill="black", font=_font(14))
    return image


def _bars(random: Random) -> Image.Image:
    image = Image.new("RGB", (200, 150), "white")
    pen = ImageDraw.Draw(image)
    for column, height in enumerate(random.integers(10, 130, 8).tolist()):
        pen.rectangle((10 + 23 * column, 145 - height, 26 + 23 * column, 145), fill="royalblue")
    return image


def _symbol(random: Random) -> Image.Image:
    grid = random.integers(0, 2, (6, 3)).astype(bool)
    pixels = np.where(np.pad(np.hstack([grid, grid[:, ::-1]]), 1), 60, 240).astype(np.uint8)
    return Image.fromarray(pixels.repeat(12, axis=0).repeat(12, axis=1)).convert("RGB")


def variant(number: int) -> Image.Image:
    """Returns an object in another colour, mirrored, rotated, or lighter."""
    random = np.random.default_rng((11, number // 5))
    image = Image.new("RGB", (480, 480), (244, 244, 240))
    pen = ImageDraw.Draw(image)
    way = ("plain", "coloured", "mirrored", "turned", "darker")[number % 5]
    ink = random.integers(40, 200, 3)
    if way == "coloured":
        ink = np.roll(ink, 1) if len({*ink.tolist()}) > 1 else 255 - ink
    for _ in range(6):
        x, y, radius = (int(each) for each in random.integers((80, 80, 20), (400, 400, 80)))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius // 2), fill=tuple(ink.tolist()))
    if way == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if way == "turned":
        return image.transpose(Image.Transpose.ROTATE_90)
    return image.point(lambda value: value * 0.85) if way == "darker" else image


KINDS: dict[str, Draw] = {
    "pages of text": page_of_text,
    "forms": filled_form,
    "codes": code,
    "line plots": line_plot,
    "chats": chat,
    "bursts": burst,
    "crops": crop,
    "one centre": same_centre,
    "clear artwork": clear_artwork,
    "small charts": small_chart,
    "variants": variant,
}


def _sentence(random: Random, words: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(words))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _scene(random: Random, size: tuple[int, int]) -> Image.Image:
    """Returns a scene like a photo: clouds of several scales, objects with edges, and leaves."""
    width, height = size
    layers = np.zeros((height, width, 3), dtype=np.float32)
    for cells, weight in ((3, 90), (9, 45), (40, 22), (160, 12)):
        noise = random.normal(0, 1, (cells, cells * width // height + 1, 3)).astype(np.float32)
        layers += weight * _enlarged(noise, size)
    image = Image.fromarray((layers + random.integers(90, 160, 3)).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        colour = tuple(random.integers(0, 255, 3).tolist())
        sides, radius = int(random.integers(3, 9)), int(random.integers(10, height // 7))
        pen.regular_polygon((x, y, radius), sides, int(random.integers(0, 90)), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def _enlarged(noise: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    bands = [Image.fromarray(noise[..., band]).resize(size, Image.Resampling.BICUBIC) for band in range(3)]
    return np.stack([np.asarray(band) for band in bands], axis=2)


def _with_grain(image: Image.Image, random: Random) -> Image.Image:
    pixels = np.asarray(image) + random.normal(0, 4, (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
