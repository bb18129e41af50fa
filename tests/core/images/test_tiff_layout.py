"""TIFFs with planar samples or reversed bit order are read correctly.

They are written here byte by byte, since no library writes all of these.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import decode, decode_whole, decodes_as_before
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 224
ROWS = 100
"""Rows of a strip: three strips for each plane, the last one shorter."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, YCBCR, CIELAB = 0, 1, 2, 5, 6, 8
UNSPECIFIED, ASSOCIATED, ALPHA = [0], [1], [2]
CHUNKY, PLANAR = 1, 2
RAW, DEFLATE = 1, 8

RISING = np.linspace(0, 255, SIDE).round().astype(np.uint8)[np.newaxis].repeat(SIDE, axis=0)
FALLING, STEADY = 255 - RISING, np.full_like(RISING, 99)
COLOURS = np.stack([RISING, FALLING, STEADY], axis=-1)
OPACITY = np.where(np.arange(SIDE) < SIDE // 2, 255, 128).astype(np.uint8)[:, np.newaxis].repeat(SIDE, axis=1)
ON_WHITE = COLOURS * (OPACITY[..., np.newaxis] / 255) + 255 - OPACITY[..., np.newaxis]
WEAKENED = [np.round(plane * (OPACITY / 255)).astype(np.uint8) for plane in (RISING, FALLING, STEADY)]


def packed(values: Array, bits: int, order: str) -> bytes:
    """Returns integers `[H, W]` packed in so many bits each, rows padded to bytes."""
    if bits in (8, 16, 32):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    ones = (values[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def turned(data: bytes) -> bytes:
    """Returns each byte with its bits reversed."""
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()


def tiff(
    planes: Sequence[Array],
    *,
    bits: int,
    photometric: int,
    order: str = "<",
    layout: int = PLANAR,
    fill: int = 1,
    extra: Sequence[int] = (),
    compression: int = RAW,
) -> bytes:
    """Returns a TIFF of strips, whose samples have levels of 255 on their full scale."""
    values = [(plane.astype(np.int64) * (2**bits - 1) + 127) // 255 for plane in planes]
    if layout == CHUNKY:
        values = [np.stack(values, axis=-1).reshape(SIDE, -1)]
    parts = [packed(each[top : top + ROWS], bits, order) for each in values for top in range(0, SIDE, ROWS)]
    parts = [turned(part) for part in parts] if fill == 2 else parts
    parts = [zlib.compress(part) for part in parts] if compression == DEFLATE else parts
    shorts = {256: [SIDE], 257: [SIDE], 258: [bits] * len(planes), 259: [compression], 262: [photometric]}
    shorts |= {266: [fill], 277: [len(planes)], 278: [ROWS], 284: [layout], 338: list(extra), 530: [1, 1]}
    tags = {
        tag: struct.pack(f"{order}{len(numbers)}H", *numbers) for tag, numbers in shorts.items() if numbers
    }
    size = 8 + 2 + 12 * (len(tags) + 2) + 4
    places = size + np.cumsum([0, *map(len, parts)])
    tags[273] = struct.pack(f"{order}{len(parts)}I", *places[:-1])
    tags[279] = struct.pack(f"{order}{len(parts)}I", *map(len, parts))
    entries, outside, start = b"", b"", int(places[-1])
    for tag, value in sorted(tags.items()):
        kind, count = (4, len(value) // 4) if tag in (273, 279) else (3, len(value) // 2)
        place = struct.pack(f"{order}I", start + len(outside))
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        entries += place if len(value) > 4 else value.ljust(4, b"\0")
        outside += value if len(value) > 4 else b""
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return header + entries + bytes(4) + b"".join(parts) + outside


def furthest(data: bytes, expected: Array) -> int:
    """Returns the largest difference of a file's pixels from the expected ones, in levels."""
    pixels = decode(io.BytesIO(data), "scan.tif").pixels
    return int(np.abs(pixels.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("compression", [RAW, DEFLATE])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("planes", "photometric", "extra", "shown"),
    [
        ([RISING, FALLING, STEADY], RGB, [], COLOURS),
        ([RISING, FALLING, STEADY, OPACITY], RGB, UNSPECIFIED, COLOURS),
        ([RISING, FALLING, STEADY, OPACITY], RGB, ALPHA, ON_WHITE),
        ([*WEAKENED, OPACITY], RGB, ASSOCIATED, ON_WHITE),
        ([FALLING, RISING, 255 - STEADY, 0 * STEADY], CMYK, [], COLOURS),
        ([FALLING, RISING, 255 - STEADY, 0 * STEADY, OPACITY], CMYK, UNSPECIFIED, COLOURS),
        ([RISING, OPACITY], BLACK_IS_ZERO, UNSPECIFIED, RISING[..., np.newaxis]),
    ],
    ids=[
        "RGB",
        "RGB and another",
        "RGBA",
        "RGBA, associated",
        "CMYK",
        "CMYK and another",
        "grey and another",
    ],
)
def test_planar_tiffs_are_read(
    planes: Sequence[Array],
    photometric: int,
    extra: Sequence[int],
    shown: Array,
    order: str,
    bits: int,
    compression: int,
) -> None:
    """With 16 bits, Pillow alone takes half of each plane for all of it, in wrong colours."""
    data = tiff(planes, bits=bits, photometric=photometric, order=order, extra=extra, compression=compression)
    if (compression, bits, extra) == (RAW, 8, UNSPECIFIED):  # there is no way to have it read
        with pytest.raises(ImageError, match=rf"a TIFF of {len(planes)} unsigned 8-bit samples a pixel"):
            decode(io.BytesIO(data), "scan.tif")
        return
    assert furthest(data, shown) <= 4
    assert decode_whole(io.BytesIO(data), "x", edge=64).is_deep == (bits == 16)


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize(("layout", "fill"), set(product((CHUNKY, PLANAR), (1, 2))) - {(CHUNKY, 1)})
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_planar_greys_are_not_inverted(
    bits: int, order: str, layout: int, fill: int, photometric: int
) -> None:
    """A single plane has the same layout either way, as has a symmetric byte."""
    grey = 255 - RISING if photometric == WHITE_IS_ZERO else RISING
    data = tiff([grey], bits=bits, photometric=photometric, order=order, layout=layout, fill=fill)
    most = 2**bits - 1
    assert furthest(data, ((RISING.astype(int) * most + 127) // 255 * 255 // most)[..., np.newaxis]) <= 1


@pytest.mark.parametrize("layout", [CHUNKY, PLANAR])
def test_tiffs_of_reversed_bit_order_are_read(layout: int) -> None:
    """Both layouts are tested."""
    data = tiff([RISING, FALLING, STEADY], bits=8, photometric=RGB, layout=layout, fill=2)
    assert furthest(data, COLOURS) <= 1


@pytest.mark.parametrize("compression", [RAW, DEFLATE])
@pytest.mark.parametrize(
    ("planes", "photometric", "extra", "words"),
    [
        ([RISING, OPACITY], BLACK_IS_ZERO, ALPHA, "grey with an alpha channel"),
        ([RISING, OPACITY], BLACK_IS_ZERO, ASSOCIATED, "grey with an alpha channel"),
        ([RISING, STEADY, STEADY], CIELAB, [], "CIELab"),
    ],
)
def test_unsupported_planar_modes_are_refused_by_name(
    planes: Sequence[Array], photometric: int, extra: Sequence[int], words: str, compression: int
) -> None:
    """Libraries silently misplace their planes."""
    data = tiff(planes, bits=8, photometric=photometric, extra=extra, compression=compression)
    with pytest.raises(ImageError, match=rf"planar samples of {words}") as error:
        decode(io.BytesIO(data), "scan.tif")
    assert error.value.reason is SkipReason.UNSUPPORTED_FORMAT


def test_uncompressed_planar_ycbcr_is_refused_by_name() -> None:
    """Compressed files of this kind are read."""
    planes = [RISING, np.full_like(RISING, 128), np.full_like(RISING, 128)]
    compressed = tiff(planes, bits=8, photometric=YCBCR, compression=DEFLATE)
    assert furthest(compressed, RISING[..., np.newaxis]) <= 2
    with pytest.raises(ImageError, match="planar samples of YCbCr") as error:
        decode(io.BytesIO(tiff(planes, bits=8, photometric=YCBCR)), "scan.tif")
    assert error.value.reason is SkipReason.UNSUPPORTED_FORMAT


def test_truncated_planar_tiffs_are_called_truncated() -> None:
    """This holds for both libraries that read them."""
    whole = tiff([RISING, FALLING, STEADY], bits=16, photometric=RGB)
    with pytest.raises(ImageError) as error:
        decode(io.BytesIO(whole[: len(whole) // 2]), "scan.tif")
    assert error.value.reason is SkipReason.TRUNCATED


def test_formerly_misread_tiffs_do_not_decode_as_before() -> None:
    """A rebuild must compute their vectors again."""
    planes = [RISING, FALLING, STEADY]
    assert not decodes_as_before(io.BytesIO(tiff(planes, bits=16, photometric=RGB)), "x")
    chunky = tiff(planes, bits=16, photometric=RGB, layout=CHUNKY)
    assert decodes_as_before(io.BytesIO(chunky), "x")
