"""Intact files of unsupported formats are named as such, not as damaged."""

import io
import struct

import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import decode

SIDE = 32


def bmp(bits: int, compression: int, data: bytes, masks: tuple[int, ...] = (), header: int = 40) -> bytes:
    """Returns a BMP of 32 x 32 pixels."""
    said = struct.pack("<IiiHHIIiiII", header, SIDE, SIDE, 1, bits, compression, len(data), 0, 0, 0, 0)
    said = said.ljust(header, b"\0") + struct.pack(f"<{len(masks)}I", *masks)
    place = 14 + len(said)
    return b"BM" + struct.pack("<IHHI", place + len(data), 0, 0, place) + said + data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp(16, 3, bytes(2 * SIDE * SIDE), (0xF00, 0xF0, 0xF)), "a BMP with an unusual layout of bits"),
        (
            bmp(32, 3, bytes(4 * SIDE * SIDE), (0x3FF00000, 0xFFC00, 0x3FF)),
            "a BMP with an unusual layout of bits",
        ),
        (bmp(24, 4, b"\xff\xd8\xff and so on"), "a BMP that holds a JPEG"),
        (bmp(24, 5, b"\x89PNG\r\n\x1a\n and so on"), "a BMP that holds a PNG"),
        (bmp(24, 11, bytes(4 * SIDE * SIDE)), "a BMP of an unusual compression"),
        (bmp(64, 0, bytes(8 * SIDE * SIDE)), "a BMP of an unusual depth"),
        (bmp(2, 0, bytes(SIDE * SIDE // 4)), "a BMP of an unusual depth"),
    ],
)
def test_unsupported_kinds_of_bmp_are_named(data: bytes, words: str) -> None:
    """All of their pixels are there."""
    with pytest.raises(ImageError, match=rf"x\.bmp is {words}, which is not supported") as error:
        decode(io.BytesIO(data), "x.bmp")
    assert error.value.reason is SkipReason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(("bits", "compression"), [(24, 9), (23, 0)])
def test_a_bmp_of_a_nonexistent_kind_is_damaged(bits: int, compression: int) -> None:
    """No program could read it."""
    with pytest.raises(ImageError, match="is damaged") as error:
        decode(io.BytesIO(bmp(bits, compression, bytes(4 * SIDE * SIDE))), "x.bmp")
    assert error.value.reason is SkipReason.UNREADABLE


def test_a_truncated_bmp_is_reported_as_truncated() -> None:
    """It is of a supported kind."""
    with pytest.raises(ImageError) as error:
        decode(io.BytesIO(bmp(24, 0, bytes(3 * SIDE * SIDE // 2))), "x.bmp")
    assert error.value.reason is SkipReason.TRUNCATED
