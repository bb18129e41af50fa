"""Draws a small labelled set of images, for a first try without images of one's own.

Ten classes of twenty images: `apple/apple_001.jpg` and so on. Each class is one drawing function below, in a
unit square; canvas, colours, proportions, pose and background vary from image to image. The random numbers
are seeded by class and number, so the same Pillow draws the same bytes on every run.
"""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lookalike_core.atomic import atomic_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.outputs import check_output_path, check_outside_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

CLASSES: tuple[str, ...] = (
    "apple",
    "balloon",
    "boat",
    "cactus",
    "fish",
    "house",
    "moon",
    "mushroom",
    "tree",
    "umbrella",
)

_IMAGES_PER_CLASS = 20
_QUERY_NUMBER = 0  # the set counts from 1, so this image is never part of it
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_FILE_MANAGER_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_OVERSAMPLING = 2  # objects are drawn this much larger and shrunk, which smooths their edges

_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
_BROWN: Colour = (110, 74, 46)
_GREEN: Colour = (74, 140, 62)
_RED: Colour = (206, 52, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """What `draw_sample` wrote: `images` files in `directory`, one folder for each of `classes`."""

    directory: Path
    images: int
    classes: tuple[str, ...]


def draw_sample(directory: Path) -> SampleSet:
    """Draws the set into `directory`, one folder per class.

    Creates the folder if it is missing; overwrites one that holds exactly such a set. All images are drawn
    before the first file is written, so that an interrupted run hardly ever leaves an incomplete set.

    Raises:
        UsageError: `directory` is a file, a folder that holds anything else, or one of the store.
    """
    check_outside_store(directory, "DIR")
    names = [name for class_name in CLASSES for name in _file_names(class_name)]
    _refuse_foreign(directory, {directory / name for name in names})
    drawn = {directory / name: content for name, content in _encode_images()}
    for path, content in drawn.items():
        _write(path, content)
    return SampleSet(directory=directory, images=len(drawn), classes=CLASSES)


def check_query(path: Path, class_name: str, *, sample: Path | None = None) -> Path:
    """Returns the path to which a query image will be drawn; checks it before the set is drawn.

    An existing image is not overwritten, unless it is the very one that would be drawn.

    Raises:
        UsageError: the suffix is not one of .jpg, .jpeg, .png and .webp, another file has that path, or the
            path is inside the set.
        OSError: nothing can be written there.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path}: cannot draw this format. Choose a name ending in {', '.join(_FORMATS)}.")

    def is_ours(file: Path) -> bool:
        return file.read_bytes() == _encode(_draw_image(class_name, _QUERY_NUMBER), file.suffix.lower())

    target = check_output_path(path, Argument.QUERY, is_ours=is_ours)
    if sample is not None and target.is_relative_to(sample.resolve()):
        raise UsageError(
            f"{path} is inside the sample set {sample}; choose a path outside it",
            argument=Argument.QUERY,
            path=path,
        )
    return target


def draw_query(path: Path, class_name: str) -> None:
    """Draws one further image of `class_name`, which is not in the set, to `path`.

    The suffix of `path` determines the format. Creates the folder if it is missing.

    Raises:
        UsageError: there is no such class, or `check_query` refuses the path.
    """
    if class_name not in CLASSES:
        raise UsageError(f"The sample has no class {class_name!r}. Choose one of {', '.join(CLASSES)}.")
    _write(
        check_query(path, class_name), _encode(_draw_image(class_name, _QUERY_NUMBER), path.suffix.lower())
    )


def _write(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _file_names(class_name: str) -> list[str]:
    """Returns the root-relative POSIX paths of one class: four PNG and two WebP among twenty, else JPEG."""
    names = []
    for number in range(1, _IMAGES_PER_CLASS + 1):
        suffix = ".png" if number % 5 == 0 else ".webp" if number % 8 == 0 else ".jpg"
        names.append(f"{class_name}/{class_name}_{number:03}{suffix}")
    return names


def _refuse_foreign(directory: Path, own: set[Path]) -> None:
    """Raises UsageError unless `directory` is missing, empty, or holds exactly the files `own`."""
    advice = "Name a new or empty folder, or remove this one first."
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"{directory} is a file, and the sample needs a folder. Name a new or empty one.")
    missing = set(own)
    for path in directory.rglob("*"):
        if path.is_dir() or path.name in _FILE_MANAGER_NAMES:
            continue
        if path not in own:
            raise UsageError(
                f"{directory} holds files that are no part of a sample, such as {path}. {advice}"
            )
        missing.discard(path)
    if missing and missing != own:
        raise UsageError(f"{directory} holds only a part of a sample: {min(missing)} is missing. {advice}")


def _encode_images() -> Iterator[tuple[str, bytes]]:
    """Draws the set: yields the root-relative path and file content of each image."""
    for class_name in CLASSES:
        for number, name in enumerate(_file_names(class_name), start=1):
            yield name, _encode(_draw_image(class_name, number), Path(name).suffix)


def _encode(image: Image.Image, suffix: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, _FORMATS[suffix], quality=90)  # PNG is lossless and ignores the quality
    return buffer.getvalue()


def _draw_image(class_name: str, number: int) -> Image.Image:
    """Returns one RGB image; its sides are 200 to 480 pixels."""
    rng = random.Random(f"{class_name} {number}")  # noqa: S311 - drawing images, not keeping secrets
    long_side = rng.randint(280, 480)
    short_side = rng.randint(max(200, round(long_side * 0.62)), round(long_side * 0.85))
    size = rng.choice([(long_side, short_side), (short_side, long_side), (long_side, long_side)])
    canvas = _draw_background(size, rng)
    sprite = _draw_object(class_name, round(min(size) * rng.uniform(0.75, 1.0)), rng)
    _place(_shade(sprite, rng), canvas, rng)
    return canvas


def _draw_object(class_name: str, side: int, rng: random.Random) -> Image.Image:
    """Draws one object of about `side` pixels, tilted and perhaps mirrored; RGBA, cropped to its edges."""
    from PIL import Image

    draw, most_tilt_deg = _choose_motif(class_name)
    unit = side * _OVERSAMPLING
    sprite = Image.new("RGBA", (unit * 4 // 3, unit * 4 // 3))  # room for what leans out of the unit square
    tilt_deg = rng.uniform(-most_tilt_deg, most_tilt_deg)
    draw(_Pen(sprite, unit=unit, tilt_deg=tilt_deg, mirrored=_chance(rng, 0.5)), rng)
    box = sprite.getbbox() or (0, 0, *sprite.size)
    size = (round((box[2] - box[0]) / _OVERSAMPLING), round((box[3] - box[1]) / _OVERSAMPLING))
    return sprite.resize(size, Image.Resampling.HAMMING, box=box)


def _choose_motif(class_name: str) -> tuple[Callable[[_Pen, random.Random], None], float]:
    """Returns the function that draws the class, and the largest tilt of its objects in degrees."""
    return {
        "apple": (_draw_apple, 25.0),
        "balloon": (_draw_balloon, 15.0),
        "boat": (_draw_boat, 10.0),
        "cactus": (_draw_cactus, 6.0),
        "fish": (_draw_fish, 22.0),
        "house": (_draw_house, 4.0),
        "moon": (_draw_moon, 25.0),
        "mushroom": (_draw_mushroom, 12.0),
        "tree": (_draw_tree, 5.0),
        "umbrella": (_draw_umbrella, 25.0),
    }[class_name]


def _shade(sprite: Image.Image, rng: random.Random) -> Image.Image:
    """Lights the object from above and darkens it below."""
    from PIL import Image, ImageChops

    darkest, lightest = rng.randint(60, 90), rng.randint(150, 180)
    light = Image.linear_gradient("L").point(lambda level: lightest - level * (lightest - darkest) // 255)
    light = light.resize(sprite.size, Image.Resampling.BILINEAR)
    lit = ImageChops.soft_light(sprite.convert("RGB"), Image.merge("RGB", (light, light, light)))
    lit.putalpha(sprite.getchannel("A"))
    return lit


def _place(sprite: Image.Image, canvas: Image.Image, rng: random.Random) -> None:
    """Pastes the whole object somewhere on the canvas, with a soft shadow; shrinks it if it does not fit."""
    from PIL import Image, ImageFilter

    sprite.thumbnail((canvas.width * 0.94, canvas.height * 0.94))
    rim_x, rim_y = round(canvas.width * 0.02), round(canvas.height * 0.02)
    left = rng.randint(rim_x, canvas.width - sprite.width - rim_x)
    top = rng.randint(rim_y, canvas.height - sprite.height - rim_y)
    shadow = Image.new("L", canvas.size)
    shadow.paste(sprite.getchannel("A").point(lambda level: level * 2 // 5), (left + 4, top + 6))
    canvas.paste(_BLACK, mask=shadow.filter(ImageFilter.BoxBlur(5)))
    canvas.paste(sprite, (left, top), sprite)


# The ten classes. x runs to the right and y down, both from 0 to 1.


def _draw_apple(pen: _Pen, rng: random.Random) -> None:
    """Draws a body with two shoulders and a blush, a stem and a leaf."""
    skin = _pick(rng, "cc262c d63e30 7cb238 e4be3e")
    wide, tall = rng.uniform(0.37, 0.45), rng.uniform(0.64, 0.74)
    top = 1 - tall
    half = [(0, 0.1), (0.32, 0), (0.75, 0.06), (1, 0.36), (0.9, 0.7), (0.62, 0.96), (0.3, 1), (0, 0.95)]
    pen.smooth(_symmetric(0.5, [(wide * x, top + tall * y) for x, y in half]), skin)
    ripeness = rng.uniform(0, 0.055)
    for ring in range(14):
        size = 1 - ring / 15
        blush = _mix(skin, (250, 180, 70), ripeness * (ring + 1))
        pen.ellipse((0.5 + wide * 0.38, top + tall * 0.52), (wide * 0.44 * size, tall * 0.34 * size), blush)
    pen.ellipse((0.5 - wide * 0.5, top + tall * 0.27), (wide * 0.14, tall * 0.1), _mix(skin, _WHITE, 0.6))
    dip = top + tall * 0.1
    pen.ellipse((0.5, dip + 0.015), (wide * 0.32, 0.028), _mix(skin, _BLACK, 0.4))
    lean, length = rng.uniform(-0.06, 0.06), rng.uniform(0.16, 0.22)
    pen.line(
        [(0.5, dip + 0.02), (0.5 + lean / 3, dip - length / 2), (0.5 + lean, dip - length)], _BROWN, 0.036
    )
    reach = (rng.uniform(0.2, 0.3), rng.uniform(-0.12, -0.04))
    _draw_leaf(pen, (0.51, dip - 0.05), reach, _vary(_GREEN, rng))


def _draw_leaf(pen: _Pen, start: Point, reach: Point, colour: Colour) -> None:
    """Draws a pointed leaf with a midrib, from `start` along `reach`."""

    def along(share: float, aside: float) -> Point:
        return start[0] + reach[0] * share + reach[1] * aside, start[1] + reach[1] * share - reach[0] * aside

    edge = [(0, 0), (0.35, 0.24), (0.7, 0.2), (1, 0), (0.7, -0.16), (0.35, -0.2)]
    pen.smooth([along(*spot) for spot in edge], colour)
    pen.line([start, along(0.85, 0)], _mix(colour, _BLACK, 0.3), 0.01)


def _draw_balloon(pen: _Pen, rng: random.Random) -> None:
    """Draws one to three balloons, whose strings meet at the bottom."""
    hand = (0.5 + rng.uniform(-0.05, 0.05), 1.0)
    count = rng.choice([1, 1, 2, 3, 3])
    centres = {1: [(0.5, 0.3)], 2: [(0.3, 0.36), (0.7, 0.28)], 3: [(0.22, 0.38), (0.78, 0.36), (0.5, 0.26)]}
    for centre in centres[count]:
        _draw_one_balloon(pen, rng, centre, (0.3 if count == 1 else 0.26) * rng.uniform(0.9, 1.05), hand)


def _draw_one_balloon(pen: _Pen, rng: random.Random, centre: Point, tall: float, hand: Point) -> None:
    """Draws a balloon of half-height `tall` with its knot, its gloss, and a string to `hand`."""
    rubber = _pick(rng, "d6303a 3070c8 f0ba30 964cb0 40a660")
    wide = tall * rng.uniform(0.8, 0.94)
    x, y = centre
    knot = y + tall * 1.16
    sway = rng.uniform(-0.05, 0.05)
    swing = [(t / 20, sway * math.sin(t / 20 * math.tau)) for t in range(21)]
    string = [(_between(x, hand[0], t) + aside, _between(knot, hand[1], t)) for t, aside in swing]
    pen.line(string, (90, 84, 80), 0.016)
    half = [(0, -1), (0.56, -0.86), (0.95, -0.36), (0.93, 0.2), (0.6, 0.74), (0.16, 1.06), (0, 1.1)]
    pen.smooth(_symmetric(x, [(wide * hx, y + tall * hy) for hx, hy in half]), rubber)
    flare = [(x, knot - tall * 0.12), (x + 0.035, knot + 0.02), (x - 0.035, knot + 0.02)]
    pen.polygon(flare, _mix(rubber, _BLACK, 0.2))
    pen.ellipse((x - wide * 0.42, y - tall * 0.42), (wide * 0.17, tall * 0.22), _mix(rubber, _WHITE, 0.55))


def _draw_boat(pen: _Pen, rng: random.Random) -> None:
    """Draws a sailing boat with one or two sails on a strip of water."""
    paint = _pick(rng, "9e3e2c 284a80 ece8de 34746c c4943a")
    cloth = _pick(rng, "f6f2e6 f6f2e6 d6543e f0c860 7aa8ce")
    mast, peak, deck = rng.uniform(0.44, 0.56), rng.uniform(0.0, 0.1), 0.7
    pen.line([(mast, deck), (mast, peak)], _BROWN, 0.026)
    _draw_sail(
        pen, rng, [(mast + 0.03, peak + 0.03), (mast + 0.03, 0.63), (rng.uniform(0.86, 0.95), 0.63)], cloth
    )
    if _chance(rng, 0.75):
        head, foot = (mast - 0.03, peak + rng.uniform(0.05, 0.2)), (rng.uniform(0.08, 0.18), 0.65)
        pen.polygon([head, (mast - 0.03, 0.63), foot], _mix(cloth, _BLACK, 0.1))
    pen.polygon([(mast, peak - 0.02), (mast - 0.13, peak + 0.015), (mast, peak + 0.05)], _RED)
    bow, keel = rng.uniform(0.0, 0.05), deck + rng.uniform(0.16, 0.2)
    pen.polygon([(bow, 0.67), (0.98, 0.67), (0.86, keel), (0.2, keel)], paint)
    pen.polygon([(bow, 0.67), (0.98, 0.67), (0.964, 0.71), (bow + 0.05, 0.71)], _mix(paint, _WHITE, 0.45))
    _draw_waves(pen, rng, keel - 0.03)


def _draw_sail(pen: _Pen, rng: random.Random, corners: list[Point], cloth: Colour) -> None:
    """Draws the main sail, from its peak, tack and clew: bellied, with seams, sometimes with a mark."""
    peak, tack, clew = corners
    belly = (_between(peak[0], clew[0], 0.5) + 0.04, _between(peak[1], clew[1], 0.5))
    pen.polygon([peak, tack, clew, belly], cloth)
    for share in (0.35, 0.6, 0.82):
        y = _between(peak[1], tack[1], share)
        pen.line(
            [(tack[0], y), (_between(peak[0], clew[0], share) + 0.02, y)], _mix(cloth, _BLACK, 0.2), 0.01
        )
    if _chance(rng, 0.3):
        pen.ellipse((tack[0] + 0.12, _between(peak[1], tack[1], 0.7)), (0.055, 0.055), _mix(cloth, _RED, 0.8))


def _draw_waves(pen: _Pen, rng: random.Random, level: float) -> None:
    """Draws two rows of waves from `level` down, the back one lighter."""
    water = _pick(rng, "2c74b2 268a96 4678a0")
    count, phase = rng.randint(4, 7), rng.uniform(0, 6)
    for row, colour in enumerate((_mix(water, _WHITE, 0.35), water)):
        swell = [(t / 80, 0.016 * math.sin(phase + 2 * row + count * math.tau * t / 80)) for t in range(81)]
        crest = [(_between(-0.06, 1.06, t), level + 0.04 * row + rise) for t, rise in swell]
        pen.polygon([*crest, (1.02, level + 0.13), (-0.02, level + 0.13)], colour)


def _draw_cactus(pen: _Pen, rng: random.Random) -> None:
    """Draws a ribbed column with raised arms, often in flower, in a pot or on a heap of sand."""
    flesh = _pick(rng, "428a48 5c9c54 3a7a5c 789e46")
    thick, top = rng.uniform(0.2, 0.26), rng.uniform(0.1, 0.16)
    for side in (-1, 1) if _chance(rng, 0.85) else (1,):
        elbow, rise = rng.uniform(0.42, 0.62), rng.uniform(0.16, 0.3)
        out = 0.5 + side * rng.uniform(0.28, 0.36)
        _draw_limb(
            pen, [(0.5, elbow), (out, elbow), (out, elbow - rise)], flesh, thick * rng.uniform(0.5, 0.62)
        )
    _draw_limb(pen, [(0.5, 0.82), (0.5, top)], flesh, thick)
    if _chance(rng, 0.5):
        petals = _pick(rng, "ec5c8c f4c442 f0f0e8")
        for aside in (-0.05, 0.05, 0):
            spot = (0.5 + aside, top - thick / 2 + abs(aside) / 3)
            pen.ellipse(spot, (0.032, 0.05), _mix(petals, _BLACK, abs(aside) * 3))
    if _chance(rng, 0.6):
        clay = _pick(rng, "be623e a86e54 5c809e")
        pen.polygon([(0.3, 0.8), (0.7, 0.8), (0.64, 1), (0.36, 1)], clay)
        pen.box((0.27, 0.74), (0.73, 0.82), _mix(clay, _WHITE, 0.15))
    else:
        heap = [(0.02, 0.95), (0.28, 0.86), (0.56, 0.81), (0.8, 0.87), (0.98, 0.95), (0.5, 0.98)]
        pen.smooth(heap, _pick(rng, "d8b87c"))


def _draw_limb(pen: _Pen, joints: list[Point], flesh: Colour, thick: float) -> None:
    """Draws a round-ended limb of a cactus with darker ribs and pale spines."""
    pen.line(joints, flesh, thick)
    (x, bottom), (_, top) = joints[-2:]
    inward = math.copysign(1, 0.5 - x)
    for offset in (-0.26 * thick, 0, 0.26 * thick):
        ribs = [(px + offset, py + offset * inward) for px, py in joints]
        pen.line(ribs, _mix(flesh, _BLACK, 0.22), thick * 0.07)
    for step in range(int((bottom - top) / 0.07)):
        for offset, lift in ((-0.4, 0.03), (-0.13, 0.06), (0.13, 0.06), (0.4, 0.03)):
            root = (x + offset * thick, bottom - lift - step * 0.07)
            pen.line([root, (root[0] + offset * 0.04, root[1] - 0.022)], (244, 240, 208), 0.008)


def _draw_fish(pen: _Pen, rng: random.Random) -> None:
    """Draws a fish from the side: spindle, forked tail, fins, face, and a plain, striped or scaly coat."""
    scales = _pick(rng, "ee802a 4080be f0c440 ce4c54 6ea082")
    trim = _mix(scales, rng.choice([_BLACK, (120, 40, 40), _WHITE]), rng.uniform(0.3, 0.5))
    plump, fork, fin = rng.uniform(0.2, 0.29), rng.uniform(0.2, 0.28), rng.uniform(0.08, 0.15)

    def half(x: float) -> float:
        """Returns half the height of the body at `x`, which runs from the mouth at 0 to the tail at 0.76."""
        return plump * math.pow(math.sin(math.pi * math.pow(x / 0.8, 0.75)), 0.8)

    upper_tail = [(0.7, 0.48), (0.86, 0.5 - fork * 0.7), (1, 0.5 - fork), (0.91, 0.5)]
    lower_tail = [(1, 0.5 + fork), (0.86, 0.5 + fork * 0.7), (0.7, 0.52)]
    pen.smooth([*upper_tail, *lower_tail], trim)
    back = [(0.22, 0.52 - half(0.22)), (0.34, 0.5 - half(0.3) - fin)]
    pen.smooth([*back, (0.55, 0.5 - half(0.5) - fin * 0.8), (0.62, 0.52 - half(0.62))], trim)
    pen.smooth(
        [(0.34, 0.48 + half(0.34)), (0.48, 0.5 + half(0.4) + fin * 0.8), (0.52, 0.48 + half(0.5))], trim
    )
    pen.polygon(_slice_of_fish(half, 0, 0.76), scales)
    _draw_fish_coat(pen, rng, half, trim)
    _draw_fish_face(pen, half(0.2) * 0.75, scales, trim)


def _slice_of_fish(half: Callable[[float], float], start: float, end: float) -> list[Point]:
    xs = [_between(start, end, step / 40) for step in range(41)]
    return [*((x, 0.5 - half(x)) for x in xs), *((x, 0.5 + half(x)) for x in reversed(xs))]


def _draw_fish_coat(pen: _Pen, rng: random.Random, half: Callable[[float], float], colour: Colour) -> None:
    """Draws upright stripes, rows of scales, or nothing, between the gill and the tail."""
    coat = rng.choice(["stripes", "stripes", "scales", "scales", "plain"])
    if coat == "stripes":
        for start in (0.3, 0.44, 0.58):
            pen.polygon(_slice_of_fish(half, start, start + 0.06), colour)
    if coat == "scales":
        for column, row in ((column, row) for column in range(7) for row in range(-4, 5)):
            x, y = 0.31 + column * 0.06, 0.5 + (row + column % 2 / 2) * 0.06
            if abs(y - 0.5) < half(x + 0.03) - 0.04:
                pen.line(_arc((x, y), 0.03, (-80, 80), steps=6), colour, 0.01)


def _draw_fish_face(pen: _Pen, gill: float, scales: Colour, trim: Colour) -> None:
    """Draws the gill, of half-height `gill`, the fin behind it, eye and mouth."""
    bow = [(0.23 + 0.03 * math.cos(t / 8 * math.pi), 0.5 + gill * t / 8) for t in range(-8, 9)]
    pen.line(bow, _mix(scales, _BLACK, 0.35), 0.014)
    pen.smooth([(0.28, 0.53), (0.4, 0.5), (0.44, 0.58), (0.37, 0.63)], _mix(trim, scales, 0.3))
    pen.ellipse((0.125, 0.45), (0.045, 0.045), _WHITE)
    pen.ellipse((0.118, 0.45), (0.023, 0.023), (24, 24, 30))
    pen.line([(0.012, 0.53), (0.07, 0.55)], _mix(scales, _BLACK, 0.5), 0.014)


def _draw_house(pen: _Pen, rng: random.Random) -> None:
    """Draws a gabled house from the front: chimney, one or two rows of windows, door, sometimes bushes."""
    wall = _pick(rng, "eee0c4 e2e2de cc8060 9cbacc e8c474")
    tiles = _pick(rng, "a83e30 5c4842 46546c 8c5434")
    left, ridge = rng.uniform(0.1, 0.17), rng.uniform(0.04, 0.12)
    eaves, floors = rng.choice([(0.52, [0.72]), (0.48, [0.7]), (0.4, [0.53, 0.78]), (0.42, [0.55, 0.79])])
    chimney = rng.uniform(0.66, 0.76)
    pen.box((chimney, ridge + 0.02), (chimney + 0.09, eaves), _mix(wall, (120, 60, 50), 0.6))
    pen.box((chimney - 0.015, ridge), (chimney + 0.105, ridge + 0.04), _mix(tiles, _BLACK, 0.2))
    pen.box((left, eaves - 0.02), (1 - left, 1), wall)
    pen.polygon([(left - 0.09, eaves), (0.5, ridge), (1.09 - left, eaves)], tiles)
    for share in (0.3, 0.5, 0.7, 0.9):
        y, half = _between(ridge, eaves, share), (0.59 - left) * share - 0.02
        pen.line([(0.5 - half, y), (0.5 + half, y)], _mix(tiles, _BLACK, 0.18), 0.01)
    columns = [_between(left, 1 - left, share) for share in (0.19, 0.5, 0.81)]
    _draw_house_front(pen, rng, columns, floors, _mix(tiles, wall, 0.15))
    for x in rng.choice([[], [left - 0.02, left + 0.08], [left - 0.02, left + 0.07, 1.02 - left]]):
        pen.ellipse((x, 0.97), (0.08, 0.07), _vary(_GREEN, rng))


def _draw_house_front(
    pen: _Pen, rng: random.Random, columns: list[float], floors: list[float], paint: Colour
) -> None:
    """Draws windows at each of `columns` and `floors`, but a door instead of one of the lowest."""
    glass = _pick(rng, "78aac8 fadc82 546a82")
    door = rng.choice(columns)
    for x, y in ((x, y) for x in columns for y in floors):
        if (x, y) != (door, floors[-1]):
            _draw_window(pen, (x, y), glass)
    pen.box((door - 0.075, 0.7), (door + 0.075, 1), paint)
    pen.ellipse((door + 0.045, 0.86), (0.013, 0.013), (236, 206, 120))
    if _chance(rng, 0.5):
        attic = (0.5, floors[0] - 0.27)
        pen.ellipse(attic, (0.052, 0.052), _WHITE)
        pen.ellipse(attic, (0.039, 0.039), glass)


def _draw_window(pen: _Pen, centre: Point, glass: Colour) -> None:
    x, y = centre
    pen.box((x - 0.078, y - 0.083), (x + 0.078, y + 0.083), _WHITE)
    pen.box((x - 0.062, y - 0.067), (x + 0.062, y + 0.067), glass)
    pen.line([(x, y - 0.07), (x, y + 0.07)], _WHITE, 0.014)
    pen.line([(x - 0.066, y), (x + 0.066, y)], _WHITE, 0.014)


def _draw_moon(pen: _Pen, rng: random.Random) -> None:
    """Draws a crescent with craters, and a few stars in its arms."""
    glow = _pick(rng, "fade78 f8ecbe d6dae4 f4b25a")
    bite = rng.uniform(0.12, 0.3)
    opening_deg = math.degrees(1.05 + bite)  # half of it: the deeper the bite, the thinner and wider the arms
    outer = _arc((0.5, 0.5), 0.5, (opening_deg, 360 - opening_deg))
    centre = (outer[0][0] + bite * 0.55, 0.5)
    tip_deg = math.degrees(math.atan2(outer[0][1] - 0.5, outer[0][0] - centre[0]))
    pen.polygon([*outer, *_arc(centre, math.dist(centre, outer[0]), (360 - tip_deg, tip_deg))], glow)
    for _ in range(rng.randint(3, 6)):
        turn, size = rng.uniform(2.1, 4.2), rng.uniform(0.015, 0.035)
        pen.ellipse(_polar((0.5, 0.5), 0.42, turn), (size, size), _mix(glow, (120, 100, 70), 0.3))
    for _ in range(rng.randint(1, 4)):
        centre, size = (rng.uniform(0.62, 0.95), rng.uniform(0.2, 0.8)), rng.uniform(0.04, 0.075)
        star = [_polar(centre, size * (1, 0.42)[step % 2], math.pi * (step / 5 - 0.5)) for step in range(10)]
        pen.polygon(star, _mix(glow, _WHITE, 0.3))


def _draw_mushroom(pen: _Pen, rng: random.Random) -> None:
    """Draws one mushroom, or a large and a small one, with or without dots, sometimes in grass."""
    cap, grass = _pick(rng, "c82c28 ac6c3c de8c3c 945c8c ceb082"), _vary(_GREEN, rng)
    dots = _chance(rng, 0.7)
    if _chance(rng, 0.4):
        _draw_one_mushroom(pen, rng, (0.82, 0.55), 0.2, cap, dots=dots)
    _draw_one_mushroom(pen, rng, (0.46, rng.uniform(0.05, 0.15)), rng.uniform(0.38, 0.46), cap, dots=dots)
    for _ in range(rng.randint(0, 16)):
        x, tip = rng.uniform(0.15, 0.85), rng.uniform(0.84, 0.93)
        blade = [(x - 0.014, 1), (x + rng.uniform(-0.05, 0.05), tip), (x + 0.014, 1)]
        pen.polygon(blade, _mix(grass, _BLACK, rng.uniform(0, 0.3)))


def _draw_one_mushroom(
    pen: _Pen, rng: random.Random, peak: Point, wide: float, cap: Colour, *, dots: bool
) -> None:
    """Draws a domed cap of half-width `wide` below `peak`, with gills and a stem down to the ground."""
    x, top = peak
    tall, stem = wide * rng.uniform(0.75, 1.0), wide * rng.uniform(0.24, 0.34)
    brim = top + tall
    flesh = _pick(rng, "f0e6d0")
    pen.smooth(_symmetric(x, [(stem, brim), (stem * 0.9, 0.8), (stem * 1.35, 0.97), (0, 1)]), flesh)
    pen.ellipse((x, brim), (wide * 0.94, wide * 0.17), _mix(flesh, (150, 110, 80), 0.4))
    for step in range(-6, 7):
        reach = (wide * 0.86 * math.sin(step / 4.2), wide * 0.15 * math.cos(step / 4.2))
        pen.line([(x, brim + wide * 0.02), (x + reach[0], brim + reach[1])], _mix(flesh, _BROWN, 0.6), 0.006)
    half = [(0, 0), (0.5, 0.1), (0.85, 0.42), (1, 0.85), (0.96, 1.04), (0.6, 1.0), (0, 0.98)]
    pen.smooth(_symmetric(x, [(wide * hx, top + tall * hy) for hx, hy in half]), cap)
    middle = [(-0.02, 0.35, 0.15), (-0.5, 0.55, 0.1), (0.48, 0.5, 0.11), (0.12, 0.78, 0.1)]
    for across, down, size in [*middle, (-0.76, 0.84, 0.06), (0.78, 0.8, 0.06), (-0.25, 0.8, 0.07)] * dots:
        pen.ellipse((x + wide * across, top + tall * down), (wide * size, tall * size), (248, 242, 230))


def _draw_tree(pen: _Pen, rng: random.Random) -> None:
    """Draws a broad-leaved tree: forked trunk, round, tall or wide crown, sometimes in fruit."""
    leaves, bark = _pick(rng, "468a3a 689a3e 306e42 58843c d08a32"), _vary(_BROWN, rng)
    wide, tall = rng.choice([(0.38, 0.32), (0.33, 0.36), (0.46, 0.28)])
    centre = (0.5, tall + 0.03)
    meadow = [
        (0.04, 0.97),
        (0.25, 0.93),
        (0.5, rng.uniform(0.9, 0.93)),
        (0.75, 0.93),
        (0.96, 0.97),
        (0.5, 1.02),
    ]
    pen.smooth(meadow, _pick(rng, "7aa04a 8c9c50 b0a060"))
    pen.polygon([(0.46, 0.5), (0.54, 0.5), (0.55, 0.86), (0.62, 0.96), (0.38, 0.96), (0.45, 0.86)], bark)
    for side in (-0.17, 0.17):
        pen.line([(0.5, 0.82), (0.5 + side, 0.55)], bark, 0.04)
    for layer, (tint, spread) in enumerate(((_BLACK, 1.0), (leaves, 0.88), (_WHITE, 0.6))):
        lit = (centre[0], centre[1] - 0.02 * layer)
        _draw_clumps(pen, rng, lit, (wide * spread, tall * spread), _mix(leaves, tint, 0.2))
    for spot in _scatter(rng, centre, (wide * 0.9, tall * 0.9), 90):
        shade = _mix(leaves, rng.choice([_BLACK, _WHITE]), rng.uniform(0.05, 0.3))
        pen.ellipse(spot, (rng.uniform(0.012, 0.026), rng.uniform(0.008, 0.016)), shade)
    for spot in _scatter(rng, centre, (wide * 0.8, tall * 0.8), rng.choice([0, 0, 10, 15])):
        pen.ellipse(spot, (0.022, 0.022), _RED)


def _draw_clumps(pen: _Pen, rng: random.Random, centre: Point, radii: Point, colour: Colour) -> None:
    """Draws an ellipse whose rim bulges into thirteen clumps of leaves."""
    pen.ellipse(centre, (radii[0] * 0.75, radii[1] * 0.75), colour)
    for clump in range(13):
        turn = clump / 13 * math.tau + rng.uniform(-0.2, 0.2)
        reach, size = rng.uniform(0.68, 0.82), rng.uniform(0.06, 0.1)
        spot = (centre[0] + radii[0] * reach * math.cos(turn), centre[1] + radii[1] * reach * math.sin(turn))
        pen.ellipse(spot, (size, size), colour)


def _scatter(rng: random.Random, centre: Point, radii: Point, count: int) -> Iterator[Point]:
    """Yields random points, evenly spread over an ellipse."""
    for _ in range(count):
        turn, reach = rng.uniform(0, math.tau), math.sqrt(rng.random())
        yield centre[0] + radii[0] * reach * math.cos(turn), centre[1] + radii[1] * reach * math.sin(turn)


def _draw_umbrella(pen: _Pen, rng: random.Random) -> None:
    """Draws an open umbrella from the side: panels between ribs, scalloped below, tip, and hooked handle."""
    cloth = _pick(rng, "ce303e 2c549c eebe3a 3a8c78 7e4696")
    other = rng.choice([_mix(cloth, _WHITE, 0.75), _mix(cloth, _BLACK, 0.25), _mix(cloth, _WHITE, 0.15)])
    panels, tall = rng.choice([4, 6, 6, 8]), rng.uniform(0.36, 0.46)
    metal = rng.choice([(70, 66, 70), _BROWN, (150, 150, 156)])
    pen.line([(0.5, 0.0), (0.5, 0.88)], metal, 0.026)
    pen.line(
        _arc((0.58, 0.9), 0.08, (180, rng.choice([0, 20])), steps=12), _mix(metal, (150, 60, 30), 0.4), 0.04
    )
    ribs = [-0.5 * math.cos(math.pi * side / panels) for side in range(panels + 1)]
    arc = [
        (math.sin(turn), 0.07 + tall - tall * math.cos(turn))
        for turn in (math.pi * t / 32 for t in range(17))
    ]
    for index, (left, right) in enumerate(pairwise(ribs)):
        down = [(0.5 + left * across, y) for across, y in arc]
        up = [(0.5 + right * across, y) for across, y in reversed(arc)]
        scallop = [(t / 8, 0.05 * math.sin(math.pi * t / 8)) for t in range(1, 8)]
        hem = [(0.5 + _between(left, right, t), 0.07 + tall - rise) for t, rise in scallop]
        pen.polygon([*down, *hem, *up], (cloth, other)[index % 2])
        pen.line(down, _mix(cloth, _BLACK, 0.35), 0.006)


# Backgrounds: muted, so that the object stands out, and the same for every class.


def _draw_background(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draws a plain, graded, grainy or striped sheet, or hills below a sky."""
    from PIL import Image

    tone = _pick(rng, "e2dcd0 c4d0d8 ced8c2 d8c8ce 808e9e 586070")
    tint = rng.choice([_WHITE, _BLACK, (120, 130, 150), (190, 170, 140)])
    sheet = Image.new("RGB", size, tone)
    other = Image.new("RGB", size, _mix(tone, tint, rng.uniform(0.15, 0.3)))
    kind = rng.choice(["plain", "gradient", "grain", "stripes", "scenery"])
    if kind == "gradient":
        return Image.composite(other, sheet, Image.linear_gradient("L").resize(size))
    if kind == "grain":
        return Image.composite(other, sheet, _draw_grain(size, rng))
    if kind == "stripes":
        return Image.composite(other, sheet, _draw_stripes(size, rng))
    if kind == "scenery":
        return _draw_scenery(size, rng)
    return sheet


def _draw_grain(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Returns a mask of random specks of two to four pixels, like plaster or paper."""
    from PIL import Image

    speck = rng.uniform(2, 4)
    cells = (round(size[0] / speck), round(size[1] / speck))
    specks = Image.frombytes("L", cells, rng.randbytes(cells[0] * cells[1]))
    return specks.resize(size, Image.Resampling.BILINEAR)


def _draw_stripes(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Returns a mask of straight stripes at any angle: the centre of a larger, rotated square."""
    from PIL import Image, ImageDraw

    side, width = math.ceil(math.hypot(*size)), rng.randint(16, 44)
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    for start in range(0, side, 2 * width):
        draw.rectangle((start, 0, start + width - 1, side), fill=rng.randint(120, 180))
    mask = mask.rotate(rng.uniform(0, 180), resample=Image.Resampling.BILINEAR)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    return mask.crop((left, top, left + size[0], top + size[1]))


def _draw_scenery(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draws a sky above two rows of hills and a meadow, in haze."""
    from PIL import Image, ImageDraw

    sky, land = _pick(rng, "a4c8e2 e2c8b2 babece 5c688e"), _pick(rng, "96b07c c4b88c 96a4a6")
    horizon = Image.new("RGB", size, _mix(sky, _WHITE, 0.5))
    image = Image.composite(horizon, Image.new("RGB", size, sky), Image.linear_gradient("L").resize(size))
    draw = ImageDraw.Draw(image)
    for row in range(3):
        level, swell = rng.uniform(0.5, 0.58) + 0.14 * row, rng.uniform(0.02, 0.07)
        waves, phase = rng.uniform(3, 9), rng.uniform(0, 6)
        hills = [(t / 40, level + swell * math.sin(phase + waves * t / 40)) for t in range(41)]
        crest = [(size[0] * x, size[1] * y) for x, y in hills]
        draw.polygon([*crest, size, (0, size[1])], fill=_mix(land, sky, 0.6 - 0.25 * row))
    return image


# The pen, geometry, colours and chance.


class _Pen:
    """Draws on an RGBA sprite, in a unit square about its centre that is tilted by `tilt_deg` (clockwise).

    `unit` is the side of that square in pixels. Colours replace what is below them.
    """

    def __init__(self, sprite: Image.Image, *, unit: int, tilt_deg: float, mirrored: bool) -> None:
        from PIL import ImageDraw

        self._draw = ImageDraw.Draw(sprite)
        self._middle = (sprite.width / 2, sprite.height / 2)
        self._unit = unit
        self._cos, self._sin = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
        self._handedness = -1 if mirrored else 1

    def polygon(self, corners: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([self._pixel(corner) for corner in corners], fill=colour)

    def box(self, upper_left: Point, lower_right: Point, colour: Colour) -> None:
        (left, top), (right, bottom) = upper_left, lower_right
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour) -> None:
        turns = [math.tau * step / 40 for step in range(40)]
        self.polygon(
            [(centre[0] + radii[0] * math.cos(t), centre[1] + radii[1] * math.sin(t)) for t in turns], colour
        )

    def smooth(self, points: Sequence[Point], colour: Colour) -> None:
        """Fills the closed curve through `points` (a Catmull-Rom spline)."""
        outline = []
        for index in range(len(points)):
            before, start, end, after = (points[(index + step) % len(points)] for step in (-1, 0, 1, 2))
            outline += [_spline(before, start, end, after, step / 8) for step in range(8)]
        self.polygon(outline, colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draws a line with round joints and ends."""
        pixels = [self._pixel(point) for point in points]
        self._draw.line(pixels, fill=colour, width=max(1, round(width * self._unit)), joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            radius = width * self._unit / 2
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def _pixel(self, point: Point) -> Point:
        x, y = (point[0] - 0.5) * self._handedness * self._unit, (point[1] - 0.5) * self._unit
        return (
            self._middle[0] + x * self._cos - y * self._sin,
            self._middle[1] + x * self._sin + y * self._cos,
        )


def _spline(before: Point, start: Point, end: Point, after: Point, share: float) -> Point:
    """Returns the point at `share` of the way from `start` to `end` of a Catmull-Rom spline."""

    def along(axis: int) -> float:
        p, q, r, s = before[axis], start[axis], end[axis], after[axis]
        slope, bend, twist = r - p, 2 * p - 5 * q + 4 * r - s, 3 * q - p - 3 * r + s
        return q + share * (slope + share * (bend + share * twist)) / 2

    return along(0), along(1)


def _arc(centre: Point, radius: float, degrees: tuple[float, float], steps: int = 48) -> list[Point]:
    """Returns points on a circle between two angles; 0 is to the right, 90 is down."""
    turns = [math.radians(_between(*degrees, step / steps)) for step in range(steps + 1)]
    return [_polar(centre, radius, turn) for turn in turns]


def _polar(centre: Point, radius: float, turn: float) -> Point:
    return centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)


def _symmetric(middle: float, half: Sequence[Point]) -> list[Point]:
    """Closes an outline about x = `middle`, given its right `half`, with x counted from the middle."""
    return [*((middle + x, y) for x, y in half), *((middle - x, y) for x, y in reversed(half) if x > 0)]


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Returns `colour` with `share` (0 to 1) of `other` in it."""
    red, green, blue = (round(_between(one, two, share)) for one, two in zip(colour, other, strict=True))
    return red, green, blue


def _pick(rng: random.Random, palette: str) -> Colour:
    """Returns a variation of one of the colours in `palette`, which are six hexadecimal digits each."""
    red, green, blue = bytes.fromhex(rng.choice(palette.split()))
    return _vary((red, green, blue), rng)


def _vary(colour: Colour, rng: random.Random) -> Colour:
    """Returns `colour` with slightly different hue, saturation and brightness."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in colour))
    hue = (hue + rng.uniform(-0.02, 0.02)) % 1
    saturation = min(1.0, saturation * rng.uniform(0.85, 1.15))
    value = min(1.0, value * rng.uniform(0.88, 1.08))
    red, green, blue = (round(level * 255) for level in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _chance(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability
