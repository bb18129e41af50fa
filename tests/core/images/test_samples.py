"""Samples of any depth, sign and meaning are scaled correctly or refused with a description.

The TIFFs are written here byte by byte, since no library writes all of these.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import decode
from lookalike_core.images.preparation import BandSizes
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

TOLERANCE = 1
"""Levels of 255: rounding when 8 bits become 16 and 8 again."""

SIDE = 224
"""The side of the network's square, so that nothing is scaled."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
UNSIGNED, SIGNED, FLOAT = 1, 2, 3

RAMP = np.linspace(0, 255, SIDE).round().astype(np.uint8)[np.newaxis].repeat(SIDE, axis=0)
"""All levels from black to white, uint8 `[224, 224]`."""


def tiff(
    data: bytes,
    *,
    bits: Sequence[int],
    photometric: int,
    order: str = "<",
    more: Mapping[int, Any] | None = None,
) -> bytes:
    """Returns a TIFF of one strip of 224 x 224 pixels; `more` are further tags of shorts or bytes."""
    tags: dict[int, Any] = {256: SIDE, 257: SIDE, 258: list(bits), 259: 1, 262: photometric, 277: len(bits)}
    tags |= {278: SIDE, 279: len(data), 273: 0} | dict(more or {})
    start = 8 + 2 + 12 * len(tags) + 4
    entries, outside = b"", b""
    for tag, value in sorted(tags.items()):
        values = [value] if isinstance(value, int) else list(value)
        kind = 4 if tag in (273, 279) else 7 if isinstance(value, bytes) else 3
        packed = struct.pack(f"{order}{len(values)}{'..BHI..B'[kind] if kind != 3 else 'H'}", *values)
        if tag == 273:
            packed = b"????"
        if len(packed) > 4:
            place, outside = (
                struct.pack(f"{order}I", start + len(outside)),
                outside + packed + b"\0" * (len(packed) % 2),
            )
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
    entries = entries.replace(b"????", struct.pack(f"{order}I", start + len(outside)))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    header = mark + struct.pack(f"{order}IH", 8, len(tags))
    return header + entries + b"\0" * 4 + outside + data


def packed(values: Array, bits: int, order: str) -> bytes:
    """Returns integers `[H, W]` packed in so many bits each, rows padded to bytes."""
    if bits in (8, 16, 32):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    ones = (values[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def grey_tiff(levels: Array, *, bits: int, photometric: int, kind: int, order: str = "<") -> bytes:
    """Returns a TIFF whose samples have levels of 255 on their full scale."""
    most = 2**bits - 1
    values = (levels.astype(np.int64) * most + 127) // 255
    values = most - values if photometric == WHITE_IS_ZERO else values
    values = (values - 2 ** (bits - 1)) % 2**bits if kind == SIGNED else values
    return tiff(
        packed(values, bits, order), bits=[bits], photometric=photometric, order=order, more={339: kind}
    )


def pixels_of(data: bytes, **options: Any) -> Array:
    """Returns the prepared pixels, uint8 `[224, 224, 3]`."""
    return decode(io.BytesIO(data), "scan.tif", **options).pixels


def refused(data: bytes) -> str:
    """Returns the error for a file that is refused."""
    with pytest.raises(ImageError, match=r"scan\.tif") as error:
        pixels_of(data)
    assert error.value.reason is SkipReason.UNSUPPORTED_FORMAT
    return str(error.value)


def furthest(one: Array, other: Array) -> int:
    """Returns the largest difference of two arrays, in levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


DEPTHS = (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32)
READ = {
    *product("<>", (WHITE_IS_ZERO, BLACK_IS_ZERO), (UNSIGNED,), (1, 2, 4, 8)),
    *product("<>", (BLACK_IS_ZERO,), (SIGNED,), (8, 16, 32)),
    ("<", BLACK_IS_ZERO, UNSIGNED, 12),
    ("<", WHITE_IS_ZERO, UNSIGNED, 16),
    *product("<>", (BLACK_IS_ZERO,), (UNSIGNED,), (16,)),
    ("<", BLACK_IS_ZERO, UNSIGNED, 32),
}
"""Greys that Pillow reads: byte order, meaning, sign, depth."""


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("kind", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("bits", DEPTHS)
def test_greys_of_every_depth_are_scaled_or_refused(
    order: str, photometric: int, kind: int, bits: int
) -> None:
    """None comes out negative, all black or all white."""
    data = grey_tiff(RAMP, bits=bits, photometric=photometric, kind=kind, order=order)
    if (order, photometric, kind, bits) not in READ:
        said = refused(data)
        assert f"{bits}-bit" in said
        assert {UNSIGNED: "unsigned", SIGNED: "signed"}[kind] in said
        return
    steps = 2 ** min(bits, 8) - 1
    coarse = (RAMP.astype(int) * steps + 127) // 255 * 255 // steps
    assert furthest(pixels_of(data), coarse[..., np.newaxis]) <= TOLERANCE


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_wide_greys_may_be_compressed(compression: str) -> None:
    """Pillow reads compressed files by libtiff."""
    file = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(file, "TIFF", compression=compression)
    assert furthest(pixels_of(file.getvalue()), RAMP[..., np.newaxis]) <= TOLERANCE


def test_compressed_white_is_zero_greys_are_inverted() -> None:
    """X-rays are stored as compressed 16-bit greys with white as zero."""
    file = io.BytesIO()
    inverted = Image.fromarray(65535 - RAMP.astype(np.uint16) * 257)
    inverted.save(file, "TIFF", compression="tiff_lzw", tiffinfo={262: WHITE_IS_ZERO})
    with Image.open(file) as stored:
        assert stored.tag_v2[262] == WHITE_IS_ZERO
    assert furthest(pixels_of(file.getvalue()), RAMP[..., np.newaxis]) <= TOLERANCE


@pytest.mark.parametrize("depth", [8, 16, 20, 24])
@pytest.mark.parametrize("kind", [UNSIGNED, SIGNED])
def test_32_bit_greys_are_scaled_by_their_values(depth: int, kind: int) -> None:
    """Programs store integers of their camera's depth so, which would all be black."""
    values = RAMP.astype(np.uint64) * (2**depth - 1) // 255
    data = tiff(packed(values, 32, "<"), bits=[32], photometric=BLACK_IS_ZERO, more={339: kind})
    assert furthest(pixels_of(data), RAMP[..., np.newaxis]) <= TOLERANCE


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_samples_that_are_never_negative_start_at_black(bits: int) -> None:
    """Their zero is black, not the middle of the scale."""
    values = RAMP.astype(np.uint64) * (2 ** (bits - 1) - 1) // 255
    data = tiff(packed(values, bits, "<"), bits=[bits], photometric=BLACK_IS_ZERO, more={339: SIGNED})
    assert furthest(pixels_of(data), RAMP[..., np.newaxis]) <= 2 * TOLERANCE


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", "<>")
def test_8_bit_and_16_bit_colours_are_read(bits: int, order: str) -> None:
    """Red rises, green falls, blue is constant."""
    colours = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 99)], axis=-1)
    values = colours.astype(np.int64) * (2**bits - 1) // 255
    data = tiff(packed(values.reshape(SIDE, -1), bits, order), bits=[bits] * 3, photometric=RGB, order=order)
    assert furthest(pixels_of(data), colours) <= TOLERANCE


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("step", [257, 1], ids=["16-bit-table", "8-bit-table"])
def test_a_palette_may_have_8_bit_or_16_bit_values(bits: int, step: int) -> None:
    """The specification says 16 bits, but some programs write 8, which a strict reader shows as black."""
    table = np.linspace(0, 255, 2**bits).astype(int)
    most = 2**bits - 1
    indices = RAMP.astype(int) * most // 255
    data = tiff(
        packed(indices, bits, "<"),
        bits=[bits],
        photometric=PALETTE,
        more={320: [*(step * table).tolist(), *(step * table[::-1]).tolist(), *([0] * 2**bits)]},
    )
    shown = np.stack([table[indices], table[::-1][indices], np.zeros_like(indices)], axis=-1)
    assert furthest(pixels_of(data), shown) <= TOLERANCE


