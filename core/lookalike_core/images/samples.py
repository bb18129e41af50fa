"""Samples of any depth, sign and meaning, scaled to 0 to 255, black to white.

Pillow does this for samples of up to 8 bits. It returns wider greys as they are stored, so their TIFF tags
are applied here (TIFF 6.0; the numbers below are its tags and their values).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from lookalike_core.images.image_errors import unsupported_error
from lookalike_core.images.tiff_layout import is_misread, is_planar
from lookalike_core.images.tiff_tags import Tag, first_number, tags_of

if TYPE_CHECKING:
    from PIL import Image

_WHITE_IS_ZERO, _YCBCR, _SIGNED = 0, 6, 2

_NEEDED = {Tag.WIDTH, Tag.HEIGHT, Tag.BITS_PER_SAMPLE, Tag.PHOTOMETRIC}
_PLACES = {Tag.STRIP_OFFSETS, Tag.TILE_OFFSETS}
"""The tags of a complete header: size, samples and meaning, and one of those that locate the pixels."""

_DEPTHS_IN_32 = (8, 16, 20, 24)
"""The depths assumed for 32 bits, as no sensor has so many: the first that holds the highest value."""

_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex floating-point"}
_PHOTOMETRICS = {
    0: "grey (white is zero)",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How samples are scaled to levels: `offset` is added, and of `bits` bits the upper 8 are kept."""

    bits: int = 16
    offset: int = 0
    is_inverted: bool = False

    def levels(self, image: "Image.Image") -> "Image.Image":
        """Returns the image as L, or as LA if one value means transparent."""
        from PIL import Image

        values = np.asarray(image)
        unsigned = values.astype(f"u{values.dtype.itemsize}", copy=False)
        wide = unsigned + unsigned.dtype.type(self.offset)  # overflow wraps around on purpose
        narrow = wide >> (self.bits - 8) if self.bits >= _BYTE else wide << (_BYTE - self.bits)
        levels = np.minimum(narrow, 255).astype(np.uint8)
        grey = Image.fromarray(255 - levels if self.is_inverted else levels)
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return grey
        alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, alpha))


_BYTE = 8

ORDINARY = Scale()
"""The scale of 16-bit samples that are unsigned and not inverted."""


def check_samples(image: "Image.Image", name: str) -> None:
    """Refuses, by the header, samples whose scale is unknown or that no decoder reads as stored.

    Raises:
        ImageError: the image has such samples.
    """
    what = None
    if image.mode == "F":
        what = "floating-point pixels, whose range is unknown"
    elif _is_subsampled(image):
        what = "subsampled YCbCr without compression, which is not supported"
    elif is_planar(image) and image.mode in _NEVER_PLANAR:
        what = f"planar samples of {_NEVER_PLANAR[image.mode]}, which are not supported"
    if what is not None:
        raise unsupported_error(f"{name} has {what}")


_NEVER_PLANAR = {
    **dict.fromkeys(("LA", "La"), "grey with an alpha channel"),
    "PA": "a palette with an alpha channel",
    "YCbCr": "YCbCr",
    "LAB": "CIELab",
}
"""Modes whose planes all decoders misplace or misinterpret."""


def _is_subsampled(image: "Image.Image") -> bool:
    """Returns whether a TIFF is raw YCbCr with fewer than three samples a pixel, which Pillow misreads."""
    tags = tags_of(image)
    if (
        first_number(tags, Tag.PHOTOMETRIC) != _YCBCR
        or image.info.get("compression") != "raw"
        or image.mode == "L"
    ):
        return False
    counts = tags.get(Tag.STRIP_BYTE_COUNTS, ())
    held = sum(counts) if isinstance(counts, tuple) else counts
    return bool(held < 3 * image.width * image.height) and tags.get(Tag.YCBCR_SUBSAMPLING, (2, 2)) != (1, 1)


def mend_header(image: "Image.Image") -> None:
    """Rescales header values that Pillow, before 8-bit decoding, leaves unlike the pixels.

    That is the transparent colour of a PNG, and a TIFF's palette of 8-bit values instead of 16-bit ones.
    """
    _mend_key(image)
    if has_narrow_palette(image):
        from PIL import ImagePalette

        image.palette = ImagePalette.raw("RGB;L", bytes(tags_of(image)[Tag.COLOUR_MAP]))


