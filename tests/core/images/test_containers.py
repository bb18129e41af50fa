"""Damage outside the pixels is ignored; a file that lacks pixels is refused with the right reason."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images import png
from lookalike_core.images.decoding import decode, decode_small
from lookalike_core.images.open_image import IN_MEMORY_BYTES, open_file
from lookalike_core.images.views import view_of
from numpy.typing import NDArray
from PIL import Image, ImageCms

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def noise(width: int = 80, height: int = 48) -> Image.Image:
    """Returns an image that no format compresses much."""
    dice = np.random.default_rng(0)
    return Image.fromarray(dice.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """Returns the bytes of a file of this format."""
    file = io.BytesIO()
    (image or noise()).save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Returns all pixels of a file at their own size."""
    return np.asarray(decode_small(io.BytesIO(data), "photo", edge=10_000))


def refused(data: bytes) -> ImageError:
    """Returns the error for a file that cannot be read."""
    with pytest.raises(ImageError, match="photo") as error:
        decode(io.BytesIO(data), "photo")
    return error.value


def chunk(kind: bytes, content: bytes, *, spoil: int = 0) -> bytes:
    """Returns a PNG chunk, with a wrong checksum on request."""
    return len(content).to_bytes(4) + kind + content + (zlib.crc32(kind + content) ^ spoil).to_bytes(4)


def lines(image: Image.Image) -> bytes:
    """Returns the raw scan lines of an RGB image."""
    return b"".join(b"\0" + row.tobytes() for row in np.asarray(image))


def header(image: Image.Image, *, spoil: int = 0) -> bytes:
    """Returns the header of a PNG of an RGB image."""
    sizes = image.width.to_bytes(4) + image.height.to_bytes(4)
    return png.MAGIC + chunk(b"IHDR", sizes + b"\x08\x02\0\0\0", spoil=spoil)


def made_png(*, before: bytes = b"", after: bytes = b"", data: bytes | None = None) -> bytes:
    """Returns a PNG of `noise` with given chunks before and after its pixels."""
    packed = zlib.compress(lines(noise())) if data is None else data
    return header(noise()) + before + chunk(b"IDAT", packed) + after + chunk(b"IEND", b"")


LONG = zlib.compress(b"long text " * 500_000)
XMP = b"XML:com.adobe.xmp\0"

SIDE_CHUNKS = {
    "long zTXt": chunk(b"zTXt", b"workflow\0\0" + LONG),
    "long iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG),
    "long tEXt": chunk(b"tEXt", b"workflow\0" + b"x" * 3_000_000),
    "long XMP": chunk(b"iTXt", XMP + b"\1\0\0\0" + LONG),
    "much text": chunk(b"tEXt", b"a\0" + b"x" * 1_000_000) * 70,
    "broken zTXt": chunk(b"zTXt", b"a\0\0no zlib at all"),
    "unknown compression": chunk(b"zTXt", b"a\0\7" + zlib.compress(b"x")),
    "checksum of text": chunk(b"tEXt", b"a\0b", spoil=1),
    "checksum of XMP": chunk(b"iTXt", XMP + b"\0\0\0\0<x/>", spoil=1),
    "checksum of time": chunk(b"tIME", bytes(7), spoil=1),
    "checksum of a profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(b"x"), spoil=1),
    "checksum of EXIF": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", spoil=1),
    "checksum of an animation": chunk(b"acTL", b"\0\0\0\2\0\0\0\0", spoil=1),
    "broken profile": chunk(b"iCCP", b"p\0\0no zlib at all"),
    "profile of unknown compression": chunk(b"iCCP", b"p\0\7x"),
    "profile without end": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(60_000_000))),
    "short gamma": chunk(b"gAMA", b"\0\1"),
    "short chromaticities": chunk(b"cHRM", bytes(31)),
    "empty intent": chunk(b"sRGB", b""),
    "short key": chunk(b"tRNS", b""),
    "short physical size": chunk(b"pHYs", bytes(3)),
    "short animation": chunk(b"acTL", b"\0"),
    "animation of nothing": chunk(b"acTL", b"\0\0\0\2\0\0\0\0"),
    "frame without animation": chunk(b"fcTL", bytes(26)),
    "unknown": chunk(b"prVt", bytes(100)),
    "twice": chunk(b"gAMA", (45_455).to_bytes(4)) * 2 + chunk(b"sRGB", b"\0") * 2,
}


