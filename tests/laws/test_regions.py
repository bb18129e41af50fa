"""Laws of regions: all of an image is no region, percent and pixels agree, none reaches beyond its image."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalike_core.images.decoding import decode, prepare_pixels
from lookalike_core.images.preparation import find_window
from lookalike_core.images.region import Region, Unit
from PIL import Image

SIDES = st.integers(1, 5_000)
SIZES = st.tuples(SIDES, SIDES)
SMALL = st.tuples(st.integers(1, 60), st.integers(1, 60))
ORIENTATIONS = {
    None: lambda image: image,
    "FLIP_LEFT_RIGHT": lambda image: image[:, ::-1],
    "ROTATE_180": lambda image: image[::-1, ::-1],
    "FLIP_TOP_BOTTOM": lambda image: image[::-1],
    "TRANSPOSE": lambda image: image.T,
    "ROTATE_270": lambda image: np.rot90(image, 3),
    "TRANSVERSE": lambda image: np.rot90(image, 2).T,
    "ROTATE_90": lambda image: np.rot90(image, 1),
}
"""Pillow's transposition -> the upright image of a stored one."""


@st.composite
def parts(
    draw: st.DrawFn, sizes: st.SearchStrategy[tuple[int, int]] = SIZES
) -> tuple[tuple[int, int], Region]:
    """Draws the size of an image and a region of whole pixels in it."""
    width, height = draw(sizes)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    across, down = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
    return (width, height), Region.of((left, top, across, down))


@given(part=parts())
def test_percent_and_pixels_agree(part: tuple[tuple[int, int], Region]) -> None:
    """The percentages of a region of pixels are the same region."""
    (width, height), region = part
    shares = [
        100 * region.x / width,
        100 * region.y / height,
        100 * region.width / width,
        100 * region.height / height,
    ]
    box = Region.of(shares, Unit.PERCENT).locate((width, height), "a")
    assert box == region.locate((width, height), "a")
    assert str(box) == str(region)


@given(
    size=SIZES,
    numbers=st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(0, 100, exclude_min=True)] * 2),
)
def test_every_region_has_pixels_of_its_image_alone(
    size: tuple[int, int], numbers: tuple[float, float, float, float]
) -> None:
    """At least one, and none beyond its edges."""
    x, y, width, height = numbers
    shares = (x, y, min(width, 100 - x) or 1e-9, min(height, 100 - y) or 1e-9)
    box = Region.of(shares, Unit.PERCENT).locate(size, "a")
    assert 0 <= box.left < box.right <= size[0]
    assert 0 <= box.top < box.bottom <= size[1]


@given(part=parts(SMALL), turn=st.sampled_from(list(ORIENTATIONS)))
def test_a_part_of_the_upright_image_is_found_in_the_stored_one(
    part: tuple[tuple[int, int], Region], turn: str | None
) -> None:
    """Whatever the orientation, the stored part is the upright part, turned."""
    (width, height), region = part
    is_turned = ORIENTATIONS[turn](np.zeros((height, width))).shape != (height, width)
    stored_size = (height, width) if is_turned else (width, height)
    stored = np.arange(width * height).reshape(stored_size[::-1])
    upright = ORIENTATIONS[turn](stored)
    if upright.shape != (height, width):  # a square looks turned in no case
        stored = stored.T
        upright = ORIENTATIONS[turn](stored)
        stored_size = stored_size[::-1]
    box = region.locate((width, height), "a")
    left, top, right, bottom = map(round, find_window(box, stored_size, stored_size, turn))
    found = ORIENTATIONS[turn](stored[top:bottom, left:right])
    assert (found == upright[box.top : box.bottom, box.left : box.right]).all()


@given(size=SMALL, seed=st.integers(0, 9), percent=st.booleans(), jpeg=st.booleans())
@settings(max_examples=40)
def test_a_region_of_the_whole_image_is_no_region(
    size: tuple[int, int], seed: int, *, percent: bool, jpeg: bool
) -> None:
    """Bit by bit, in pixels and in percent, of a file and of an array."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = Region.parse("0%,0%,100%,100%") if percent else Region.of((0, 0, width, height))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG" if jpeg else "PNG")
    plain, found = decode(file, "a"), decode(file, "a", region=whole)
    assert (plain.pixels == found.pixels).all()
    assert found.part.is_whole
    of_array = prepare_pixels(pixels, "a", region=whole)
    assert (of_array.pixels == prepare_pixels(pixels, "a").pixels).all()