def has_narrow_palette(image: "Image.Image") -> bool:
    """Returns whether a TIFF's palette has values of 0 to 255 instead of 0 to 65,535.

    The criterion is libtiff's.
    """
    colours = tags_of(image).get(Tag.COLOUR_MAP, ())
    return image.mode in ("P", "PA") and isinstance(colours, tuple) and 0 < max(colours, default=0) <= 255  # noqa: PLR2004


def scale_of(image: "Image.Image") -> Scale | None:
    """Returns the scale of a loaded image with samples wider than bytes, or signed; else None."""
    bits, is_signed = (
        first_number(tags_of(image), Tag.BITS_PER_SAMPLE),
        first_number(tags_of(image), Tag.SAMPLE_FORMAT) == _SIGNED,
    )
    if image.mode.startswith("I;16"):
        return Scale(bits=bits or 16, is_inverted=_is_negative(image))
    if image.mode == "I":
        return _scale_of_integers(image, bits or 32, is_signed=is_signed)
    if image.mode == "L" and is_signed and bits == 8:  # noqa: PLR2004
        is_positive = not sum(image.histogram()[128:])
        return Scale(bits=7) if is_positive else Scale(bits=8, offset=128)
    return None


def is_ordinary(image: "Image.Image") -> bool:
    """Returns whether the header proves that samples have up to 8 bits, or 16 unsigned."""
    tags = tags_of(image)
    if is_misread(image):
        return False
    if image.mode.startswith("I;16"):
        return scale_of(image) == ORDINARY
    is_signed = first_number(tags, Tag.SAMPLE_FORMAT) == _SIGNED
    return image.mode != "I" and not is_signed and not has_narrow_palette(image)


def _scale_of_integers(image: "Image.Image", bits: int, *, is_signed: bool) -> Scale:
    """Returns the scale by the declared depth, or for 32 bits by the values, from 0 if none is negative."""
    lowest, highest = cast("tuple[int, int]", image.getextrema())
    if not is_signed:
        highest = 2**32 - 1 if lowest < 0 else highest  # Pillow has them all signed
        return Scale(bits=_depth(bits, highest), is_inverted=_is_negative(image))
    if lowest >= 0:
        return Scale(bits=bits - 1 if bits < 32 else min(31, _depth(bits, highest)))  # noqa: PLR2004
    depth = _depth(bits, 2 * max(highest, -lowest - 1) + 1)
    return Scale(bits=depth, offset=2 ** (depth - 1))


def _depth(bits: int, highest: int) -> int:
    """Returns the number of bits of the scale for values up to `highest`."""
    if bits < 32:  # noqa: PLR2004
        return bits
    return next((depth for depth in _DEPTHS_IN_32 if highest < 2**depth), bits)


def _is_negative(image: "Image.Image") -> bool:
    """Returns whether 0 is white; like Pillow, assumes so for a TIFF that does not say."""
    return image.format == "TIFF" and tags_of(image).get(Tag.PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO


def describe_unsupported(stream: BinaryIO, head: bytes) -> str | None:
    """Returns a description of a TIFF's unsupported samples; None if the file is no TIFF.

    `stream` is read from its beginning.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    if not head.startswith((b"II*\0", b"MM\0*")):
        return None
    try:
        tags = ImageFileDirectory_v2(head[:8])
        stream.seek(tags.next)
        tags.load(stream)
        bits, kind = first_number(tags, Tag.BITS_PER_SAMPLE) or 1, first_number(tags, Tag.SAMPLE_FORMAT) or 1
        meaning, per_pixel = tags.get(Tag.PHOTOMETRIC, _WHITE_IS_ZERO), tags.get(Tag.SAMPLES_PER_PIXEL, 1)
    except Exception:  # noqa: BLE001 - it is damaged, in one of a dozen ways
        return None
    if not (tags.keys() >= _NEEDED and tags.keys() & _PLACES):
        return None  # cut off within its header
    what = _PHOTOMETRICS.get(meaning, f"photometric interpretation {meaning}")
    return f"a TIFF of {per_pixel} {_FORMATS.get(kind, 'unknown')} {bits}-bit samples a pixel, {what}"


def _mend_key(image: "Image.Image") -> None:
    key, raw = image.info.get("transparency"), _raw_mode(image)
    if raw in _GREY_STEPS and isinstance(key, int):
        steps = _GREY_STEPS[raw]
        image.info["transparency"] = (key & steps) * (255 // steps)
    if raw == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


_GREY_STEPS = {"L;2": 3, "L;4": 15}


def _raw_mode(image: "Image.Image") -> str:
    """Returns the mode in which the pixels of a PNG are stored."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0].args) if image.format == "PNG" and tiles else ""