@pytest.mark.parametrize("side", SIDE_CHUNKS)
def test_damaged_ancillary_png_chunks_are_ignored(side: str) -> None:
    """Viewers skip them before and after the pixels."""
    expected = np.asarray(noise())
    assert (pixels(made_png(before=SIDE_CHUNKS[side])) == expected).all()
    assert (pixels(made_png(after=SIDE_CHUNKS[side])) == expected).all()


def test_large_ancillary_png_chunks_are_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may have a gigabyte of them; here one exceeds the limit."""
    file = tmp_path / "large.png"
    file.write_bytes(made_png(before=chunk(b"prVt", bytes(IN_MEMORY_BYTES)), after=chunk(b"tEXt", b"a\0b")))
    with open_file(file) as stream:
        read, most = stream.read, []

        def noted(size: int = -1, /) -> bytes:
            data = read(size)
            most.append(len(data))
            return data

        monkeypatch.setattr(stream, "read", noted)
        assert (np.asarray(decode_small(stream, "large.png", edge=500)) == np.asarray(noise())).all()
    assert max(most) < 2**20


def test_png_text_with_an_exif_orientation_is_kept() -> None:
    """Some programs write the orientation nowhere else."""
    said = b'<x:xmpmeta xmlns:tiff="t" tiff:Orientation="6"></x:xmpmeta>'
    for text in (b"\0\0\0\0" + said, b"\1\0\0\0" + zlib.compress(said)):
        assert pixels(made_png(before=chunk(b"iTXt", XMP + text))).shape == (80, 48, 3)


def test_a_long_colour_profile_is_kept() -> None:
    """Pillow fails on profiles above 1 MiB."""
    long = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2**21)
    data = made_png(before=chunk(b"iCCP", b"p\0\0" + zlib.compress(long)))
    assert png.find_needed_chunks(io.BytesIO(data), "a.png").profile == long
    assert pixels(data).shape == (48, 80, 3)


def test_png_text_between_idat_chunks_is_ignored() -> None:
    """IDAT chunks must be consecutive, which some files violate."""
    packed = zlib.compress(lines(noise()))
    parts = [chunk(b"IDAT", packed[:999]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", packed[999:])]
    data = header(noise()) + b"".join(parts) + chunk(b"IEND", b"")
    assert (pixels(data) == np.asarray(noise())).all()


@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 100, b"junk that is no chunk", b"\x7f\xff\xff\xffprVt" + bytes(9)]
)
def test_a_png_without_iend_is_read(tail: bytes) -> None:
    """The end chunk is missing, or replaced by other data."""
    data = header(noise()) + chunk(b"IDAT", zlib.compress(lines(noise()))) + tail
    assert (pixels(data) == np.asarray(noise())).all()
    assert (pixels(data[: len(data) - len(tail) - 4]) == np.asarray(noise())).all()


def test_one_wrong_checksum_of_complete_png_pixels_is_ignored() -> None:
    """The chunk's checksum or zlib's may be wrong, since each confirms the data for the other."""
    packed = zlib.compress(lines(noise()))
    wrong = packed[:-4] + bytes(4)
    for data in (wrong, wrong + b"more", packed + b"more"):
        assert (pixels(made_png(data=data)) == np.asarray(noise())).all()
    spoilt = header(noise()) + chunk(b"IDAT", packed, spoil=9) + chunk(b"IEND", b"")
    assert (pixels(spoilt) == np.asarray(noise())).all()
    both = refused(header(noise()) + chunk(b"IDAT", wrong, spoil=9) + chunk(b"IEND", b""))
    assert both.reason is SkipReason.UNREADABLE


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "interlaced"])
def test_a_wrong_checksum_is_ignored_in_every_png_mode(mode: str) -> None:
    """The size of the pixels follows from the header."""
    grey = np.asarray(noise(7, 5).convert("L"))
    if mode == "interlaced":
        data = interlaced_grey(grey)
    elif mode == "I;16":
        data = encoded("PNG", Image.fromarray(grey.astype(np.uint16) * 257))
    else:
        data = encoded("PNG", noise(7, 5).convert(mode))
    end, start = data.rindex(b"IEND") - 8, data.index(b"IDAT")
    wrong = data[start : end - 4] + bytes(4)
    spoilt = data[:start] + wrong + zlib.crc32(wrong).to_bytes(4) + data[end + 4 :]
    assert len(spoilt) == len(data)
    assert spoilt != data
    assert (pixels(spoilt) == pixels(data)).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_a_png_with_black_last_lines_is_not_truncated(colour: int) -> None:
    """Black lines are decoded like missing ones, so the data must prove that they are there."""
    image = noise()
    image.paste((colour,) * 3, (0, 20, 80, 48))
    assert (pixels(encoded("PNG", image)) == np.asarray(image)).all()
    for rows in (20, 30, 47):
        short = zlib.compress(lines(image)[: rows * (1 + 3 * 80)])
        assert refused(made_png(data=short)).reason is SkipReason.TRUNCATED


def test_data_after_the_last_png_line_is_not_decompressed() -> None:
    """Zeros or remains of another file may follow the last line."""
    black = Image.new("RGB", (80, 48))
    packed = zlib.compress(lines(black))
    for data in (packed + bytes(200_000), zlib.compress(lines(black) + bytes(50_000_000))):
        whole = header(black) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        assert (pixels(whole) == 0).all()


def interlaced_grey(grey: NDArray[np.uint8]) -> bytes:
    """Returns a PNG with seven interlaced passes (Adam7)."""
    starts = ((0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1))
    steps = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))
    parts = [grey[y::down, x::across] for (x, y), (across, down) in zip(starts, steps, strict=True)]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    sizes = grey.shape[1].to_bytes(4) + grey.shape[0].to_bytes(4)
    head = png.MAGIC + chunk(b"IHDR", sizes + b"\x08\0\0\0\1")
    return head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_png_that_lacks_pixels_is_truncated() -> None:
    """The file is cut off, or its writer ended it too early."""
    whole = made_png()
    half = lines(noise())[: len(lines(noise())) // 2]
    for data in (whole[:40], whole[: len(whole) // 2], made_png(data=zlib.compress(half))):
        assert refused(data).reason is SkipReason.TRUNCATED


def test_a_damaged_png_is_not_called_truncated() -> None:
    """The message names the damage."""
    packed = zlib.compress(lines(noise()), 0)
    broken = packed[:20] + b"\xff" * 20 + packed[20:]
    spoilt_header = header(noise(), spoil=1) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    for data, said in ((made_png(data=broken), "is damaged"), (spoilt_header, "the checksum of its IHDR")):
        error = refused(data)
        assert error.reason is SkipReason.UNREADABLE
        assert said in str(error)
        assert "ends before" not in str(error)


def test_a_png_with_too_many_chunks_is_refused() -> None:
    """Reading all of them would take minutes."""
    data = made_png(before=chunk(b"prVt", b"") * 50)
    with pytest.raises(ImageError, match="photo has more than 50 parts") as caught:
        png.find_needed_chunks(io.BytesIO(data), "photo", max_chunks=50)
    assert caught.value.reason is SkipReason.UNREADABLE
    decode(io.BytesIO(data), "photo")


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "optimized": {"optimize": True},
    "4:4:4": {"subsampling": 0, "quality": 97},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by block": {"restart_marker_blocks": 1},
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_without_an_end_marker_is_read(options: dict[str, Any], mode: str) -> None:
    """It has all of its pixels."""
    data = encoded("JPEG", noise().convert(mode), **options)
    for cut in (data[:-1], data[:-2], data[:-2] + b"trailer of a camera", data + b"trailer"):
        assert (pixels(cut) == pixels(data)).all()


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_pixels_is_truncated_wherever_it_ends(options: dict[str, Any]) -> None:
    """A file that is accepted has every pixel, even if it ends between scans or restart intervals."""
    data = encoded("JPEG", noise(), **options)
    expected = pixels(data)
    marks = [place for place in range(len(data) - 1) if data[place] == 0xFF and data[place + 1] >= 0xC0]
    cuts = {place + shift for place in marks for shift in (0, 1, 2)} | {*range(len(data) - 30, len(data) - 2)}
    for cut in sorted(cuts | {len(data) // 2, len(data) // 3}):
        if 3 <= cut < len(data) - 2:
            try:
                assert (pixels(data[:cut]) == expected).all()
            except ImageError as error:
                assert error.reason is SkipReason.TRUNCATED  # noqa: PT017 - either is right
    assert refused(data[: len(data) // 2]).reason is SkipReason.TRUNCATED
    assert refused(data[:-40]).reason is SkipReason.TRUNCATED


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_large_jpeg_may_lack_its_end_marker_but_no_pixels(
    options: dict[str, Any],
) -> None:
    """It is decoded at a fraction of its size, at which missing details would not show."""
    data = encoded("JPEG", noise().resize((2400, 1900)), quality=92, **options)
    whole = decode(io.BytesIO(data), "photo")
    cut = decode(io.BytesIO(data[:-2]), "photo")
    assert (cut.pixels == whole.pixels).all()
    assert (cut.width, cut.height) == (2400, 1900)
    assert refused(data[:-40]).reason is SkipReason.TRUNCATED


def test_the_first_of_two_images_may_lack_its_end_marker() -> None:
    """A stereo camera's file is cut within or before the second image."""
    data = encoded("MPO", save_all=True, append_images=[noise().rotate(180)])
    second = data.index(b"\xff\xd8\xff", 4)
    for cut in (data[:-2], data[: second + 100], data[: second - 2]):
        assert (pixels(cut) == pixels(data)).all()


