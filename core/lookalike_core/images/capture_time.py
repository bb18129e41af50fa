"""When an image was taken, by the metadata of its file.

Cameras write the time of their clock (EXIF DateTimeOriginal), and many also its offset from UTC
(OffsetTimeOriginal). Without the offset nothing says in which zone the clock was, and its time is taken as
UTC, so that it does not depend on the computer that reads it.
"""

import re
from datetime import datetime, timedelta, timezone
from typing import BinaryIO

from lookalike_core.images.decoders import open_header
from lookalike_core.images.formats import HEAD_BYTES
from lookalike_core.instants import format_instant, format_ns

_EXIF, _ORIGINAL, _OFFSET = 0x8769, 0x9003, 0x9011
"""EXIF's own part of the metadata, and in it DateTimeOriginal and OffsetTimeOriginal (CIPA DC-008)."""

_TIME = re.compile(r"(\d{4})[:./-](\d\d)[:./-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_SHIFT = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)


def time_taken(stream: BinaryIO, *, mtime_ns: int) -> str:
    """Returns when an image was taken, else when its file was last changed, as `format_instant` does.

    `stream` is its file, of which only the header is read; it is rewound afterwards.
    """
    taken = read_capture_time(stream)
    return format_ns(mtime_ns) if taken is None else format_instant(taken)


def read_capture_time(stream: BinaryIO) -> datetime | None:
    """Returns EXIF's DateTimeOriginal, with its offset if there is one.

    None if there is none, or its text is not a time, or the file cannot be read.
    """
    from PIL import Image

    try:
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
        with open_header(stream, head, "") as image:
            # a PNG's own method decodes all of it, to find what is behind its pixels
            exif = Image.Image.getexif(image).get_ifd(_EXIF)
        return _parse(exif.get(_ORIGINAL), exif.get(_OFFSET))
    except Exception:  # noqa: BLE001 - a dozen kinds, by what is broken
        return None
    finally:
        stream.seek(0)


def _parse(time: object, offset: object) -> datetime | None:
    """Returns the time of EXIF's texts; `None` if it is no date, as where a clock was never set."""
    found = _TIME.match(str(time))
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    shift = _SHIFT.match(str(offset))
    zone = None
    if shift is not None:
        sign, hours, minutes = shift.groups()
        zone = timezone((1 if sign == "+" else -1) * timedelta(hours=int(hours), minutes=int(minutes)))
    return datetime(year, month, day, hour, minute, second, tzinfo=zone)
