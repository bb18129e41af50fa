"""TIFFs of several pages: the image's page is chosen by the directories."""

import io
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import DecodedImage, decode, decode_small
from PIL import Image

FULL, REDUCED, PAGE, MASK = 0, 1, 2, 4
"""Values of NewSubfileType."""

COLOURS = ("red", "lime", "blue", "white")


def tiff(
    *kinds: int | None,
    order: str = "<",
    big: bool = False,
    below: Sequence[int] = (),
    old: dict[int, int] | None = None,
    photometric: dict[int, int] | None = None,
    following: dict[int, int] | None = None,
) -> bytes:
    """Returns a TIFF of a page for each kind, 8, 16, ... pixels wide, in the colours of `COLOURS`.

    `below` are the numbers of pages that are SubIFDs of the first one. `old` gives pages the tag of TIFF 5,
    `photometric` another interpretation than RGB, and `following` another next page.
    """
    letter, count, version = ("Q", "Q", 43) if big else ("I", "H", 42)
    size, tags = struct.calcsize("=" + letter), 12
    directory = struct.calcsize("=" + count) + tags * (4 + 2 * size) + size
    start = 16 if big else 8
    places = [start + number * directory for number in range(len(kinds))]
    data_place = start + len(kinds) * directory
    chain = [number for number in range(len(kinds)) if number not in below]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", version)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    out, data = head + struct.pack(order + letter, start), b""
    for number, kind in enumerate(kinds):
        width = 8 * (number + 1)
        pixels = Image.new("RGB", (width, 8), COLOURS[number]).tobytes()
        after = chain[chain.index(number) + 1 :] if number in chain else []
        after = [following[number]] if following and number in following else after
        fields = [
            (254, 4, kind) if kind is not None else (255, 3, (old or {}).get(number, 1)),
            *((256, 4, width), (257, 4, 8), (258, 3, 8), (259, 3, 1)),
            (262, 3, (photometric or {}).get(number, 2)),
            *((273, 4, data_place + len(data)), (277, 3, 3), (278, 4, 8), (279, 4, len(pixels)), (284, 3, 1)),
            (330, 4, places[below[0]] if below and number == 0 else 0),
        ]
        out += struct.pack(order + count, len(fields))
        for tag, form, value in fields:
            packed = struct.pack(order + ("H" if form == 3 else "I"), value)
            out += struct.pack(order + "HH" + letter, tag, form, 1) + packed.ljust(size, b"\0")
        out += struct.pack(order + letter, places[after[0]] if after else 0)
        data += pixels
    return out + data


def decoded(data: bytes) -> DecodedImage:
    """Returns the decoded image of a file."""
    return decode(io.BytesIO(data), "pages.tif")


def taken(data: bytes) -> int:
    """Returns the number of the page that was decoded, by its colour and size."""
    image = decoded(data)
    number = COLOURS.index(
        {(255, 0, 0): "red", (0, 255, 0): "lime", (0, 0, 255): "blue", (255, 255, 255): "white"}[
            tuple(image.pixels[100, 100].tolist())
        ]
    )
    assert (image.width, image.height) == (8 * (number + 1), 8)
    return number


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize(
    ("kinds", "number"),
    [
        ((FULL,), 0),
        ((FULL, REDUCED, REDUCED), 0),
        ((REDUCED, FULL), 1),
        ((REDUCED, REDUCED, FULL, FULL), 2),
        ((MASK, FULL), 1),
        ((REDUCED | MASK, PAGE, FULL), 1),
        ((PAGE, PAGE), 0),
        ((None, None), 0),
        ((REDUCED, REDUCED), 1),
    ],
    ids=str,
)
def test_the_first_page_that_is_no_reduced_copy_is_used(
    kinds: tuple[int | None, ...], number: int, order: str, big: bool
) -> None:
    """Masks are skipped too; if all pages are reduced copies, the largest is used."""
    assert taken(tiff(*kinds, order=order, big=big)) == number


def test_big_endian_bigtiffs_are_refused_by_name() -> None:
    """Pillow reads them as ordinary TIFFs, and reports damage."""
    with pytest.raises(ImageError, match="is a big-endian BigTIFF") as refused:
        decoded(tiff(FULL, order=">", big=True))
    assert refused.value.reason is SkipReason.UNSUPPORTED_FORMAT


def test_the_old_tag_of_a_reduced_copy_is_read_if_the_new_one_is_missing() -> None:
    """In TIFF 5, 1 is the full image, 2 a reduced copy, 3 one of several pages."""
    assert taken(tiff(None, None, old={0: 2})) == 1
    assert taken(tiff(None, None, old={0: 3})) == 0
    assert taken(tiff(FULL, None, old={1: 1})) == 0


def test_a_small_first_page_without_a_mark_is_used() -> None:
    """Pages of a scan differ in size; only marked ones are thumbnails."""
    assert taken(tiff(PAGE, FULL, None)) == 0


def test_the_main_image_may_be_a_sub_ifd_of_its_thumbnail() -> None:
    """In files of cameras the first directory is a preview."""
    assert taken(tiff(REDUCED, FULL, below=[1])) == 1


def test_raw_sensor_data_is_not_used_as_the_image() -> None:
    """The preview is used, since raw data cannot be shown."""
    assert taken(tiff(REDUCED, FULL, below=[1], photometric={1: 32_803})) == 0


@pytest.mark.parametrize("following", [{0: 0}, {1: 0}, {1: 1}], ids=str)
def test_a_loop_of_tiff_directories_is_walked_once(following: dict[int, int]) -> None:
    """The walk over directories ends."""
    assert taken(tiff(REDUCED, REDUCED, following=following)) in {0, 1}


def test_an_unsupported_thumbnail_does_not_hide_the_image() -> None:
    """It is a thumbnail in a colour space that Pillow does not support."""
    assert taken(tiff(REDUCED, FULL, photometric={0: 9_999})) == 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_compressed_pages_are_read_too(compression: str) -> None:
    """Another library decodes them, which searches for the page by itself."""
    small, large = (Image.new("RGB", (size, size), colour) for size, colour in ((16, "red"), (64, "blue")))
    file = io.BytesIO()
    small.save(file, "TIFF", save_all=True, append_images=[large], tiffinfo={254: 1}, compression=compression)
    data = bytearray(file.getvalue())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * count)
    _set_kind(data, second, FULL)
    image = decoded(bytes(data))
    assert (image.width, image.height) == (64, 64)
    assert int(np.abs(image.pixels[100, 100].astype(int) - (0, 0, 255)).max()) <= 8
    assert decode_small(io.BytesIO(bytes(data)), "pages.tif", edge=40).size == (40, 40)


def _set_kind(data: bytearray, place: int, kind: int) -> None:
    (count,) = struct.unpack_from("<H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 254:
            struct.pack_into("<I", data, entry + 8, kind)


@pytest.mark.parametrize("cut", [9, 12, 60, 200, 400])
def test_a_file_that_ends_before_its_page_does_is_truncated(cut: int) -> None:
    """It may end within a directory or within the pixels."""
    with pytest.raises(ImageError, match="ends before its image does") as refused:
        decoded(tiff(REDUCED, FULL)[:cut])
    assert refused.value.reason is SkipReason.TRUNCATED


def test_an_unsupported_page_is_not_reported_as_truncated() -> None:
    """The file is complete."""
    with pytest.raises(ImageError) as refused:
        decoded(tiff(FULL, photometric={0: 9_999}))
    assert refused.value.reason is not SkipReason.TRUNCATED