WEBPS: dict[str, dict[str, Any]] = {
    "lossy": {},
    "lossless": {"lossless": True},
    "exif": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"},
    "moving": {"save_all": True, "append_images": [noise().rotate(180)], "lossless": True},
}


@pytest.mark.parametrize("options", WEBPS.values(), ids=WEBPS)
@pytest.mark.parametrize("wrong", [-20, -2, 1, 2, 1000])
def test_a_complete_webp_that_states_a_wrong_length_is_read(options: dict[str, Any], wrong: int) -> None:
    """Some programs write a wrong length."""
    data = encoded("WEBP", **options)
    length = struct.pack("<I", len(data) - 8 + wrong)
    assert (pixels(data[:4] + length + data[8:]) == pixels(data)).all()


def test_a_webp_may_lack_data_after_its_pixels() -> None:
    """Part of the EXIF or the padding byte may be missing, but no pixels."""
    data = encoded("WEBP", **WEBPS["exif"])
    assert (pixels(data[:-10]) == pixels(data)).all()
    plain = encoded("WEBP")
    assert refused(plain[:-10]).reason is SkipReason.TRUNCATED
    short = plain[:4] + struct.pack("<I", len(plain) - 18) + plain[8:-10]
    assert refused(short).reason is SkipReason.TRUNCATED


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_gif_may_lack_its_trailer(interlace: int) -> None:
    """The last byte of its codes may contain nothing but the end code."""
    data = encoded("GIF", interlace=interlace)
    for cut in (1, 2):
        assert (pixels(data[:-cut]) == pixels(data)).all()
    for cut in (3, 4, 5):
        try:
            assert (pixels(data[:-cut]) == pixels(data)).all()
        except ImageError as error:
            assert error.reason is SkipReason.TRUNCATED  # noqa: PT017 - either is right
    assert refused(data[:-30]).reason is SkipReason.TRUNCATED
    assert refused(data[:20]).reason is SkipReason.TRUNCATED


