"""When images were taken, by EXIF in files of every format, else by the time of the file."""

import io
from typing import Any

import pytest
from lookalike_core.images.capture_time import read_capture_time, time_taken
from lookalike_core.instants import format_ns
from PIL import Image, TiffImagePlugin

TAKEN = "2021:03:04 05:06:07"
MTIME_NS = 1_767_225_600_999_999_999
FILE_TIME = "2026-01-01T00:00:00+00:00"


def image_file(kind: str, original: str | None = TAKEN, offset: str | None = None) -> io.BytesIO:
    """Returns a file with these EXIF texts."""
    texts = {tag: text for tag, text in ((0x9003, original), (0x9011, offset)) if text is not None}
    file, options = io.BytesIO(), {}
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x8769] = texts
        options["tiffinfo"] = tags
    else:
        exif: Any = Image.Exif()
        exif[0x0110] = "a camera"
        exif.get_ifd(0x8769).update(texts)
        options["exif"] = exif
    Image.new("RGB", (8, 6), "red").save(file, kind, **options)
    return file


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_every_format_with_exif_tells_when_it_was_taken(kind: str) -> None:
    """The stream is rewound, and its time without an offset is taken as UTC."""
    file = image_file(kind)
    assert time_taken(file, mtime_ns=MTIME_NS) == "2021-03-04T05:06:07+00:00"
    assert file.tell() == 0


@pytest.mark.parametrize(
    ("offset", "taken"),
    [
        ("+02:00", "2021-03-04T03:06:07+00:00"),
        ("-11:30", "2021-03-04T16:36:07+00:00"),
        ("   :  ", "2021-03-04T05:06:07+00:00"),
        ("+99:99", FILE_TIME),
        ("Z", "2021-03-04T05:06:07+00:00"),
    ],
)
def test_an_offset_is_applied(offset: str, taken: str) -> None:
    """Blank ones, as of cameras without a setting, are none; with an impossible one the time is unknown."""
    assert time_taken(image_file("JPEG", offset=offset), mtime_ns=MTIME_NS) == taken


@pytest.mark.parametrize(
    "original",
    [
        None,
        "",
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2021:02:30 00:00:00",
        "2021:01:01 24:00:00",
        "noon",
    ],
)
def test_without_a_time_it_is_that_of_the_file(original: str | None) -> None:
    """Cameras whose clock was never set write zeros or blanks."""
    assert time_taken(image_file("JPEG", original), mtime_ns=MTIME_NS) == FILE_TIME


@pytest.mark.parametrize("content", [b"", b"no image", image_file("JPEG").getvalue()[:30]])
def test_a_damaged_file_has_no_capture_time(content: bytes) -> None:
    """Nothing is raised."""
    assert read_capture_time(io.BytesIO(content)) is None


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (-1, "1969-12-31T23:59:59+00:00"),
        (MTIME_NS, FILE_TIME),
        (2**80, "9999-12-31T23:59:59+00:00"),
        (-(2**80), "0001-01-01T00:00:00+00:00"),
    ],
)
def test_times_of_files_are_cut_to_seconds(time_ns: int, text: str) -> None:
    """Times beyond the years of dates become the nearest that is one."""
    assert format_ns(time_ns) == text