@pytest.mark.parametrize(
    ("photometric", "samples", "shown"),
    [
        (CMYK, (0, 255, 255, 0), (255, 0, 0)),
        (CMYK, (0, 0, 0, 128), (127, 127, 127)),
        (YCBCR, (100, 128, 128), (100, 100, 100)),
        (CIELAB, (128, 0, 0), (119, 119, 119)),
        (CIELAB, (128, 50, 0), (193, 78, 122)),
    ],
)
def test_cmyk_and_lab_become_rgb(photometric: int, samples: Sequence[int], shown: Sequence[int]) -> None:
    """CMYK is converted as in browsers, Lab by its own white point."""
    data = np.tile(np.array(samples, np.uint8), (SIDE, SIDE, 1)).tobytes()
    more = {530: [1, 1]} if photometric == YCBCR else {}
    file = tiff(data, bits=[8] * len(samples), photometric=photometric, more=more)
    assert furthest(pixels_of(file), np.array(shown)) <= 2 * TOLERANCE


def test_uncompressed_subsampled_ycbcr_is_refused() -> None:
    """They would be decoded as noise."""
    data = bytes(SIDE * SIDE * 3 // 2)
    assert "subsampled YCbCr" in refused(tiff(data, bits=[8] * 3, photometric=YCBCR, more={530: [2, 2]}))


@pytest.mark.parametrize(
    ("bits", "photometric", "kind", "words"),
    [
        ([16] * 3, CIELAB, UNSIGNED, "16-bit samples a pixel, CIELab"),
        ([8] * 3, ICCLAB, UNSIGNED, "ICCLab"),
        ([16] * 3, RGB, SIGNED, "3 signed 16-bit samples a pixel, RGB"),
        ([16], BLACK_IS_ZERO, FLOAT, "floating-point"),
        ([32], BLACK_IS_ZERO, FLOAT, "floating-point"),
        ([64], BLACK_IS_ZERO, FLOAT, "floating-point 64-bit"),
        ([16], 32803, UNSIGNED, "colour filter array"),
        ([8], 12345, UNSIGNED, "photometric interpretation 12345"),
    ],
)
def test_unsupported_samples_are_described(bits: list[int], photometric: int, kind: int, words: str) -> None:
    """They are not reported as damaged, truncated or no image."""
    data = tiff(
        bytes(SIDE * SIDE * sum(bits) // 8),
        bits=bits,
        photometric=photometric,
        more={339: [kind] * len(bits)},
    )
    assert words in refused(data)


def test_wide_greys_in_bands_equal_the_whole_image() -> None:
    """The scale is that of the whole image, not of each band."""
    data = grey_tiff(RAMP.T, bits=32, photometric=BLACK_IS_ZERO, kind=SIGNED)
    whole = pixels_of(data)
    assert furthest(pixels_of(data, bands=BandSizes(whole_pixels=0, band_pixels=1)), whole) <= TOLERANCE


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as in a command
def test_a_tiff_truncated_in_its_header_is_reported_as_truncated() -> None:
    """The message does not speak of missing samples."""
    whole = grey_tiff(RAMP, bits=10, photometric=BLACK_IS_ZERO, kind=UNSIGNED)
    assert "10-bit" in refused(whole)
    with pytest.raises(ImageError) as error:
        pixels_of(whole[:70])
    assert error.value.reason is SkipReason.TRUNCATED