def test_a_gif_whose_first_frame_reaches_too_far_is_too_large() -> None:
    """Its header is small, but Pillow would allocate memory for the frame."""
    data = bytearray(encoded("GIF"))
    place = data.index(b",\0\0\0\0")
    data[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    assert refused(bytes(data)).reason is SkipReason.TOO_LARGE


def test_a_bmp_may_lack_the_padding_of_its_last_row() -> None:
    """Its stated length may be wrong too; without its last pixel it is truncated."""
    data = encoded("BMP", noise(81, 48))
    wrong = data[:2] + struct.pack("<I", 77) + data[6:-1]
    assert (pixels(wrong) == pixels(data)).all()
    assert refused(data[:-3]).reason is SkipReason.TRUNCATED


@pytest.mark.parametrize("kind", ["AVIF", "TIFF", "BMP", "GIF", "WEBP", "PNG", "JPEG"])
def test_data_after_the_image_is_ignored(kind: str) -> None:
    """Examples are trailers of cameras, signatures, and other files."""
    data = encoded(kind)
    assert (pixels(data + b"\xff\xd8 something else \0" * 50) == pixels(data)).all()


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("JPEG", lambda data: data[:2] + b"\xff\xc0\0\x03\0" + data[2:]),
        ("GIF", lambda data: data.replace(b",\0\0\0\0", b";,\0\0\0\0", 1)),
        ("WEBP", lambda data: data[:20] + bytes(len(data) - 20)),
        ("BMP", lambda data: data[:30] + b"\x09" + data[31:]),
        ("TIFF", lambda data: data.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 9_262, 3, 1))),
        ("AVIF", lambda data: data.replace(b"iloc", b"iluc")),
    ],
    ids=["JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"],
)
def test_damage_in_a_header_is_not_called_truncated(kind: str, spoil: Callable[[bytes], bytes]) -> None:
    """Nothing is missing at the end."""
    error = refused(spoil(encoded(kind)))
    assert error.reason is SkipReason.UNREADABLE
    assert "ends before" not in str(error)


def test_a_view_can_be_read_and_sought_like_any_stream() -> None:
    """Any length can be read from any offset, within and across pieces."""
    stream = io.BytesIO(bytes(range(100)))
    pieces = [b"head", range(10, 20), b"", range(50, 50), range(90, 100), b"tail"]
    view = view_of(stream, pieces)
    expected = b"head" + bytes(range(10, 20)) + bytes(range(90, 100)) + b"tail"
    assert view.read() == expected
    assert (view.read(), view.read(5), view.tell()) == (b"", b"", len(expected))
    for start in range(len(expected) + 1):
        assert view.seek(start) == start
        assert b"".join(iter(lambda: view.read(3), b"")) == expected[start:]
    assert view.seek(-4, io.SEEK_END) == len(expected) - 4
    assert (view.read(2), view.seek(1, io.SEEK_CUR), view.read(9)) == (b"ta", len(expected) - 1, b"l")
    assert (view.seek(9_999), view.read(4)) == (9_999, b"")


def test_a_view_of_a_file_truncated_while_open_ends_early() -> None:
    """Reading returns fewer bytes and does not block."""
    view = view_of(io.BytesIO(bytes(10)), [range(5, 100), b"end"])
    assert view.read() == bytes(5)
    assert view.read(4) == b""
